"""Which run an event starts or joins, and what only a new run can report."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Self

import pytest

from clerk_sync.clerk.client import ClerkClient
from clerk_sync.errors import ClerkUnavailable
from clerk_sync.runs import backfill, completion, invocation, lease, run_starter
from clerk_sync.runs.completion import finish
from clerk_sync.runs.events import backfill_request
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.run import STALE_MS, Counts, Mode, Run
from tests.support.executors import InTurnExecutor
from tests.support.metrics import RecordedMetrics
from tests.support.runs import RunsInMemory

NOW = 1_800_000_000_000
HOUR_MS = 3_600_000
LONG_AGO = NOW - STALE_MS - 1
CLOCKED: tuple[ModuleType, ...] = (backfill, completion, invocation, lease, run_starter)


class EmptyClerk(ClerkClient):
    """Has no users."""

    def __init__(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def count(self) -> int:
        return 0

    def users(self, **query: str | int | Sequence[str]) -> list[Any]:  # noqa: ARG002
        return []


class SilentClerk(EmptyClerk):
    """Gives no usable answer."""

    def count(self) -> int:
        raise ClerkUnavailable("no usable answer")


class BusyQueue(PagesQueue):
    """Still has what was put there."""

    def __init__(self) -> None:
        pass

    def is_drained(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in CLOCKED:
        monkeypatch.setattr(module, "now_ms", lambda: NOW)


def invoke(memory: RunsInMemory, mode: Mode, clerk: type[EmptyClerk] = EmptyClerk) -> None:
    """Invoke BackfillFunction."""
    resources = Resources(
        runs=memory.runs,
        pages=memory.pages,
        queue=BusyQueue(),
        open_clerk=lambda _: clerk(),
        check_table=lambda: None,
        page_size=100,
        create_missing=True,
        time_left=lambda: 900,
        invoke_again=lambda _: None,
        open_executor=InTurnExecutor,
        max_requests=1,
        sleep=lambda _: None,
    )
    backfill.backfill(resources, backfill_request({"mode": mode, "waitSeconds": 0}))


def start_another(memory: RunsInMemory, mode: Mode) -> None:
    """Invoke BackfillFunction, and be sure that it starts a run."""
    before = memory.runs.current(mode).run_id
    invoke(memory, mode)
    assert memory.runs.current(mode).run_id != before


def a_run(mode: Mode, started_at: int) -> Run:
    return Run(f"{mode}-{started_at}", mode, create_missing=True, dry_run=False, started_at=started_at)


def test_a_run_that_cannot_end_is_given_up_after_a_day_and_not_before(memory: RunsInMemory) -> None:
    lately, long_ago = a_run("full", NOW - STALE_MS), a_run("full", LONG_AGO)
    for run in (lately, long_ago):
        assert memory.runs.start(run, after=memory.runs.current("full"))
        with pytest.raises(ClerkUnavailable, match="stays open"):
            invoke(memory, "full", SilentClerk)
    assert memory.run(lately.run_id).status == "RUNNING"
    given_up = memory.run(long_ago.run_id)
    assert given_up.status == "FAILED"
    assert "no usable answer" in (given_up.failure or "")
    new = memory.runs.current("full").run
    assert new
    assert (new.started_at, new.status) == (NOW, "RUNNING"), "another was started instead"


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize(
    ("under_way", "overdue"),
    [
        ({}, 0),
        ({"audit": LONG_AGO}, 1),
        ({"audit": NOW - STALE_MS}, 0),
        ({"full": LONG_AGO}, 1),
        ({"incremental": LONG_AGO}, 1),
        ({"full": LONG_AGO, "incremental": LONG_AGO, "audit": LONG_AGO}, 3),
    ],
)
def test_a_new_run_counts_the_overdue_runs_of_every_mode(
    mode: Mode,
    under_way: Mapping[Mode, int],
    overdue: int,
    memory: RunsInMemory,
    recorded: RecordedMetrics,
) -> None:
    for other, started_at in under_way.items():
        memory.paged(a_run(other, started_at))
    start_another(memory, mode)
    assert recorded.values("RunsOverdue") == [overdue]


def test_a_run_that_has_ended_is_not_overdue(memory: RunsInMemory, recorded: RecordedMetrics) -> None:
    modes: tuple[Mode, ...] = ("full", "incremental", "audit")
    for mode in modes:
        finish(memory.runs, memory.paged(a_run(mode, LONG_AGO), counts=Counts(unchanged=9)), NOW)
    start_another(memory, "full")
    assert recorded.values("RunsOverdue") == [0]


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_new_run_records_how_long_ago_the_last_full_run_started(
    mode: Mode, memory: RunsInMemory, recorded: RecordedMetrics
) -> None:
    start_another(memory, mode)
    assert recorded.values("HoursSinceLastFullRun") == [], "there was none"
    full = memory.paged(a_run("full", NOW - 30 * HOUR_MS), counts=Counts(unchanged=9))
    finish(memory.runs, full, NOW)
    start_another(memory, mode)
    assert recorded.values("HoursSinceLastFullRun") == [30]
