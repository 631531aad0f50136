from dataclasses import replace

import pytest

from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import Run
from tests.local.commands.progress import Bar, Pace, duration, progress_line, seconds_left

RUN = Run(
    run_id="full-1",
    mode="full",
    create_missing=True,
    dry_run=False,
    started_at=1_700_000_000_000,
    expected_users=2_000,
    pages=3,
    total_users=1_500,
    settled_pages=2,
    counts=Counts(created=900, unchanged=99, errors=1),
)
OVER = replace(RUN, status="COMPLETED_WITH_ERRORS", paged_at=1, ended_at=RUN.started_at + 192_000)


def test_progress_line_shows_progress_and_time_left() -> None:
    assert progress_line(RUN, 12.5) == (
        "  ███████████████░░░░░░░░░░░░░░░  50%  1,000 of 2,000 users  12 users/s  1 min 20 s left  1 failed"
        "  2 of 3 pages so far"
    )
    assert progress_line(replace(RUN, counts=Counts(), settled_pages=0), None) == (
        "  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░   0%  0 of 2,000 users  0 of 3 pages so far"
    )


def test_one_user_and_one_page_are_singular() -> None:
    run = replace(RUN, expected_users=1, total_users=1, pages=1, settled_pages=0, counts=Counts(), paged_at=1)
    assert progress_line(run, None).endswith("0%  0 of 1 user  0 of 1 page")


def test_users_deleted_during_the_run_do_not_hold_back_the_bar() -> None:
    run = replace(RUN, paged_at=1, total_users=1_000, settled_pages=3)
    assert "100%  1,000 of 1,000 users" in progress_line(run, None)


def test_run_without_users_is_at_100_percent_when_it_is_over() -> None:
    empty = Run("full-1", "full", create_missing=True, dry_run=False, started_at=0, expected_users=0)
    assert "  0%  0 of 0 users" in progress_line(empty, None)
    assert "100%  0 of 0 users" in progress_line(replace(empty, status="COMPLETED"), None)


def test_time_left_is_not_shown_before_it_can_be_estimated() -> None:
    assert seconds_left(RUN, None) is None
    assert seconds_left(RUN, 0.0) is None
    assert seconds_left(OVER, 100.0) is None
    incremental = replace(RUN, expected_users=None)
    assert seconds_left(incremental, 100.0) is None
    assert seconds_left(replace(incremental, paged_at=1), 100.0) == 5


def test_rate_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    assert pace.per_second() is None
    pace.note(5_000, 100.0)
    pace.note(5_000, 100.2)
    assert pace.per_second() is None
    pace.note(5_500, 101.0)
    assert pace.per_second() == 500
    for second in range(102, 140):
        pace.note(5_500, second)
    assert pace.per_second() == 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3_599, "59 min 59 s"), (7_500, "2 h 5 min")],
)
def test_time_left_is_shown_in_plain_words(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_log_gets_a_line_only_when_something_changed(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    runs = [
        replace(RUN, pages=0, total_users=0, settled_pages=0, counts=Counts()),
        RUN,
        RUN,
        replace(RUN, counts=RUN.counts.model_copy(update={"created": 901})),
        replace(RUN, counts=RUN.counts.model_copy(update={"errors": 2})),
        OVER,
    ]
    for run in runs:
        bar.show(run)
    bar.end()
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("█") for line in lines] == [15, 15, 20]
    assert "\r" not in "".join(lines)
