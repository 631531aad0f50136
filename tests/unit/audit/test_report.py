from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.audit.report import KINDS, report
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import MissedDeletions, Run
from clerk_sync.users.drift import Finding, FindingKind, Findings, group_by_kind
from clerk_sync.users.user import UserProblem
from clerk_sync.webhook.arrivals import Webhooks

HOUR_MS = 3_600_000
OVER = Run(
    "audit-1",
    "audit",
    create_missing=True,
    dry_run=True,
    started_at=1_000,
    status="COMPLETED",
    pages=2,
    settled_pages=2,
    total_users=15,
    paged_at=1_500,
    ended_at=2_000,
    counts=Counts(unchanged=15),
    deletions=MissedDeletions(rows=15),
)
NOTHING = group_by_kind({})
FIX = 'Invoke AuditFunction with {"repair": true} to fix the rows.'
AGAIN = "Audit again to confirm that the rows are now correct."


def one(kind: FindingKind) -> Findings:
    return group_by_kind({"user_1": Finding(kind, ("email",), missed_by_webhook=False)})


def counted(run: Run, found: Findings) -> Run:
    """The run after its workers found these."""
    findings = sum(one["count"] for one in found.values())
    return replace(run, counts=run.counts.model_copy(update={"findings": findings}))


def reported(found: Findings = NOTHING, webhooks: Webhooks | None = None, **changes: Any) -> dict[str, Any]:
    return report(counted(replace(OVER, **changes), found), found, [], webhooks, 5_000)


# The report


def test_report_has_the_documented_shape() -> None:
    run = replace(
        OVER,
        status="COMPLETED_WITH_ERRORS",
        counts=Counts(
            created=1, updated=3, unchanged=5, skipped=4, errors=1, missed_by_webhooks=2, findings=4
        ),
        deletions=MissedDeletions(rows=14, found=2, first=("user_8", "user_9"), sent=1, listed_before=2),
    )
    found = group_by_kind(
        {
            f"user_{n}": Finding(kind, ("email", "username")[:n], missed_by_webhook=False)
            for n, kind in enumerate(FindingKind)
        }
    )
    problems = [UserProblem("user_7", "odd")]
    assert report(run, found, problems, Webhooks(first_at=1, last_at=2_000), 5_402_000) == {
        "runId": "audit-1",
        "status": "COMPLETED_WITH_ERRORS",
        "verdict": "DRIFT",
        "repair": False,
        "clerkUsers": 14,
        "missing": {"count": 1, "users": [{"clerkUserId": "user_0", "fields": []}]},
        "drifted": {"count": 1, "users": [{"clerkUserId": "user_3", "fields": ["email", "username"]}]},
        "placeholders": {"count": 1, "users": [{"clerkUserId": "user_2", "fields": ["email", "username"]}]},
        "notInClerk": {
            "count": 2,
            "users": [{"clerkUserId": "user_8", "fields": []}, {"clerkUserId": "user_9", "fields": []}],
        },
        "markedButAlive": {"count": 1, "users": [{"clerkUserId": "user_1", "fields": ["email"]}]},
        "deletionsHeldBack": None,
        "skippedCount": 4,
        "errorCount": 1,
        "missedByWebhooks": 4,
        "hoursSinceLastWebhook": 1.5,
        "startedAt": 1_000,
        "timestamp": 2_000,
        "errors": [{"clerkUserId": "user_7", "reason": "odd"}],
        "advice": [
            "1 user could not be compared: see errors.",
            FIX,
            "Webhooks should have delivered 4 of these changes. Check the endpoint in Clerk's dashboard: it "
            "is enabled, sends all four events and is answered 204.",
        ],
    }


@pytest.mark.parametrize(
    ("found", "changes", "verdict"),
    [
        (NOTHING, {}, "OK"),
        (NOTHING, {"dry_run": False}, "OK"),
        (NOTHING, {"deletions": None}, "OK"),
        (NOTHING, {"counts": Counts(skipped=15)}, "OK"),
        (NOTHING, {"counts": Counts(unchanged=14, updated=1)}, "OK"),
        (NOTHING, {"counts": Counts(errors=1), "status": "COMPLETED_WITH_ERRORS"}, "DRIFT"),
        (NOTHING, {"deletions": MissedDeletions(rows=1, found=1, first=("a",), sent=1)}, "DRIFT"),
        (NOTHING, {"deletions": MissedDeletions(held_back="odd")}, "DRIFT"),
        (NOTHING, {"deletions": MissedDeletions(unasked=1)}, "DRIFT"),
        *[(one(kind), {}, "DRIFT") for kind in FindingKind],
        *[(one(kind), {"dry_run": False}, "DRIFT") for kind in FindingKind],
        (NOTHING, {"status": "RUNNING", "ended_at": None}, None),
        (one(FindingKind.MISSING), {"status": "RUNNING", "ended_at": None}, None),
        (NOTHING, {"status": "FAILED", "failure": "no key"}, None),
        (one(FindingKind.MISSING), {"status": "FAILED", "failure": "no key", "deletions": None}, None),
    ],
)
def test_verdict_is_ok_only_if_every_row_was_compared_and_right(
    found: Findings, changes: dict[str, Any], verdict: str | None
) -> None:
    assert reported(found, **changes)["verdict"] == verdict


@pytest.mark.parametrize(
    ("found", "changes", "advice"),
    [
        (NOTHING, {}, []),
        (one(FindingKind.DRIFTED), {}, [FIX]),
        (one(FindingKind.MISSING), {"dry_run": False}, [AGAIN]),
        (NOTHING, {"deletions": MissedDeletions(found=1, first=("a",))}, [FIX]),
        (
            NOTHING,
            {"deletions": MissedDeletions(held_back="Too many.")},
            ["No row was marked as deleted. Too many."],
        ),
        (
            one(FindingKind.PLACEHOLDER),
            {"deletions": MissedDeletions(found=30, held_back="Too many.")},
            ["No row was marked as deleted. Too many.", FIX],
        ),
        (
            NOTHING,
            {"deletions": MissedDeletions(found=30, held_back="Too many."), "dry_run": False},
            ["No row was marked as deleted. Too many."],
        ),
        (
            NOTHING,
            {"deletions": MissedDeletions(unasked=30)},
            ["30 more rows may be of deleted users, too many to confirm. Audit again."],
        ),
        (
            NOTHING,
            {"counts": Counts(errors=1_234)},
            ["1,234 users could not be compared: see errors."],
        ),
        (
            NOTHING,
            {"status": "RUNNING"},
            ['Invoke AuditFunction with {"runId": "audit-1"} to see how it ended.'],
        ),
    ],
)
def test_advice_says_what_to_do_in_order(found: Findings, changes: dict[str, Any], advice: list[str]) -> None:
    assert reported(found, **changes)["advice"] == advice


def test_failure_of_an_audit_is_the_first_of_its_errors() -> None:
    failed = replace(OVER, status="FAILED", failure="The key is refused", deletions=None)
    result = report(failed, NOTHING, [UserProblem("user_1", "odd")], None, 5_000)
    assert (result["status"], result["verdict"]) == ("FAILED", None)
    assert result["errors"] == [
        {"clerkUserId": None, "reason": "The key is refused"},
        {"clerkUserId": "user_1", "reason": "odd"},
    ]


@pytest.mark.parametrize(("sent", "users"), [(0, 15), (5, 10), (15, 0)])
def test_sent_deletions_are_not_counted_as_users_of_clerk(sent: int, users: int) -> None:
    missed = MissedDeletions(rows=20, found=max(sent, 7), sent=sent)
    assert reported(deletions=missed)["clerkUsers"] == users


def test_missed_webhooks_are_null_if_clerk_never_sent_one() -> None:
    some: dict[str, Any]
    deletions = MissedDeletions(found=2, listed_before=2)
    some = {"counts": Counts(updated=3, missed_by_webhooks=3), "deletions": deletions}
    result = reported(one(FindingKind.DRIFTED), **some)
    assert (result["missedByWebhooks"], result["hoursSinceLastWebhook"], result["advice"]) == (
        None,
        None,
        [FIX],
    )
    result = reported(one(FindingKind.DRIFTED), Webhooks(1, 5_000), **some)
    assert (result["missedByWebhooks"], result["hoursSinceLastWebhook"]) == (5, 0)
    assert result["advice"][1].startswith("Webhooks should have delivered 5 of these")
    assert reported(NOTHING, Webhooks(1, 5_000))["missedByWebhooks"] == 0
    assert reported(NOTHING, Webhooks(1, 5_000))["advice"] == []


def test_deletion_of_a_user_that_no_run_listed_is_not_blamed_on_webhooks() -> None:
    result = reported(NOTHING, Webhooks(1, 5_000), deletions=MissedDeletions(found=1, first=("sample",)))
    assert (result["notInClerk"]["count"], result["missedByWebhooks"], result["advice"]) == (1, 0, [FIX])


numbers = st.integers(0, 30)
runs = st.builds(
    replace,
    st.just(OVER),
    status=st.sampled_from(["RUNNING", "COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED"]),
    dry_run=st.booleans(),
    counts=st.builds(Counts, **dict.fromkeys([*Counts.model_fields][:6], numbers)),
    failure=st.none() | st.just("no key"),
    deletions=st.none()
    | st.builds(
        MissedDeletions,
        rows=numbers,
        found=numbers,
        first=st.just(("a",)),
        sent=numbers,
        held_back=st.none() | st.just("odd"),
    ),
)
tallies = st.lists(st.sampled_from(FindingKind), max_size=40).map(
    lambda kinds: group_by_kind({f"user_{n}": Finding(kind, (), False) for n, kind in enumerate(kinds)})
)


@given(runs, tallies, st.none() | st.builds(Webhooks, numbers, numbers))
def test_every_report_has_the_same_shape(run: Run, found: Findings, webhooks: Webhooks | None) -> None:
    result = report(counted(run, found), found, [], webhooks, 5_000)
    assert list(result) == list(reported())
    assert sorted(KINDS) == sorted([*(kind.value for kind in FindingKind), "notInClerk"])
    for kind in KINDS:
        rows: Mapping[str, Any] = result[kind]
        assert rows.keys() == {"count", "users"}
        assert all(user.keys() == {"clerkUserId", "fields"} for user in rows["users"])
    if result["verdict"] == "OK":
        assert result["errorCount"] == 0
        assert not any(result[kind]["count"] for kind in KINDS)
        assert result["deletionsHeldBack"] is None
        assert result["advice"] == [a for a in result["advice"] if a.startswith("Webhooks")]
    if result["verdict"] == "DRIFT":
        assert result["advice"]
