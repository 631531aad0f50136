"""What the checks of webhooks, page loads and runs decide."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from clerk_sync.audit.report import report
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import MissedDeletions, Mode, Run
from clerk_sync.users.drift import Finding, FindingKind, group_by_kind
from clerk_sync.users.user import UserProblem
from clerk_sync.webhook.arrivals import Webhooks
from tests.cloud.checks import page_loads, runs, webhooks
from tests.cloud.result import Mark, Result
from tests.local.clerk.session_tokens import jwks, new_key, public_pem

HOUR = 3_600_000
NOW = 1_800_000_000_000


def assert_wrong(result: Result | None, finding: str, to_do: str) -> None:
    assert result
    assert result.mark is Mark.WRONG
    assert finding in result.finding
    assert to_do in result.to_do


@pytest.mark.parametrize(
    ("status", "finding"),
    [
        (401, "refuses what is signed with the secret in SSM"),
        (403, "something in front of it refuses"),
        (404, "no such route"),
        (413, "answered 413"),
        (500, "not set up right"),
        (503, "can't reach SSM or a table"),
        (502, "answered 502"),
        (200, "answered 200"),
    ],
)
def test_a_signed_event_that_is_not_taken_is_wrong(status: int, finding: str) -> None:
    result = webhooks.signed_result(status, is_restricted=False)
    assert result.mark is Mark.WRONG
    assert finding in result.finding
    assert result.to_do


def test_a_signed_event_is_answered_204_and_a_forged_one_401() -> None:
    assert webhooks.signed_result(204, is_restricted=False).mark is Mark.OK
    assert webhooks.forged_result(401, is_restricted=True).mark is Mark.OK
    assert_wrong(webhooks.forged_result(204, is_restricted=False), "anybody can write", "sam deploy")
    assert_wrong(webhooks.forged_result(500, is_restricted=False), "not set up right", "webhook_failed")


def test_what_address_ranges_keep_out_cannot_be_tested_from_here() -> None:
    for decide in (webhooks.signed_result, webhooks.forged_result):
        result = decide(403, is_restricted=True)
        assert (result.mark, result.to_do) == (Mark.UNKNOWN, "")
        assert "can't be tested from here" in result.finding


def test_webhooks_that_never_came_are_wrong_only_if_users_changed() -> None:
    run = Run("incremental-1", "incremental", create_missing=True, dry_run=False, started_at=NOW)
    changed = replace(run, since=NOW - HOUR, counts=Counts(created=1, updated=2))
    for harmless in (None, run, replace(changed, since=None), replace(changed, counts=Counts(unchanged=9))):
        result = webhooks.arrivals_result(None, harmless, 1, NOW)
        assert (result.mark, result.to_do) == (Mark.UNKNOWN, "")
        assert "rejected" not in result.finding
    result = webhooks.arrivals_result(None, changed, 0, NOW)
    assert_wrong(result, "though 3 users changed", "Add the endpoint")


def test_webhooks_that_were_rejected_raise_the_question_of_the_secret() -> None:
    result = webhooks.arrivals_result(None, None, 5, NOW)
    assert "5 were rejected in the last day: is the secret in SSM that of the endpoint?" in result.finding


def test_webhooks_that_stopped_are_wrong_only_if_changes_were_missed() -> None:
    run = Run("incremental-1", "incremental", create_missing=True, dry_run=False, started_at=NOW)
    missed = replace(run, counts=Counts(updated=4, missed_by_webhooks=4))
    recent, old = Webhooks(0, NOW - HOUR), Webhooks(0, NOW - 13 * HOUR)
    assert webhooks.arrivals_result(old, run, 0, NOW).mark is Mark.OK
    assert webhooks.arrivals_result(old, None, 0, NOW).mark is Mark.OK
    assert webhooks.arrivals_result(recent, missed, 0, NOW).mark is Mark.OK
    assert_wrong(webhooks.arrivals_result(old, missed, 0, NOW), "13 h ago", "Enable the endpoint")


def answer(body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def test_keys_are_compared_with_those_of_the_secret_key_s_instance() -> None:
    mine, other = new_key(), new_key()
    published = page_loads.moduli(answer(jwks({"a": mine, "b": other})), "u")
    pem = page_loads.pem_moduli(public_pem(mine))
    assert page_loads.keys_result(pem, published, "ClerkJwtKey").mark is Mark.OK
    assert page_loads.keys_result(pem, set(), "ClerkJwtKey").mark is Mark.OK
    foreign = page_loads.moduli(answer(jwks({"a": other})), "u")
    assert_wrong(
        page_loads.keys_result(foreign, pem, "ClerkIssuer"), "another instance's", "with ClerkIssuer"
    )


@pytest.mark.parametrize("body", [{}, [], {"keys": []}, {"keys": [{"kty": "RSA"}]}, "text"])
def test_an_answer_without_keys_is_an_error(body: Any) -> None:
    with pytest.raises(page_loads.NoKeysError, match="something else than keys"):
        page_loads.moduli(answer(body), "u")


def test_a_jwt_key_that_is_no_key_is_found() -> None:
    with pytest.raises(page_loads.NoKeysError, match="ClerkJwtKey is not an RSA public key"):
        page_loads.pem_moduli("MIIB")
    assert_wrong(page_loads.no_keys_result("It is none.", is_pem=True), "It is none.", "ClerkJwtKey")
    assert_wrong(page_loads.no_keys_result("u answers 404.", is_pem=False), "u answers 404.", "ClerkIssuer")


def test_missing_or_refused_origins_are_wrong() -> None:
    origins = ["https://a.example/", "https://b.example"]
    assert page_loads.origins_result(origins, 204, "https://a.example").mark is Mark.OK
    assert_wrong(page_loads.origins_result(origins, 204, None), "does not let", "ProfileFunction")
    assert_wrong(page_loads.origins_result(origins, 500, None), "answers 500", "ProfileFunction")
    assert_wrong(page_loads.origins_result([], None, None), "is empty", "ClerkAuthorizedParties")


def run(mode: Mode = "full", **values: Any) -> Run:
    started = Run(
        f"{mode}-1",
        mode,
        create_missing=True,
        dry_run=False,
        started_at=NOW - HOUR,
        ended_at=NOW - HOUR + 1,
        status="COMPLETED",
        total_users=9,
    )
    return replace(started, **values)


@pytest.mark.parametrize("mode", ["full", "incremental", "audit"])
def test_a_run_that_completed_or_is_under_way_is_ok(mode: Mode) -> None:
    assert runs.run_result(mode, run(mode), [], NOW).mark is Mark.OK
    under_way = run(mode, status="RUNNING", ended_at=None)
    assert "so far" in runs.run_result(mode, under_way, [], NOW).finding


def test_a_run_that_failed_hangs_or_left_users_out_is_found() -> None:
    failed = run(status="FAILED", failure="Clerk refuses the secret key. Set it with: aws ssm")
    found = runs.run_result("full", failed, [], NOW)
    assert_wrong(found, "FAILED. The first reason: Clerk refuses", "with {}")
    assert found.to_do == "Then invoke BackfillFunction with {}.", "the reason says what to correct"
    partly = run(status="COMPLETED_WITH_ERRORS", counts=Counts(errors=2))
    problems = [UserProblem("user_1", "Clerk's user is malformed")]
    assert_wrong(runs.run_result("full", partly, problems, NOW), "2 of 9 users. The first reason", "full-1")
    hangs = run(status="RUNNING", started_at=NOW - 25 * HOUR, ended_at=None)
    assert_wrong(runs.run_result("full", hangs, [], NOW), "should be over", "full-1")


@pytest.mark.parametrize(("dry_run", "event"), [(True, "{}"), (False, '{"repair": true}')])
def test_audit_that_failed_is_to_be_started_with_the_same_event(event: str, *, dry_run: bool) -> None:
    failed = run("audit", status="FAILED", failure="Clerk refuses", dry_run=dry_run)
    found = runs.run_result("audit", failed, [], NOW)
    assert found.to_do == f"Then invoke AuditFunction with {event}."
    partly = replace(failed, status="COMPLETED_WITH_ERRORS", failure=None, counts=Counts(errors=1))
    found = runs.run_result("audit", partly, [UserProblem("user_1", "Malformed")], NOW)
    assert found.to_do.endswith(f"Correct that, then invoke AuditFunction with {event}.")


def test_run_for_another_table_does_not_count() -> None:
    full = runs.other_table_result("full", run(users_table="Old"), NOW)
    assert_wrong(
        full, "None for this table yet: the last one, 1 h ago, was for Old.", "BackfillFunction with {}"
    )
    audit = runs.other_table_result("audit", run("audit", users_table="Old"), NOW)
    assert (audit.mark, audit.to_do) == (Mark.OK, "")
    assert "was for Old" in audit.finding


def test_stack_without_a_full_run_is_wrong_but_not_without_other_runs() -> None:
    assert_wrong(runs.run_result("full", None, [], NOW), "none yet", "BackfillFunction with {}")
    assert runs.run_result("incremental", None, [], NOW).mark is Mark.OK
    assert runs.run_result("audit", None, [], NOW).mark is Mark.OK


DUE = (NOW - 10 * HOUR, NOW - 34 * HOUR)
LONG_AGO = NOW - 1000 * HOUR


@pytest.mark.parametrize(
    ("last", "enabled_at", "is_overdue"),
    [
        (NOW - 10 * HOUR, LONG_AGO, False),
        (NOW - 11 * HOUR, LONG_AGO, True),
        (None, LONG_AGO, True),
        (None, NOW - 9 * HOUR, False),
        (NOW - 30 * HOUR, NOW - 9 * HOUR, False),  # it was another schedule then
        (NOW - 35 * HOUR, NOW - 9 * HOUR, True),  # too old for any schedule of that period
    ],
)
def test_a_run_is_overdue_when_its_schedule_did_not_start_one(
    last: int | None, enabled_at: int, *, is_overdue: bool
) -> None:
    result = runs.overdue_result("incremental", last, DUE, enabled_at, NOW)
    if is_overdue:
        assert_wrong(result, "due 10 h ago", '{"mode": "incremental"}')
    else:
        assert result is None


def audit(found: dict[str, Finding], **values: Any) -> dict[str, Any]:
    one = run("audit", dry_run=True, **values)
    return report(one, group_by_kind(found), [], None, NOW)


def test_the_audit_says_rows_and_users_and_what_differs() -> None:
    fine = runs.audit_result(audit({}), 9, NOW)
    assert (fine.mark, fine.finding) == (Mark.OK, "OK: 9 synced rows for 9 users, 59 min ago")
    drifted = audit(
        {"user_1": Finding(FindingKind.DRIFTED, ("email",), missed_by_webhook=False)},
        counts=Counts(findings=1),
    )
    assert_wrong(runs.audit_result(drifted, 9, NOW), "DRIFT: drifted 1; 9 synced rows", '{"repair": true}')
    held_back = audit({}, deletions=MissedDeletions(rows=9, found=5, held_back="Too many are gone."))
    assert_wrong(runs.audit_result(held_back, 9, NOW), "DRIFT: notInClerk 5", "Too many are gone.")
