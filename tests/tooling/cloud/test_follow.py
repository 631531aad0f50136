from dataclasses import replace
from unittest.mock import Mock

import pytest

from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import Mode, Run
from clerk_sync.users.user import UserProblem
from tests.cloud import follow
from tests.cloud.follow import summary

OVER = Run(
    run_id="full-1",
    mode="full",
    create_missing=True,
    dry_run=False,
    started_at=1_700_000_000_000,
    status="COMPLETED_WITH_ERRORS",
    pages=3,
    total_users=1_500,
    settled_pages=3,
    counts=Counts(created=900, unchanged=99, errors=1),
    paged_at=1,
    ended_at=1_700_000_192_000,
)


def test_the_summary_has_the_counts_and_the_reasons() -> None:
    problems = [UserProblem("user_1", "Clerk's user is malformed: x"), UserProblem(None, "Page 3 …")]
    assert summary(OVER, problems).splitlines() == [
        "COMPLETED_WITH_ERRORS after 3 min 12 s",
        "  1,500 users: 900 created, 99 unchanged, 1 failed",
        "  user_1: Clerk's user is malformed: x",
        "  error: Page 3 …",
    ]


def test_a_dry_run_says_what_would_change() -> None:
    dry = replace(OVER, status="COMPLETED", dry_run=True, counts=Counts(created=2, unchanged=9))
    assert summary(dry, []).splitlines() == [
        "COMPLETED after 3 min 12 s, a dry run: nothing was written",
        "  1,500 users: 2 would be created, 9 unchanged",
    ]


def test_an_audit_says_how_many_differ_and_where_to_read_more() -> None:
    audit = replace(OVER, mode="audit", dry_run=True, counts=Counts(updated=2, unchanged=9, findings=2))
    assert summary(audit, []).splitlines() == [
        "COMPLETED_WITH_ERRORS after 3 min 12 s, an audit without repair: nothing was written",
        "  1,500 users: 2 differ, 9 up to date",
        '  What it found: invoke AuditFunction with {"runId": "full-1"}.',
    ]


def test_failed_audit_has_no_report_to_read() -> None:
    failed = replace(OVER, mode="audit", dry_run=True, status="FAILED", failure="Clerk refuses")
    assert "What it found" not in summary(failed, [])


def test_the_summary_of_a_failed_run_says_why() -> None:
    failed = replace(OVER, status="FAILED", failure="Clerk refuses")
    assert "  error: Clerk refuses" in summary(failed, []).splitlines()


def test_the_summary_of_a_run_that_failed_before_its_first_user_counts_nobody() -> None:
    failed = replace(OVER, status="FAILED", failure="Clerk refuses", pages=0, total_users=0, counts=Counts())
    assert summary(failed, []).splitlines() == ["FAILED after 3 min 12 s", "  error: Clerk refuses"]


@pytest.mark.parametrize(("mode", "function"), [("full", "BackfillFunction"), ("audit", "AuditFunction")])
def test_a_run_without_progress_comes_once_with_how_to_continue_it(
    mode: Mode, function: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(follow, "POLL_SECONDS", 0)
    monkeypatch.setattr(follow, "QUIET_SECONDS", 0)
    cut_off = replace(OVER, mode=mode, status="RUNNING", paged_at=None, ended_at=None)
    runs = Mock(get=Mock(side_effect=[cut_off] * 4 + [OVER]))
    assert follow.follow(runs, "full-1").is_over
    said = capsys.readouterr().out
    assert said.count(f'invoke {function} with {{"runId": "full-1"}}') == 1


def test_a_run_that_makes_progress_comes_without_advice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(follow, "POLL_SECONDS", 0)
    monkeypatch.setattr(follow, "QUIET_SECONDS", 0)
    going_on = [replace(OVER, status="RUNNING", settled_pages=n, ended_at=None) for n in range(3)]
    follow.follow(Mock(get=Mock(side_effect=[*going_on, OVER])), "full-1")
    assert "invoke" not in capsys.readouterr().out


def test_a_name_cannot_move_the_cursor() -> None:
    odd = "Zoë \x1b[2J\r\u202egnp"
    shown = summary(OVER, [UserProblem(odd, odd)])
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "Zoë" in shown
