"""The audit on the deployed stack: what it reports about planted defects, and what it fixes."""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from clerk_sync.users.fields import DEFAULT_NAMES
from tests.integration.stack import Stack, assert_true_to_clerk, eventually, wanted_row
from tests.local.aws.local_aws import FunctionError
from tests.local.clerk.fake_users import User, make_user, make_users
from tests.local.clerk.faults import Fault, Request
from tests.local.clerk.simulated_clerk import SimulatedClerk
from tests.support.deployed_api import event, post

HOUR_MS = 3_600_000
KINDS = ("missing", "drifted", "placeholders", "notInClerk", "markedButAlive")


def whole_user(number: int) -> User:
    """A user who has all eight fields."""
    return make_user(number) | {
        "first_name": f"First{number}",
        "last_name": f"Last{number}",
        "username": f"name{number}",
        "last_sign_in_at": 1_700_000_001_000,
        "last_active_at": 1_700_000_002_000,
    }


def found(report: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """The report's findings: kind → user → fields."""
    for kind in KINDS:
        assert report[kind]["count"] == len(report[kind]["users"]), kind
    return {
        kind: {user["clerkUserId"]: user["fields"] for user in report[kind]["users"]}
        for kind in KINDS
        if report[kind]["users"]
    }


def synced(stack: Stack, users: list[User]) -> None:
    """Do a full run, after which the table is right."""
    assert stack.backfill()["status"] == "COMPLETED"
    assert_true_to_clerk(stack.rows(), users)


def test_correct_table_is_ok(stack: Stack) -> None:
    users = make_users(30)
    with stack.clerk(users):
        synced(stack, users)
        stack.put_row("app_only", name="never Clerk's")
        before = stack.rows()
        report = stack.audit()
    assert (report["verdict"], found(report), report["clerkUsers"]) == ("OK", {}, 30)
    assert report["advice"] == []
    assert stack.rows() == before


def planted(stack: Stack, clerk: SimulatedClerk, users: list[User]) -> dict[str, dict[str, list[str]]]:
    """Plant defects of each kind in a correct table. Returns what a report must find."""
    rows = stack.rows()
    drifted = dict(zip(DEFAULT_NAMES, (user["id"] for user in users), strict=False))
    for name, user_id in drifted.items():
        row = rows[user_id]
        was = row.pop(name)
        if name != "username":  # which goes missing
            row[name] = was - 1 if isinstance(was, int) else "other"
        stack.put_row(user_id, **row)
    ids = [user["id"] for user in users[len(drifted) :]]
    missing, never_synced, reserved, behind, marked, marked_and_drifted, *_ = ids
    stack.delete_row(missing)
    stack.put_row(never_synced, plan="pro", firstName="Test", lastName="User", email="user@example.com")
    stack.put_row(reserved, **rows[reserved] | {"email": "nobody@shop.example"})
    stack.put_row(behind, **rows[behind] | {"clerkUpdatedAt": 1_600_000_000_000, "lastName": "Before"})
    long_ago = int(time.time() * 1000) - HOUR_MS
    stack.put_row(marked, **rows[marked] | {"clerkDeletedAt": long_ago})
    stack.put_row(marked_and_drifted, **rows[marked_and_drifted] | {"clerkDeletedAt": 5, "firstName": "x"})
    for gone in users[-3:]:
        clerk.delete(gone["id"])
    stack.put_row("app_only", plan="free", email="shop@example.com")
    return {
        "missing": {missing: []},
        "drifted": {user_id: [name] for name, user_id in drifted.items()} | {behind: ["lastName"]},
        "placeholders": {never_synced: list(DEFAULT_NAMES), reserved: ["email"]},
        "notInClerk": {user["id"]: [] for user in users[-3:]},
        "markedButAlive": {marked: [], marked_and_drifted: ["firstName"]},
    }


def test_planted_defects_are_reported_exactly_and_fixed_by_a_repair(stack: Stack) -> None:
    users = [whole_user(number) for number in range(60)]
    with stack.clerk(users) as clerk:
        synced(stack, users)
        expected = planted(stack, clerk, users)
        before = stack.rows()

        report = stack.audit()
        assert (report["verdict"], found(report)) == ("DRIFT", expected)
        assert '{"repair": true}' in report["advice"][0]
        assert stack.rows() == before, "an audit writes nothing"

        repair = stack.audit({"repair": True})
        assert (repair["verdict"], found(repair)) == ("DRIFT", expected)
        assert (repair["deletionsHeldBack"], repair["clerkUsers"]) == (None, 57)
        rows = stack.rows()
        assert_true_to_clerk(rows, clerk.users())
        for gone in users[-3:]:
            assert rows[gone["id"]].pop("clerkDeletedAt") >= repair["startedAt"]
            assert rows[gone["id"]] == wanted_row(gone), "a row is marked and keeps everything else"
        assert rows["app_only"] == before["app_only"]
        assert rows[users[9]["id"]]["plan"] == "pro"

        again = stack.audit()
    assert (again["verdict"], found(again), again["advice"]) == ("OK", {}, [])


def test_too_many_deletions_are_held_back(stack: Stack) -> None:
    users = make_users(40)
    with stack.clerk(users) as clerk:
        synced(stack, users)
        for user in users[:11]:
            clerk.delete(user["id"])
        before = stack.rows()
        report = stack.audit({"repair": True})
        assert (report["verdict"], report["notInClerk"]["count"]) == ("DRIFT", 11)
        assert "MaxDeletionsPercent" in report["deletionsHeldBack"]
        assert report["deletionsHeldBack"] in report["advice"][0]
        assert stack.rows() == before

        with stack.configured("AuditFunction", MAX_DELETIONS_PERCENT="50"):
            report = stack.audit({"repair": True})
        assert (report["deletionsHeldBack"], report["notInClerk"]["count"]) == (None, 11)
    assert {user_id for user_id, row in stack.rows().items() if "clerkDeletedAt" in row} == {
        user["id"] for user in users[:11]
    }


@pytest.mark.parametrize("has_run_there", [False, True])
def test_audit_of_another_instance_writes_nothing(stack: Stack, has_run_there: bool) -> None:
    users = make_users(6)
    with stack.clerk(users):
        synced(stack, users)
        assert stack.audit()["verdict"] == "OK"
    with stack.clerk(make_users(300, start=1000), instance_id="ins_other"):
        if has_run_there:
            stack.backfill()
        before = stack.rows()
        report = stack.audit({"repair": True})
    assert (report["status"], report["verdict"]) == ("FAILED", None)
    assert "ins_other" in report["errors"][0]["reason"]
    assert stack.rows() == before


@pytest.mark.parametrize("number_of_users", [0, 5, 300])
def test_instance_whose_users_have_no_rows_marks_no_row(stack: Stack, number_of_users: int) -> None:
    users = make_users(6)
    with stack.clerk(users):
        synced(stack, users)
    before = stack.rows()
    with stack.clerk(make_users(number_of_users, start=1000)):
        report = stack.audit({"repair": True})
    assert (report["verdict"], report["notInClerk"]["count"]) == ("DRIFT", 6)
    assert "the right one" in report["deletionsHeldBack"]
    assert {user_id: stack.rows()[user_id] for user_id in before} == before


def truncate_lists(clerk: SimulatedClerk, keep: int) -> None:
    """From now on, each list of users has only the first `keep` users."""

    def answer(_: int, request: Request) -> Fault | None:
        if request.path != "/v1/users" or "user_id" in request.query:
            return None
        users = [clerk.get(user_id) for user_id in clerk.ids()[:keep]]
        return Fault.status(200, body=json.dumps(users).encode())

    clerk.on_request = answer


@pytest.mark.parametrize("keep", [0, 30])
def test_truncated_list_marks_no_row(stack: Stack, keep: int) -> None:
    users = make_users(60)
    with stack.clerk(users) as clerk:
        synced(stack, users)
        before = stack.rows()
        truncate_lists(clerk, keep)
        report = stack.audit({"repair": True})
    assert (report["verdict"], report["notInClerk"]["count"]) == ("DRIFT", 0)
    assert f"{keep} of the 60" in report["deletionsHeldBack"]
    assert (report["status"], report["errorCount"]) == ("COMPLETED_WITH_ERRORS", 60 - keep)
    assert stack.rows() == before


@pytest.mark.parametrize("status", [401, 500])
def test_clerk_failure_halfway_marks_no_row(stack: Stack, status: int) -> None:
    users = make_users(1_200)
    with stack.clerk(users) as clerk, stack.configured("AuditFunction", timeout=37):
        synced(stack, users)
        before = stack.rows()
        half_way = len(clerk.requests) + 3
        clerk.on_request = lambda number, _: Fault.status(status) if number > half_way else None
        if status == 401:
            report = stack.audit({"repair": True})
            assert (report["status"], report["verdict"]) == ("FAILED", None)
            assert "secret key" in report["errors"][0]["reason"]
        else:
            run_id = stack.audit({"repair": True})["runId"]
            clerk.on_request = None
            report = stack.audit({"runId": run_id})
            assert (report["status"], report["verdict"]) == ("COMPLETED", "OK")
            stack.wait_for_continuations(run_id, invocations=2)
    assert stack.rows() == before


def test_users_who_change_during_the_audit_are_not_reported(stack: Stack) -> None:
    users = make_users(1_500)
    newcomers = make_users(20, start=5_000)
    now = int(time.time() * 1000)

    def change(number: int, _: Request) -> None:
        if number != started_after + 3:
            return
        for user in users[:20]:
            clerk.update(user["id"], first_name="Changed")
        for user in users[1_000:1_020]:
            clerk.update(user["id"], last_name="Changed")
        for user in newcomers:
            clerk.add(user | {"created_at": now, "updated_at": now})
        for user in users[20:25]:
            clerk.delete(user["id"])
            gone = {"object": "user", "id": user["id"], "deleted": True}
            assert post(stack, event(gone, "user.deleted")).status_code == 204

    with stack.clerk(users) as clerk:
        synced(stack, users)
        started_after = len(clerk.requests)
        clerk.on_request = change
        report = stack.audit()
    assert (report["verdict"], found(report)) == ("OK", {})


def test_audit_that_runs_out_of_time_continues_in_a_new_invocation(stack: Stack) -> None:
    users = make_users(3_000)
    with stack.clerk(users, latency=1.2) as clerk:
        synced(stack, users)
        for user in users[:3]:
            clerk.delete(user["id"])
        stack.delete_row(users[-1]["id"])
        with stack.configured("AuditFunction", timeout=36, PAGE_SIZE="100"):
            run_id = stack.audit()["runId"]
            report = eventually(
                lambda: (r := stack.audit({"runId": run_id, "waitSeconds": 1}))["verdict"] and r, 120
            )
    assert report["clerkUsers"] == 2_997
    assert found(report) == {
        "missing": {users[-1]["id"]: []},
        "notInClerk": {user["id"]: [] for user in users[:3]},
    }
    assert stack.log().count('"message":"run_continued"') > 0


def test_changes_that_webhooks_missed_are_counted(stack: Stack) -> None:
    users = make_users(20)
    with stack.clerk(users) as clerk:
        result = stack.backfill()
        assert (result["missedByWebhooks"], result["hoursSinceLastWebhook"]) == (None, None)
        an_hour_ago = int(time.time() * 1000) - HOUR_MS
        for user in users[:3]:
            clerk.update(user["id"], first_name="Unheard", updated_at=an_hour_ago)
        clerk.update(users[4]["id"], last_active_at=an_hour_ago, updated_at=users[4]["updated_at"])
        stack.webhooks_since(an_hour_ago - HOUR_MS)
        report = stack.audit()
        assert (report["missedByWebhooks"], report["hoursSinceLastWebhook"]) == (3, 2.0)
        assert "endpoint" in report["advice"][-1]
        result = stack.backfill()
    assert (result["updatedCount"], result["missedByWebhooks"], result["hoursSinceLastWebhook"]) == (
        4,
        3,
        2.0,
    )


def test_deletion_counts_as_missed_by_webhooks_only_if_a_run_listed_the_user(stack: Stack) -> None:
    users = make_users(8)
    sample = make_user(900)
    with stack.clerk(users) as clerk:
        synced(stack, users)
        # Clerk's Testing tab sends a signed event with a user who is not in Clerk.
        assert post(stack, event(sample)).status_code == 204
        stack.webhooks_since(int(time.time() * 1000))
        report = stack.audit()
        assert found(report) == {"notInClerk": {sample["id"]: []}}
        assert report["missedByWebhooks"] == 0
        assert not any("Webhooks" in advice for advice in report["advice"])
        clerk.delete(users[0]["id"])
        report = stack.audit()
        assert found(report) == {"notInClerk": {sample["id"]: [], users[0]["id"]: []}}
        assert report["missedByWebhooks"] == 1


def test_arrival_of_a_webhook_is_recorded(stack: Stack) -> None:
    stack.kill("WebhookFunction")  # a process records one arrival in ten minutes
    user = make_user(1)
    assert post(stack, event(user)).status_code == 204
    with stack.clerk([user]):
        assert stack.backfill()["hoursSinceLastWebhook"] == 0.0


@pytest.mark.parametrize("wrong", [{"mode": "full"}, {"repair": "yes"}, {"fix": True}, [], {"dryRun": True}])
def test_wrong_event_starts_nothing_and_lists_the_keys(stack: Stack, wrong: Any) -> None:
    with pytest.raises(FunctionError, match=r'Nothing was started.*"repair" \(true or false\)'):
        stack.audit(wrong)


def test_each_function_reports_only_its_own_runs(stack: Stack) -> None:
    with stack.clerk(make_users(3)):
        full, audit = stack.backfill()["runId"], stack.audit()["runId"]
        with pytest.raises(FunctionError, match="ask BackfillFunction"):
            stack.audit({"runId": full})
        with pytest.raises(FunctionError, match="ask AuditFunction"):
            stack.backfill({"runId": audit})
        with pytest.raises(FunctionError, match="another repair"):
            stack.audit({"runId": audit, "repair": True})
