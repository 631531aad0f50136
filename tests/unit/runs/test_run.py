from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import PROBLEMS_SHOWN, MissedDeletions, Run
from clerk_sync.users.user import UserProblem
from clerk_sync.webhook.arrivals import Webhooks

RUN = Run("full-1", "full", create_missing=True, dry_run=False, started_at=1_000)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "RUNNING"),
        ({"pages": 3, "settled_pages": 3}, "RUNNING"),
        ({"pages": 3, "settled_pages": 2, "paged_at": 5}, "RUNNING"),
        ({"pages": 3, "settled_pages": 2, "paged_at": 5, "failure": "no key"}, "RUNNING"),
        ({"pages": 3, "settled_pages": 3, "paged_at": 5}, "COMPLETED"),
        ({"pages": 0, "settled_pages": 0, "paged_at": 5}, "COMPLETED"),
        ({"pages": 3, "settled_pages": 3, "paged_at": 5, "counts": Counts(skipped=9)}, "COMPLETED"),
        (
            {"pages": 3, "settled_pages": 3, "paged_at": 5, "counts": Counts(errors=1)},
            "COMPLETED_WITH_ERRORS",
        ),
        ({"pages": 3, "settled_pages": 3, "paged_at": 5, "failure": "no key"}, "FAILED"),
        (
            {"pages": 3, "settled_pages": 3, "paged_at": 5, "failure": "no key", "counts": Counts(errors=1)},
            "FAILED",
        ),
    ],
)
def test_the_status_follows_from_what_is_recorded(changes: dict[str, Any], verdict: str) -> None:
    assert replace(RUN, **changes).verdict() == verdict


UNLISTED = replace(
    RUN,
    status="COMPLETED_WITH_ERRORS",
    pages=2,
    settled_pages=2,
    paged_at=5,
    total_users=120,
    unlisted_users=29,
    counts=Counts(created=91, errors=29),
)


def test_users_that_clerk_did_not_list_are_the_first_of_the_errors() -> None:
    result = UNLISTED.result([UserProblem("user_1", "odd")], None, 0)
    assert result["errors"] == [
        {
            "clerkUserId": None,
            "reason": "Clerk counts 120 users but listed 91 of them, even when it was asked again. The other "
            "29 were not synced. Invoke the function again; if this goes on, ask Clerk's support why users "
            "are not listed.",
        },
        {"clerkUserId": "user_1", "reason": "odd"},
    ]


def test_a_run_with_unlisted_users_sets_no_watermark() -> None:
    assert UNLISTED.watermark is None
    assert replace(UNLISTED, unlisted_users=0).watermark


def test_a_redrive_corrects_the_status_of_a_run_that_has_ended() -> None:
    over = replace(RUN, status="COMPLETED_WITH_ERRORS", pages=1, settled_pages=1, paged_at=5)
    assert over.verdict() == "COMPLETED"


def test_the_result_has_the_documented_shape() -> None:
    run = replace(
        RUN,
        status="COMPLETED_WITH_ERRORS",
        pages=2,
        settled_pages=2,
        total_users=15,
        paged_at=1_500,
        ended_at=2_000,
        counts=Counts(created=1, updated=2, unchanged=3, skipped=4, errors=5, missed_by_webhooks=2),
    )
    assert run.result([UserProblem("user_1", "odd")], Webhooks(first_at=1, last_at=2_000), 5_402_000) == {
        "runId": "full-1",
        "mode": "full",
        "dryRun": False,
        "status": "COMPLETED_WITH_ERRORS",
        "totalClerkUsers": 15,
        "successCount": 6,
        "errorCount": 5,
        "createdCount": 1,
        "updatedCount": 2,
        "unchangedCount": 3,
        "skippedCount": 4,
        "missedByWebhooks": 2,
        "hoursSinceLastWebhook": 1.5,
        "pages": 2,
        "startedAt": 1_000,
        "timestamp": 2_000,
        "errors": [{"clerkUserId": "user_1", "reason": "odd"}],
    }


@pytest.mark.parametrize(
    ("changes", "has_drift"),
    [
        ({}, False),
        ({"counts": Counts(created=1, updated=2, unchanged=3, skipped=4, missed_by_webhooks=2)}, False),
        ({"deletions": MissedDeletions(rows=9)}, False),
        ({"counts": Counts(findings=1)}, True),
        ({"counts": Counts(findings=1), "deletions": MissedDeletions(rows=9)}, True),
        ({"counts": Counts(errors=1)}, True),
        ({"deletions": MissedDeletions(rows=9, found=1)}, True),
        ({"deletions": MissedDeletions(rows=9, unasked=1)}, True),
        ({"deletions": MissedDeletions(held_back="odd")}, True),
    ],
)
def test_an_audit_has_drift_if_anything_was_wrong_or_not_compared(
    changes: dict[str, Any], has_drift: bool
) -> None:
    assert replace(RUN, **changes).has_drift is has_drift


counts = st.builds(Counts, **dict.fromkeys(Counts.model_fields, st.integers(0, 9)))


@given(counts)
def test_the_counts_of_a_result_add_up(counts: Counts) -> None:
    result = replace(RUN, total_users=counts.total, counts=counts).result([], None, 0)
    assert result["totalClerkUsers"] == result["successCount"] + result["skippedCount"] + result["errorCount"]


@given(counts, counts)
def test_counts_are_corrected_by_their_difference(before: Counts, after: Counts) -> None:
    difference = after - before
    assert difference.total == after.total - before.total
    assert difference - Counts() == difference
    assert (after - difference) == before


def test_the_first_errors_are_shown_after_what_stopped_the_run() -> None:
    many = [UserProblem(f"user_{n}", "odd") for n in range(50)]
    shown = replace(RUN, failure="The key is refused").result(many, None, 0)["errors"]
    assert len(shown) == PROBLEMS_SHOWN == 20
    assert shown[0] == {"clerkUserId": None, "reason": "The key is refused"}
    assert [error["clerkUserId"] for error in shown[1:]] == [f"user_{n}" for n in range(19)]
