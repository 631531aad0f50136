"""The backfill on the deployed stack: runs, and what can go wrong during one."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, get_args

import pytest

from clerk_sync.clock import now_ms
from clerk_sync.runs.page import VERSION
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.run import STALE_MS, Mode, Run
from tests.integration.stack import (
    Stack,
    assert_conserved,
    assert_true_to_clerk,
    eventually,
    wanted_row,
)
from tests.local.aws.local_aws import SECRET_KEY, FunctionError
from tests.local.clerk.fake_users import broken_users, make_user, make_users
from tests.local.clerk.faults import Fault, Request
from tests.local.clerk.instance_users import GoneCursor
from tests.local.clerk.simulated_clerk import SimulatedClerk


def user_requests(clerk: SimulatedClerk) -> list[Request]:
    """The requests for users. Each invocation also asks for the instance."""
    return [request for request in clerk.requests if request.path.startswith("/v1/users")]


def test_all_users_are_synced_exactly_and_a_second_run_writes_nothing(stack: Stack) -> None:
    users = make_users(6_000)
    placeholder = {"firstName": "Test", "lastName": "User", "email": "user@example.com", "lastSignInAt": 0}
    for user in users[:40]:
        stack.put_row(user["id"], plan="pro", **placeholder)
    stack.put_row("not-from-clerk", plan="free", email="shop@example.com")

    with stack.clerk(users) as clerk:
        started = time.time()
        result = stack.backfill({"waitSeconds": 300})

        assert result["status"] == "COMPLETED", result
        assert_conserved(result)
        assert (result["createdCount"], result["updatedCount"]) == (5_960, 40)
        assert len(user_requests(clerk)) <= 6_000 / 500 + 5 + 3  # as many windows as the rate allows
        rows = stack.rows()
        assert rows.pop("not-from-clerk") == {"plan": "free", "email": "shop@example.com"}
        expected = {user["id"]: wanted_row(user) for user in users}
        for user in users[:40]:
            expected[user["id"]]["plan"] = "pro"
        assert rows == expected

        assert stack.user_writes_since(started) == {"BatchExecuteStatement"}
        started = time.time()
        again = stack.backfill({"waitSeconds": 300})

    assert again["status"] == "COMPLETED"
    assert again["unchangedCount"] == again["totalClerkUsers"] == 6_000
    assert stack.user_writes_since(started) == set()


@pytest.mark.parametrize("gone_cursor", get_args(GoneCursor.__value__))
def test_users_created_and_deleted_during_the_listing_are_handled(
    stack: Stack, gone_cursor: GoneCursor
) -> None:
    users = make_users(2_300)
    newcomers = iter(make_users(500, start=10_000))
    gone: set[str] = set()

    with stack.clerk(users, gone_cursor=gone_cursor) as clerk:

        def churn(_: int, request: Request) -> None:
            if cursor := request.query.get("starting_after", [""])[0]:
                position = clerk.ids().index(cursor) if cursor in clerk.ids() else None
                if position is None:
                    return
                for user_id in [*clerk.ids()[position - 12 : position + 13]]:
                    clerk.delete(user_id)
                    gone.add(user_id)
                for _ in range(25):
                    clerk.add(next(newcomers))

        clerk.on_request = churn
        result = stack.backfill({"waitSeconds": 120})
        alive = clerk.users()

    assert result["status"] == "COMPLETED", result
    assert_conserved(result)
    rows = stack.rows()
    throughout = [user for user in users if user["id"] not in gone]
    assert len(gone) >= 75
    assert_true_to_clerk(rows, throughout)
    assert result["totalClerkUsers"] == len(rows) >= len(alive)


def test_killed_backfill_continues_the_same_run_from_its_last_page(stack: Stack) -> None:
    users = make_users(4_900)
    with stack.clerk(users) as clerk:

        def kill(number: int, _: Request) -> None:
            if number == 6:
                assert stack.kill("BackfillFunction")

        clerk.on_request = kill
        with pytest.raises(FunctionError, match=r"died|exited|no response"):
            stack.backfill()
        run_id = stack.current_run_id()
        asked = len(user_requests(clerk))
        stack.change_run(run_id, "leaseUntil", 0)
        result = stack.backfill({"waitSeconds": 120})

    assert result["runId"] == run_id
    assert result["status"] == "COMPLETED", result
    assert_conserved(result)
    assert result["totalClerkUsers"] == 4_900
    # Only pages that were requested and not sent are requested again: at most three. All would be eleven.
    assert len(user_requests(clerk)) - asked <= 9, "it began again instead of going on"
    assert_true_to_clerk(stack.rows(), users)


def test_page_of_a_killed_worker_is_completed(stack: Stack) -> None:
    users = make_users(3_000)
    with stack.clerk(users), stack.queue_with(VisibilityTimeout="3"):
        run_id = stack.backfill({"waitSeconds": 0})["runId"]
        eventually(lambda: len(stack.rows()) > 100)
        assert stack.kill("WorkerFunction")
        result = stack.finished(run_id)

    assert result["status"] == "COMPLETED", result
    assert_conserved(result)
    assert result["totalClerkUsers"] == 3_000
    assert_true_to_clerk(stack.rows(), users)


def test_run_longer_than_the_timeout_continues_in_a_new_invocation(stack: Stack) -> None:
    users = make_users(3_000)
    with stack.clerk(users, latency=1.5) as clerk, stack.configured("BackfillFunction", timeout=36):
        first = stack.backfill({"waitSeconds": 0})
        assert first["status"] == "RUNNING"
        assert first["totalClerkUsers"] < 3_000
        eventually(lambda: (run := stack.runs.get(first["runId"])) and run.is_over)
        stack.wait_for_continuations(first["runId"])
        # Each invocation requests one page more than it has time to send.
        assert len(user_requests(clerk)) <= 2 * 3_000 / 500 + 3

    result = stack.backfill({"runId": first["runId"]})
    assert result["status"] == "COMPLETED", result
    assert_conserved(result)
    assert_true_to_clerk(stack.rows(), users)


def test_concurrent_invocations_share_one_run(stack: Stack) -> None:
    with stack.clerk(make_users(2_000), latency=0.2) as clerk:
        results = [future.result() for future in [stack.start_backfill() for _ in range(3)]]

    assert len({result["runId"] for result in results}) == 1
    assert {result["status"] for result in results} == {"COMPLETED"}
    assert results[0]["totalClerkUsers"] == 2_000
    assert len(user_requests(clerk)) <= 2_000 / 500 + 3


def test_event_for_a_different_run_is_rejected_while_one_is_running(stack: Stack) -> None:
    with stack.clerk(make_users(2_000), latency=0.5):
        running = stack.start_backfill()
        run_id = stack.current_run_id()
        with pytest.raises(FunctionError, match=f"{run_id} is RUNNING.*another dryRun"):
            stack.backfill({"dryRun": True})
        with pytest.raises(FunctionError, match="there is no run mine"):
            stack.backfill({"runId": "mine"})
        assert running.result()["status"] == "COMPLETED"


def test_left_over_run_of_another_kind_does_not_replace_a_new_run(stack: Stack) -> None:
    users = make_users(600)
    with stack.clerk(users):
        with stack.workers_paused():
            left_over = stack.backfill({"dryRun": True, "waitSeconds": 0})
            scheduled = stack.backfill({"mode": "full", "waitSeconds": 0})
        assert stack.finished(left_over["runId"])["dryRun"] is True
        assert scheduled["runId"] != left_over["runId"]
        scheduled = stack.finished(scheduled["runId"])
        assert (scheduled["status"], scheduled["createdCount"]) == ("COMPLETED", 600)

        with stack.workers_paused():
            old = stack.backfill({"waitSeconds": 0})
        stack.change_run(old["runId"], "startedAt", old["startedAt"] - 3 * 24 * 3600 * 1000)
        result = stack.backfill()
        assert stack.finished(old["runId"])["status"] == "COMPLETED"
        assert result["runId"] != old["runId"]
        assert (result["status"], result["unchangedCount"]) == ("COMPLETED", 600)


def test_malformed_users_are_set_aside_and_the_rest_of_the_page_is_written(stack: Stack) -> None:
    good, bad = make_users(30), broken_users()
    with stack.clerk([*good, *bad]):
        result = stack.backfill()

    assert result["status"] == "COMPLETED_WITH_ERRORS"
    assert_conserved(result)
    assert result["totalClerkUsers"] == len(good) + len(bad)
    assert 0 < len(result["errors"]) <= 20
    assert all(error["reason"].startswith("Clerk's user is malformed: ") for error in result["errors"])
    assert_true_to_clerk(stack.rows(), good)


def test_dry_run_reports_changes_and_writes_nothing(stack: Stack) -> None:
    users = make_users(120)
    stack.put_row(users[0]["id"], plan="pro")
    stack.put_row(users[1]["id"], **wanted_row(users[1]))
    before = stack.rows()
    with stack.clerk(users):
        result = stack.backfill({"dryRun": True})

    assert stack.rows() == before
    assert result["dryRun"] is True
    counts = (result["createdCount"], result["updatedCount"], result["unchangedCount"])
    assert counts == (118, 1, 1)
    assert_conserved(result)


def test_users_without_a_row_are_skipped_and_counted_without_create_missing(stack: Stack) -> None:
    users = make_users(50)
    stack.put_row(users[7]["id"], plan="pro")
    with stack.clerk(users):
        result = stack.backfill({"createMissing": False})

    assert (result["updatedCount"], result["skippedCount"]) == (1, 49)
    assert_conserved(result)
    assert stack.rows() == {users[7]["id"]: {"plan": "pro", **wanted_row(users[7])}}


def test_run_over_an_empty_instance_completes(stack: Stack) -> None:
    with stack.clerk([]):
        result = stack.backfill()
    assert (result["status"], result["totalClerkUsers"], result["pages"]) == ("COMPLETED", 0, 0)
    assert_conserved(result)


def test_page_too_big_for_a_message_is_split(stack: Stack) -> None:
    users = make_users(100)
    for user in users:
        user["first_name"] = "\U0001f600" * 1_000  # 12 KB each in ASCII
    with stack.clerk(users):
        result = stack.backfill()
    assert (result["status"], result["totalClerkUsers"]) == ("COMPLETED", 100)
    assert result["pages"] > 1
    assert_true_to_clerk(stack.rows(), users)


# Incremental runs


def test_incremental_run_reads_and_writes_only_changed_users(stack: Stack) -> None:
    now = int(time.time() * 1000)
    users = make_users(4_000)
    with stack.clerk(users) as clerk:
        assert stack.backfill()["status"] == "COMPLETED"
        stack.change_run(stack.current_run_id(), "startedAt", now - 3_600_000)
        for n in range(0, 3_000, 15):
            clerk.update(users[n]["id"], first_name=f"Renamed {n}")
        clerk.add(make_user(50_000) | {"created_at": now, "updated_at": now})
        clerk.requests.clear()
        result = stack.backfill({"mode": "incremental"})

        assert len(user_requests(clerk)) == 1
        assert (result["status"], result["mode"]) == ("COMPLETED", "incremental")
        assert_conserved(result)
        counts = (result["totalClerkUsers"], result["updatedCount"], result["createdCount"])
        assert counts == (201, 200, 1)
        assert_true_to_clerk(stack.rows(), clerk.users())

        # Changes that a failed run or a dry run covered are read by the next run.
        clerk.update(users[1]["id"], first_name="Late", updated_at=now - 300_000)
        clerk.on_request = lambda *_: Fault.status(401)
        assert stack.backfill({"mode": "incremental"})["status"] == "FAILED"
        clerk.on_request = None
        assert stack.backfill({"mode": "incremental", "dryRun": True})["updatedCount"] == 1
        assert stack.backfill({"mode": "incremental"})["updatedCount"] == 1
        assert_true_to_clerk(stack.rows(), clerk.users())


def test_first_incremental_run_reads_every_user(stack: Stack) -> None:
    users = make_users(700)
    with stack.clerk(users):
        result = stack.backfill({"mode": "incremental"})
    assert (result["status"], result["createdCount"]) == ("COMPLETED", 700)
    assert_true_to_clerk(stack.rows(), users)


def test_killed_incremental_run_continues_where_it_stopped(stack: Stack) -> None:
    now = int(time.time() * 1000)
    users = [user | {"created_at": now, "updated_at": now + n} for n, user in enumerate(make_users(3_000))]
    with stack.clerk([]):
        stack.backfill()
    with stack.clerk(users) as clerk:

        def kill(number: int, _: Request) -> None:
            if number == 7:
                assert stack.kill("BackfillFunction")

        clerk.on_request = kill
        with pytest.raises(FunctionError):
            stack.backfill({"mode": "incremental"})
        clerk.on_request = None
        run_id = stack.runs.current("incremental").run_id
        assert run_id
        stack.change_run(run_id, "leaseUntil", 0)
        asked = len(user_requests(clerk))
        result = stack.backfill({"mode": "incremental"})

    assert (result["runId"], result["status"]) == (run_id, "COMPLETED")
    assert_conserved(result)
    assert result["totalClerkUsers"] == 3_000
    assert len(user_requests(clerk)) - asked <= 5, "the last one shows that no more users follow"
    assert_true_to_clerk(stack.rows(), users)


# Failures


@pytest.mark.parametrize(
    "fault",
    [
        Fault.html(403, {"cf-mitigated": "challenge"}),
        Fault.status(404, body=b'{"message": "no route matched"}'),
        Fault.html(200),
        Fault.html(502),
        Fault.status(500),
        Fault.drop(),
        Fault.half_body(),
        Fault.garbled(),
        Fault.not_a_list(),
    ],
    ids=["403", "404", "portal", "html", "500", "drop", "half a body", "garbled", "not a list"],
)
def test_transient_clerk_failure_is_retried(stack: Stack, fault: Fault) -> None:
    users = make_users(700)
    with stack.clerk(users) as clerk:
        clerk.on_request = lambda number, _: fault if number in (1, 3) else None
        result = stack.backfill()
    assert result["status"] == "COMPLETED", result
    assert result["totalClerkUsers"] == 700
    assert_true_to_clerk(stack.rows(), users)


def test_clerks_rate_limit_is_obeyed(stack: Stack) -> None:
    with stack.clerk(make_users(2_000), rate_limit=2, rate_window=2) as clerk:
        result = stack.backfill()
    assert result["status"] == "COMPLETED", result
    assert result["totalClerkUsers"] == 2_000
    throttled = [request for request in clerk.requests if request.status == 429]
    assert 1 <= len(throttled) <= 3, "Retry-After says when to come back"


def test_full_incremental_and_audit_runs_overlap_and_survive_clerks_429(stack: Stack) -> None:
    users = make_users(1_500)
    with stack.clerk(users):
        assert stack.backfill()["status"] == "COMPLETED"
    with stack.clerk(users, rate_limit=3, rate_window=2) as clerk:
        for user in users[:40]:
            clerk.update(user["id"], first_name="Changed")
        all_have_started = threading.Event()

        def started() -> int:
            return len([r for r in clerk.requests if r.path == "/v1/instance" and r.status == 200])

        def wait_for_the_others(_: int, request: Request) -> None:
            if started() == 3:
                all_have_started.set()
            if request.path.startswith("/v1/users"):
                all_have_started.wait(20)

        clerk.on_request = wait_for_the_others
        with ThreadPoolExecutor(3) as pool:
            full = pool.submit(stack.backfill, {"waitSeconds": 120})
            incremental = pool.submit(stack.backfill, {"mode": "incremental", "waitSeconds": 120})
            eventually(lambda: started() == 2)
            audit = pool.submit(stack.audit, {"waitSeconds": 120})
            results = [run.result() for run in (full, incremental, audit)]
        throttled = [request for request in clerk.requests if request.status == 429]
        wanted = clerk.users()

    assert all_have_started.is_set()
    assert [result["status"] for result in results] == ["COMPLETED"] * 3, results
    assert max(run["startedAt"] for run in results) < min(run["timestamp"] for run in results)
    assert throttled
    for result in results[:2]:
        assert_conserved(result)
    assert results[0]["totalClerkUsers"] == results[2]["clerkUsers"] == 1_500
    assert results[1]["totalClerkUsers"] >= 40
    assert_true_to_clerk(stack.rows(), wanted)
    [line] = [
        json.loads(line)
        for line in stack.function_log()
        if '"message":"run_started"' in line and results[2]["runId"] in line
    ]
    assert {*line["beside"]} == {result["runId"] for result in results[:2]}


def test_run_stays_open_and_says_so_while_clerk_is_down(stack: Stack) -> None:
    with stack.clerk(make_users(1_200)) as clerk:
        down = Fault.status(503, {"Retry-After": "5000"})
        clerk.on_request = lambda number, _: down if number > 2 else None
        with pytest.raises(
            FunctionError, match=r"no usable answer.*503.*stays open.*invoke the function again"
        ):
            stack.backfill()
        run_id = stack.current_run_id()
        clerk.on_request = None
        result = stack.backfill()
    assert result["runId"] == run_id
    assert (result["status"], result["totalClerkUsers"]) == ("COMPLETED", 1_200)


def test_403_from_a_proxy_leaves_the_run_open_and_does_not_blame_the_key(stack: Stack) -> None:
    with stack.clerk(make_users(1_200)) as clerk:
        # The long Retry-After ends the retries at once.
        blocked = Fault.html(
            403, {"Server": "cloudflare", "cf-mitigated": "challenge", "Retry-After": "5000"}
        )
        clerk.on_request = lambda number, _: blocked if number > 2 else None
        with pytest.raises(FunctionError) as error:
            stack.backfill()
        for part in ("403 (text/html", "cf-mitigated: challenge", "between here and Clerk", "stays open"):
            assert part in str(error.value)
        assert SECRET_KEY not in str(error.value)
        clerk.on_request = None
        result = stack.backfill()
    assert (result["status"], result["totalClerkUsers"]) == ("COMPLETED", 1_200)


def test_rejected_key_fails_the_run_and_names_the_parameter(stack: Stack) -> None:
    stack.aws.put_secret(SECRET_KEY, "sk_test_revoked")
    with stack.clerk(make_users(10)):
        result = stack.backfill()
        assert result["status"] == "FAILED"
        assert_conserved(result)
        reason = result["errors"][0]["reason"]
        assert SECRET_KEY in reason
        assert "401" in reason
        assert f"aws ssm put-parameter --name '{SECRET_KEY}'" in reason
        assert "sk_test_revoked" not in json.dumps(result)

        stack.aws.put_secret(SECRET_KEY, "sk_test_local")
        assert stack.backfill()["status"] == "COMPLETED"


def test_key_revoked_midway_fails_the_run_after_its_pages_are_written(stack: Stack) -> None:
    users = make_users(1_500)
    with stack.clerk(users) as clerk:
        clerk.on_request = lambda number, _: Fault.status(401) if number == 5 else None
        result = stack.backfill()
    assert result["status"] == "FAILED"
    assert_conserved(result)
    assert result["totalClerkUsers"] == result["createdCount"] == 1_000


def test_missing_secret_fails_the_run_and_says_how_to_set_it(stack: Stack) -> None:
    stack.aws.client("ssm").delete_parameter(Name=SECRET_KEY)
    result = stack.backfill()
    assert result["status"] == "FAILED"
    reason = result["errors"][0]["reason"]
    assert reason.startswith(f"There is no secret in the SSM parameter {SECRET_KEY}.")
    assert "--type SecureString" in reason


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"dryrun": True}, "dryrun.*dryRun"),
        ({"mode": "weekly"}, "mode"),
        ({"waitSeconds": "60"}, "waitSeconds"),
        ({"waitSeconds": 900}, "waitSeconds"),
        ({"runId": "../etc"}, "runId"),
        ([], "event"),
    ],
)
def test_invalid_event_starts_no_run(stack: Stack, event: Any, message: str) -> None:
    with pytest.raises(FunctionError, match=f"Nothing was started.*{message}"):
        stack.backfill(event)
    assert stack.runs.current("full").run_id is None


def test_unwritable_page_goes_to_the_dead_letter_queue_and_a_redrive_completes_the_run(
    stack: Stack,
) -> None:
    users = make_users(900)
    with stack.clerk(users):
        with stack.one_delivery(users_table="nowhere"):
            run_id = stack.backfill({"waitSeconds": 0})["runId"]
            eventually(lambda: stack.dead_letters() == 2)
            result = stack.finished(run_id)
        assert result["status"] == "COMPLETED_WITH_ERRORS"
        assert_conserved(result)
        assert (result["errorCount"], result["totalClerkUsers"]) == (900, 900)
        assert "PagesDeadLetterQueue" in result["errors"][0]["reason"]
        assert stack.dead_letters() == 2

        stack.redrive()
        eventually(lambda: stack.finished(run_id)["errorCount"] == 0)

    result = stack.finished(run_id)
    assert result["status"] == "COMPLETED"
    assert_conserved(result)
    assert result["errors"] == []
    assert_true_to_clerk(stack.rows(), users)


def test_foreign_message_goes_to_the_dead_letter_queue_with_a_reason(stack: Stack) -> None:
    user = make_user(1)
    foreign = {"kind": "clerk-sync/page", "version": 1, "run_id": 7, "users": [user["first_name"]]}
    for body in ("hello", json.dumps(foreign)):
        stack.send(body)
    eventually(lambda: stack.dead_letters() == 2)
    log = stack.log()
    assert "message_refused" in log
    assert "run_id: Input should be a valid string" in log


def test_page_of_a_newer_version_waits_for_a_worker_that_can_read_it(stack: Stack) -> None:
    newer = {"kind": "clerk-sync/page", "version": VERSION + 1, "run": {"id": "x"}}
    stack.send(json.dumps(newer))
    eventually(lambda: "page_deferred" in stack.log())
    assert not stack.is_drained()
    assert stack.dead_letters() == 0


def test_pages_lost_from_the_queue_are_counted_as_errors(stack: Stack) -> None:
    with stack.clerk(make_users(300)):
        with stack.workers_paused():
            run_id = stack.backfill({"waitSeconds": 0})["runId"]
            stack.aws.client("sqs").purge_queue(QueueUrl=stack.outputs["PagesQueue"])
            stack.change_run(run_id, "pagedAt", 1)
        result = stack.backfill({"runId": run_id, "waitSeconds": 1})
    assert result["status"] == "COMPLETED_WITH_ERRORS"
    assert_conserved(result)
    assert result["errorCount"] == 300


def started(stack: Stack, run_id: str, mode: Mode, started_at: int, *, dry_run: bool) -> Run:
    """A run whose invocation ended before it read anybody."""
    run = Run(
        run_id,
        mode,
        create_missing=True,
        dry_run=dry_run,
        started_at=started_at,
        users_table=stack.outputs["UsersTable"],
    )
    assert stack.runs.start(run, after=stack.runs.current(mode))
    return run


def cut_off(stack: Stack, mode: Mode, users: int) -> Run:
    """A run whose invocation ended when its first page, of so many users, was recorded but not sent."""
    run = started(stack, f"{mode}-cut-off", mode, now_ms(), dry_run=False)
    assert stack.runs.acquire(run.run_id, "cut off", now_ms(), 0)
    page = PendingPage("never sent", "", users, [], run.checkpoint)
    stack.pages.record_pending(run, "cut off", [page], 0)
    return page.added_to(run)


@pytest.mark.parametrize(("function", "mode"), [("BackfillFunction", "full"), ("AuditFunction", "audit")])
def test_page_that_was_never_sent_is_read_again(stack: Stack, function: str, mode: Mode) -> None:
    run_id = cut_off(stack, mode, 7).run_id
    users = make_users(30)
    with stack.clerk(users):
        result = stack.aws.invoke(stack.outputs[function], {"runId": run_id})
    assert (result["status"], result["errorCount"]) == ("COMPLETED", 0)
    assert_true_to_clerk(stack.rows(), users)


def test_left_over_audit_does_not_block_a_repair(stack: Stack) -> None:
    started(stack, "audit-left-over", "audit", now_ms() - STALE_MS - 1_000, dry_run=True)
    users = make_users(3)
    with stack.clerk(users):
        report = stack.audit({"repair": True})
    assert (report["status"], report["repair"], report["missing"]["count"]) == ("COMPLETED", True, 3)
    ended = stack.runs.get("audit-left-over")
    assert ended
    assert (ended.status, ended.dry_run, ended.total_users) == ("COMPLETED", True, 3)
    assert_true_to_clerk(stack.rows(), users)


def test_lost_page_of_an_audit_is_counted_as_errors(stack: Stack) -> None:
    run = cut_off(stack, "audit", 7)
    stack.runs.save(replace(run, paged_at=1), "cut off", 0)
    report = stack.audit({"runId": run.run_id, "waitSeconds": 1})
    assert (report["status"], report["errorCount"]) == ("COMPLETED_WITH_ERRORS", 7)
