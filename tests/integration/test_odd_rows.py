"""Rows that hold impossible times, and rows that DynamoDB refuses."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.faulty_aws import Answer, Body, Forward, always, through
from tests.integration.stack import Stack, assert_conserved, assert_true_to_clerk
from tests.local.clerk.fake_users import User, make_users
from tests.support.deployed_api import event, post

MICROSECONDS = 1_700_000_000_000_000


def plant_times_from_the_future(stack: Stack, users: list[User]) -> None:
    """Plant a version, a mark and an activity in microseconds, the last beside a correct version."""
    version, mark, activity = users
    stack.put_row(version["id"], clerkUpdatedAt=MICROSECONDS, email="old@corp.test")
    stack.put_row(mark["id"], clerkDeletedAt=MICROSECONDS)
    stack.put_row(activity["id"], clerkUpdatedAt=activity["updated_at"], lastActiveAt=MICROSECONDS)


def by_a_run(stack: Stack, users: list[User]) -> None:
    with stack.clerk(users):
        assert stack.backfill()["status"] == "COMPLETED"


def by_webhooks(stack: Stack, users: list[User]) -> None:
    for user in users:
        assert post(stack, event(user)).status_code == 204


@pytest.mark.parametrize("repair", [by_a_run, by_webhooks])
def test_rows_with_times_from_the_future_are_right_again(
    stack: Stack, repair: Callable[[Stack, list[User]], None]
) -> None:
    users = make_users(3)
    plant_times_from_the_future(stack, users)
    repair(stack, users)
    assert_true_to_clerk(stack.rows(), users)


def test_audit_reports_and_repairs_times_from_the_future(stack: Stack) -> None:
    users = make_users(30)
    with stack.clerk(users):
        assert stack.backfill()["status"] == "COMPLETED"
        for user, name in zip(users, ("clerkUpdatedAt", "clerkDeletedAt", "lastSignInAt"), strict=False):
            stack.put_row(user["id"], **stack.rows()[user["id"]] | {name: MICROSECONDS})
        gone = "user_gone"
        stack.put_row(gone, clerkUpdatedAt=users[0]["updated_at"], clerkDeletedAt=MICROSECONDS)
        for repair in (False, True):
            report = stack.audit({"repair": repair})
            assert report["verdict"] == "DRIFT"
            assert report["markedButAlive"]["users"] == [{"clerkUserId": users[1]["id"], "fields": []}]
            assert sorted(report["drifted"]["users"], key=str) == sorted(
                [
                    {"clerkUserId": users[0]["id"], "fields": ["clerkUpdatedAt"]},
                    {"clerkUserId": users[2]["id"], "fields": ["lastSignInAt"]},
                ],
                key=str,
            )
            assert [user["clerkUserId"] for user in report["notInClerk"]["users"]] == [gone]
        assert stack.audit()["verdict"] == "OK"
    rows = stack.rows()
    assert rows.pop(gone)["clerkDeletedAt"] < MICROSECONDS
    assert_true_to_clerk(rows, users)


def refused_by_partiql(body: Body, forward: Forward) -> Answer:
    """PartiQL rejects every other statement, as if it could not parse it."""
    answer = forward({**body, "Statements": body["Statements"][1::2]})
    taken = iter(answer.body.get("Responses", ()))
    refused = {"Error": {"Code": "ValidationError", "Message": "Statement wasn't well formed"}}
    responses = [next(taken) if n % 2 else refused for n in range(len(body["Statements"]))]
    return Answer(200, {**answer.body, "Responses": responses})


def test_statement_that_partiql_refuses_costs_no_user(stack: Stack) -> None:
    users = make_users(40)
    plan = always(refused_by_partiql, "BatchExecuteStatement")
    with stack.clerk(users) as clerk, through(stack, plan, "WorkerFunction") as aws:
        for name in ("Made", "Changed"):
            for user in users:
                clerk.update(user["id"], first_name=name)
            result = stack.backfill()
            assert (result["status"], result["successCount"]) == ("COMPLETED", 40)
            assert_true_to_clerk(stack.rows(), clerk.users())
    assert aws.calls["UpdateItem"] >= 40


def test_row_of_over_400_kb_is_that_users_error_with_dynamodbs_reason(stack: Stack) -> None:
    users = make_users(30)
    full: Any = {"notes": "x" * (400 * 1024 - 100)}
    stack.put_row(users[7]["id"], **full)
    with stack.clerk(users):
        result = stack.backfill()
    assert result["status"] == "COMPLETED_WITH_ERRORS"
    assert_conserved(result)
    [problem] = result["errors"]
    assert problem["clerkUserId"] == users[7]["id"]
    assert "Item size" in problem["reason"]
    rows = stack.rows()
    assert rows.pop(users[7]["id"]) == full
    assert_true_to_clerk(rows, [user for user in users if user is not users[7]])
