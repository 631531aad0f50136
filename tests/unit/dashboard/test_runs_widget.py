"""What the runs widget shows."""

from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from clerk_sync.dashboard.widgets import render
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import MissedDeletions, Mode, ProblemResult, Run, Status
from tests.support.widgets import NOW, RUNS, Parsed, a_run


def shown(run: Run, errors: list[ProblemResult] | None = None) -> Parsed:
    return Parsed(render(RUNS, runs=[(run, errors or [])]))


def test_without_a_run_it_says_how_to_start_one() -> None:
    assert "No run yet. Invoke BackfillFunction with {} to start one." in Parsed(render(RUNS, runs=[])).text


@pytest.mark.parametrize(
    ("status", "label", "duration"),
    [
        ("RUNNING", "In progress", "1 h 0 min"),
        ("COMPLETED", "Completed", "4.2 s"),
        ("COMPLETED_WITH_ERRORS", "With errors", "4.2 s"),
        ("FAILED", "Failed", "4.2 s"),
    ],
)
def test_a_run_shows_status_id_times_and_counts(status: Status, label: str, duration: str) -> None:
    text = shown(a_run(status)).text
    for words in (label, "full-1", "Full", "1 h ago", duration, "1 created, 2 updated, 47 unchanged"):
        assert words in text


@pytest.mark.parametrize(
    ("mode", "dry_run", "kind"),
    [
        ("full", False, "Full"),
        ("incremental", False, "Incremental"),
        ("incremental", True, "Incremental, dry run"),
        ("audit", True, "Audit"),
        ("audit", False, "Audit with repair"),
    ],
)
def test_a_run_shows_its_kind(mode: Mode, dry_run: bool, kind: str) -> None:
    assert kind in [text.strip() for text in shown(a_run(mode=mode, dry_run=dry_run)).texts]


def test_a_dry_run_says_what_would_change() -> None:
    text = shown(a_run(dry_run=True, counts=Counts(created=12, unchanged=3))).text
    assert "12 would be created, 3 unchanged" in text


def test_an_audit_that_found_differences_shows_drift_and_their_number() -> None:
    text = shown(a_run(mode="audit", dry_run=True, counts=Counts(updated=3, findings=3))).text
    assert "Drift" in text
    assert "3 differ" in text
    assert "Completed" not in text
    assert "Drift" not in shown(a_run(counts=Counts(updated=1, findings=1))).text


def test_an_audit_that_held_deletions_back_says_why() -> None:
    text = shown(a_run(mode="audit", deletions=MissedDeletions(held_back="Too many."))).text
    assert "No row was marked as deleted. Too many." in text


def test_finished_run_without_users_says_so() -> None:
    assert "No users" in shown(a_run(counts=Counts())).text
    assert "No users" not in shown(a_run("RUNNING", counts=Counts())).text


def test_runs_that_started_in_the_same_minute_show_different_times_in_the_viewers_zone() -> None:
    tokyo = replace(RUNS, zone=timezone(timedelta(hours=9)))
    runs = [a_run(started_at=NOW - 130_000), a_run(started_at=NOW - 140_000)]
    text = Parsed(render(tokyo, runs=[(run, []) for run in runs])).text
    assert text.count("2 min ago") == 2
    assert "2026-09-21 23:11:10" in text
    assert "2026-09-21 23:11:00" in text


@pytest.mark.parametrize(
    ("run", "share"),
    [
        (a_run("RUNNING", paged_at=None, total_users=30, counts=Counts(created=20)), (20, 50)),
        (a_run("RUNNING", paged_at=None, total_users=60, counts=Counts(created=20)), (20, 60)),
        (a_run("RUNNING", total_users=40, counts=Counts(created=20)), (20, 40)),
        (a_run("RUNNING", paged_at=None, expected_users=None, counts=Counts(updated=7)), (7, None)),
    ],
)
def test_progress_is_the_share_of_users_done(run: Run, share: tuple[int, int | None]) -> None:
    assert (run.counts.total, run.users_to_deal_with) == share


def test_a_run_in_progress_has_a_bar_and_one_that_is_over_has_none() -> None:
    parsed = shown(a_run("RUNNING", paged_at=None, counts=Counts(created=20)))
    assert "40% · 20 of 50 users" in parsed.text
    assert parsed.values("div", "style") == ["width:40%"]
    assert shown(a_run()).values("div", "style") == []


def test_a_run_of_unknown_length_shows_a_number_without_a_bar() -> None:
    run = a_run("RUNNING", "incremental", paged_at=None, expected_users=None, counts=Counts(updated=1234))
    parsed = shown(run)
    assert "1,234 users so far" in parsed.text
    assert parsed.values("div", "style") == []


@pytest.mark.parametrize(("total", "done"), [(0, 0), (10, 11)])
def test_a_bar_never_exceeds_its_track(total: int, done: int) -> None:
    run = a_run("RUNNING", expected_users=total, total_users=total, counts=Counts(unchanged=done))
    assert shown(run).values("div", "style") == ["width:100%"]


def test_the_first_errors_are_shown_whole_and_the_rest_counted() -> None:
    why = "why " * 90
    errors: list[ProblemResult] = [{"clerkUserId": f"user_{n}", "reason": f"{n} {why}"} for n in range(5)]
    errors[1]["clerkUserId"] = None
    parsed = shown(a_run("COMPLETED_WITH_ERRORS", counts=Counts(errors=1_205)), errors)
    assert f"user_0 : 0 {why}".strip() in parsed.text
    assert f"1 {why}".strip() in parsed.text
    assert "user_3" not in parsed.text
    assert 'and 1,202 more. For the first 20, invoke BackfillFunction with {"runId": "full-1"}' in parsed.text


def test_further_errors_of_an_audit_name_its_own_function() -> None:
    errors: list[ProblemResult] = [{"clerkUserId": f"user_{n}", "reason": "odd"} for n in range(5)]
    parsed = shown(a_run("COMPLETED_WITH_ERRORS", "audit", counts=Counts(errors=5)), errors)
    assert "and 2 more. For the first 20, invoke AuditFunction with" in parsed.text


def test_a_failed_run_says_why() -> None:
    run = a_run("FAILED", counts=Counts(), failure="Clerk refuses the secret key")
    parsed = shown(run, run.errors([]))
    assert "Clerk refuses the secret key" in parsed.text
    assert "more" not in parsed.text
