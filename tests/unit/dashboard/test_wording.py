"""Runs, times and names in words."""

import pytest

from clerk_sync.dashboard.wording import ago, duration, initials, outcome
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import MissedDeletions, Run
from tests.support.widgets import DAY, HOUR, MINUTE, a_run

COUNTS = Counts(created=12, updated=3, unchanged=1_985, skipped=1, errors=2)
AUDITED = Counts(created=2, updated=3, unchanged=94, skipped=1, errors=2, findings=4)
GONE = MissedDeletions(found=3)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (a_run(counts=COUNTS), "12 created, 3 updated, 1,985 unchanged, 1 skipped, 2 failed"),
        (
            a_run(counts=COUNTS, dry_run=True),
            "12 would be created, 3 would be updated, 1,985 unchanged, 1 would be skipped, 2 failed",
        ),
        (a_run(mode="incremental", counts=Counts(updated=1)), "1 updated"),
        (a_run(counts=Counts()), ""),
    ],
)
def test_a_run_says_what_it_did_and_a_dry_run_what_it_would_do(run: Run, words: str) -> None:
    assert ", ".join(outcome(run)) == words


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (
            a_run(mode="audit", dry_run=True, counts=AUDITED, deletions=GONE),
            "4 differ, 3 not in Clerk, 95 up to date, 1 without a row, 2 failed",
        ),
        (a_run(mode="audit", dry_run=True, counts=Counts(updated=1, findings=1)), "1 differs"),
        (
            a_run(mode="audit", counts=Counts(updated=1, unchanged=9, findings=1)),
            "1 differed (repaired), 9 up to date",
        ),
        (
            a_run(
                mode="audit",
                counts=Counts(updated=3, unchanged=9),
                deletions=MissedDeletions(found=3, sent=3),
            ),
            "3 not in Clerk (marked as deleted), 9 up to date",
        ),
        (
            a_run("RUNNING", "audit", counts=Counts(unchanged=2), deletions=MissedDeletions(found=3, sent=3)),
            "3 not in Clerk (marked as deleted)",
        ),
        (a_run(mode="audit", counts=Counts(unchanged=9), deletions=GONE), "3 not in Clerk, 9 up to date"),
    ],
)
def test_an_audit_says_how_many_differ(run: Run, words: str) -> None:
    assert ", ".join(outcome(run)) == words


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (-5 * MINUTE, "just now"),
        (59_999, "just now"),
        (MINUTE, "1 min ago"),
        (59 * MINUTE, "59 min ago"),
        (HOUR, "1 h ago"),
        (DAY - 1, "23 h ago"),
        (DAY, "1 day ago"),
        (29 * DAY, "29 days ago"),
        (30 * DAY, "1 month ago"),
        (364 * DAY, "12 months ago"),
        (365 * DAY, "1 year ago"),
        (1000 * DAY, "2 years ago"),
    ],
)
def test_ago(ms: int, words: str) -> None:
    assert ago(ms) == words


@pytest.mark.parametrize(
    ("ms", "words"), [(-1, "0.0 s"), (4_234, "4.2 s"), (200_000, "3 min 20 s"), (7_500_000, "2 h 5 min")]
)
def test_duration(ms: int, words: str) -> None:
    assert duration(ms) == words


@pytest.mark.parametrize(
    ("names", "letters"),
    [(["Ada", "Abel"], "AA"), (["<b>", "!"], "B"), (["ada_1"], "A"), (["\U0001f98a"], "?"), ([], "?")],
)
def test_initials_are_letters_or_digits(names: list[str], letters: str) -> None:
    assert initials(names) == letters
