"""Runs on the deployed stack while AWS, Clerk or the queue fails in many places at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from random import Random
from typing import Any

import httpx
import pytest

from tests.integration.faulty_aws import (
    always,
    at_random,
    error,
    kills_at_random,
    reads_half_of_a_page,
    through,
)
from tests.integration.stack import Stack, assert_conserved, assert_true_to_clerk, eventually
from tests.local.aws.local_aws import FunctionError
from tests.local.clerk.fake_users import User, make_users
from tests.local.clerk.faults import Fault, Request
from tests.support.deployed_api import event, post


def small_pages(stack: Stack) -> AbstractContextManager[None]:
    """Many pages of few users."""
    return stack.configured("BackfillFunction", PAGE_SIZE="20")


def driven(stack: Stack) -> str:
    """The id of a run whose pages are all done. BackfillFunction is invoked again each time it is cut off."""
    for _ in range(12):
        try:
            stack.backfill({"waitSeconds": 0})
        except FunctionError:
            if (under_way := stack.runs.current("full").run_id) is not None:
                stack.change_run(under_way, "leaseUntil", 0)
        else:
            run_id = eventually(lambda: _settled_run(stack))
            eventually(stack.is_drained)  # or a second delivery would write into the next test's table
            return run_id
    raise AssertionError("the run did not end within 12 invocations")


def _settled_run(stack: Stack) -> str:
    run = stack.runs.current("full").run
    return run.run_id if run and run.verdict() != "RUNNING" else ""


def assert_right(stack: Stack, result: Any, users: list[User], status: str = "COMPLETED") -> None:
    """All users are in the table and counted once."""
    assert result["status"] == status, result
    assert_conserved(result)
    assert result["totalClerkUsers"] == len(users)
    run = stack.runs.get(result["runId"])
    assert run
    assert run.settled_pages == run.pages == result["pages"], "pages that count twice, or never"
    assert_true_to_clerk(stack.rows(), [user for user in users if user["id"] not in failed(result)])


def failed(result: Any) -> set[str]:
    return {problem["clerkUserId"] for problem in result["errors"]}


# AWS


def test_run_is_correct_despite_aws_failures(stack: Stack) -> None:
    users = make_users(120)
    troubled = ("BackfillFunction", "WorkerFunction")
    with stack.clerk(users), small_pages(stack), through(stack, at_random(2, 0.15), *troubled) as aws:
        run_id = driven(stack)

    assert sum(aws.failed.values()) >= 10
    assert_right(stack, stack.finished(run_id), users)
    assert stack.dead_letters() == 0


def test_throttled_page_continues_in_a_new_message(stack: Stack) -> None:
    users = make_users(60)
    with stack.clerk(users), through(stack, reads_half_of_a_page, "WorkerFunction") as aws:
        result = stack.finished(stack.backfill({"waitSeconds": 0})["runId"])
    assert aws.failed["BatchGetItem"] == 8
    assert "page_throttled" in stack.log()
    assert_right(stack, result, users)
    assert result["createdCount"] == 60
    assert stack.dead_letters() == 0


def test_run_is_correct_though_functions_are_killed_around_their_writes(stack: Stack) -> None:
    users = make_users(80)
    backfills = kills_at_random(1, 4, 15, lambda: stack.kill("BackfillFunction"))
    workers = kills_at_random(1, 2, 6, lambda: stack.kill("WorkerFunction"))
    with (
        stack.clerk(users),
        small_pages(stack),
        stack.queue_with(VisibilityTimeout="10"),
        through(stack, backfills, "BackfillFunction") as one,
        through(stack, workers, "WorkerFunction") as other,
    ):
        run_id = driven(stack)

    assert (sum(one.failed.values()), sum(other.failed.values())) == (4, 2)
    assert_right(stack, stack.finished(run_id), users)


# SSM


def test_ssm_outage_loses_nothing_and_callers_are_told_to_retry(stack: Stack) -> None:
    users = make_users(30)
    down = always(error(500, "InternalServerError"), "GetParameter")
    functions = ("BackfillFunction", "WebhookFunction", "ProfileFunction")
    with stack.clerk(users) as clerk, ThreadPoolExecutor(2) as pool:
        token = {"Authorization": f"Bearer {clerk.token(users[0]['id'])}"}

        def load_page() -> httpx.Response:
            return httpx.put(f"{stack.outputs['ApiUrl']}/users/me", headers=token, timeout=40)

        with through(stack, down, *functions):
            webhook, page = pool.submit(post, stack, event(users[1])), pool.submit(load_page)
            with pytest.raises(FunctionError, match=r"reading the SSM parameter.*stays open"):
                stack.backfill()
            assert (webhook.result().status_code, webhook.result().content) == (503, b"")
            assert (page.result().status_code, page.result().json()) == (503, {"error": "Try again later."})
        assert stack.rows() == {}

        run_id = stack.current_run_id()
        assert post(stack, event(users[1])).status_code == 204
        assert load_page().status_code == 200
        result = stack.backfill()
    assert result["runId"] == run_id
    assert_right(stack, result, users)


# The queue


def test_run_is_correct_with_repeated_reordered_and_foreign_messages(stack: Stack) -> None:
    users = make_users(160)
    with stack.clerk(users), small_pages(stack):
        with stack.workers_paused():
            run_id = stack.backfill({"waitSeconds": 0})["runId"]
            pages = stack.taken_messages()
            assert len(pages) == 8
            page = json.loads(pages[0])
            copy = {**page, "token": "another"}
            alien = {**page, "run_id": "full-20200101T000000Z-000000"}
            late = {**page, "number": 99}
            none = ["hello", "[" * 50_000, json.dumps({**page, "users": [users[0]]})]
            sent = [*pages * 2, *map(json.dumps, (copy, alien, late)), *none]
            Random(1).shuffle(sent)
            for body in sent:
                stack.send(body)
        eventually(lambda: stack.dead_letters() == len(none))
        eventually(stack.is_drained)
        result = stack.finished(run_id)

    assert_right(stack, result, users)
    assert result["createdCount"] + result["unchangedCount"] == len(users)
    assert stack.dead_letters() == len(none)
    assert stack.runs.get(alien["run_id"]) is None


# Clerk

BUSY = (
    Fault.status(429),
    Fault.status(429, {"Retry-After": "1"}),
    Fault.status(429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
    Fault.status(500),
    Fault.status(503, {"Retry-After": "1"}),
    Fault.html(502),
    Fault.hang(0.5),
    Fault.drop(),
    Fault.half_body(),
    Fault.garbled(),
    Fault.not_a_list(),
)


@pytest.mark.parametrize("seed", [1, 2])
def test_run_is_correct_despite_clerk_failures(stack: Stack, seed: int) -> None:
    users = make_users(400)
    odd, gone = users[Random(seed).randrange(50, 400)]["id"], set[str]()
    with stack.clerk(users) as clerk, small_pages(stack):

        def trouble(number: int, request: Request) -> Fault | None:
            dice = Random(f"{seed} {number}")
            if number == 1:
                clerk.update(odd, email_addresses="ada@mail.test", first_name=["Ada"])
            cursor = request.query.get("starting_after", [odd])[0]
            if dice.random() < 0.15 and cursor != odd and clerk.get(cursor):
                clerk.delete(cursor)
                gone.add(cursor)
            return dice.choice(BUSY) if dice.random() < 0.35 else None

        clerk.on_request = trouble
        result = stack.backfill({"waitSeconds": 60})
        troubles = sum(request.status != 200 for request in clerk.requests)

    assert result["status"] == "COMPLETED_WITH_ERRORS", result
    assert_conserved(result)
    assert failed(result) == {odd}
    assert troubles >= 8
    assert gone
    rows = stack.rows()
    assert result["totalClerkUsers"] == len(rows) + 1
    assert_true_to_clerk(rows, [user for user in users if user["id"] not in {odd, *gone}])


@pytest.mark.parametrize("counted", [0, 5_000])
def test_wrong_count_from_clerk_loses_no_user_and_unlisted_users_are_errors(
    stack: Stack, counted: int
) -> None:
    users = make_users(130)
    unlisted = max(0, counted - len(users))
    count = Fault.status(200, body=json.dumps({"object": "total_count", "total_count": counted}).encode())
    with stack.clerk(users) as clerk, small_pages(stack):
        clerk.on_request = lambda _, request: count if request.path.endswith("/count") else None
        result = stack.backfill()
        assert len(clerk.requests) <= 40
    assert result["status"] == ("COMPLETED_WITH_ERRORS" if unlisted else "COMPLETED"), result
    assert_conserved(result)
    assert (result["totalClerkUsers"], result["errorCount"]) == (130 + unlisted, unlisted)
    assert not unlisted or "listed 130 of them" in result["errors"][0]["reason"]
    assert bool(stack.runs.current("full").watermark) != bool(unlisted)
    assert_true_to_clerk(stack.rows(), users)
