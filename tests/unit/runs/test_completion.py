"""What is told of a run when it is over, and what only the next one can tell."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import pytest

from clerk_sync import metrics
from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.errors import ClerkUnavailable, LeaseLost
from clerk_sync.runs import backfill, completion
from clerk_sync.runs.backfill import STALE_MS, Backfill
from clerk_sync.runs.completion import finish
from clerk_sync.runs.events import backfill_request
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.runs.run import Counts, MissedDeletions, Mode, Run
from clerk_sync.runs.runs_table import NewPage, RunsTable
from clerk_sync.webhook.arrivals import Arrivals
from tests.support.executors import InTurnExecutor
from tests.support.fake_dynamodb import peaceful_dynamodb

NOW = 1_800_000_000_000
HOUR_MS = 3_600_000

type Told = list[tuple[str, float]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """Every metric and its value, in order."""
    told: Told = []
    for module in (metrics, completion):
        monkeypatch.setattr(module, "record", lambda _, **values: told.extend(values.items()))
    return told


@pytest.fixture
def runs() -> RunsTable:
    return RunsTable(peaceful_dynamodb(), "RunsTable")


def values(told: Told, name: str) -> list[float]:
    return [value for told_name, value in told if told_name == name]


def paged(
    runs: RunsTable,
    mode: Mode = "audit",
    *,
    started_at: int = NOW - HOUR_MS,
    counts: Counts | None = None,
    failure: str | None = None,
    deletions: MissedDeletions | None = None,
    webhooks_since: int | None = None,
) -> str:
    """Start a run of one page, which is dealt with if there are counts."""
    run = Run(
        f"{mode}-{started_at}",
        mode,
        create_missing=True,
        dry_run=False,
        started_at=started_at,
        webhooks_since=webhooks_since,
    )
    assert runs.start(run, after=runs.current(mode))
    assert runs.acquire(run.run_id, "me", NOW, NOW + 1)
    page = NewPage("t1", 9, [], Checkpoint(), deletions=deletions)
    runs.record_pending(run, "me", [page], NOW + 1)
    runs.end_paging(page.added_to(run), "me", NOW, failure=failure)
    if counts:
        assert runs.record_outcome(run.run_id, 1, "t1", counts)
    return run.run_id


# Audits that find something


@pytest.mark.parametrize(
    ("found", "has_drift"),
    [
        ({"counts": Counts(unchanged=9)}, False),
        ({"counts": Counts(unchanged=9), "deletions": MissedDeletions(rows=9)}, False),
        ({"counts": Counts(updated=1, unchanged=8, findings=1)}, True),
        ({"counts": Counts(unchanged=8, errors=1)}, True),
        ({"counts": Counts(unchanged=9), "deletions": MissedDeletions(rows=9, found=1)}, True),
        ({"counts": Counts(unchanged=9), "deletions": MissedDeletions(held_back="odd")}, True),
    ],
)
def test_an_audit_that_is_over_tells_once_whether_it_found_anything(
    found: Mapping[str, Any], has_drift: bool, runs: RunsTable, told: Told
) -> None:
    run_id = paged(runs, **found)
    for _ in range(3):
        finish(runs, run_id, NOW)
    assert values(told, "AuditsWithDrift") == [has_drift]


def test_an_audit_that_goes_on_tells_nothing_yet(runs: RunsTable, told: Told) -> None:
    finish(runs, paged(runs), NOW)
    assert told == []


def test_an_audit_that_failed_does_not_tell_whether_there_is_drift(runs: RunsTable, told: Told) -> None:
    finish(runs, paged(runs, counts=Counts(errors=1, findings=1), failure="no key"), NOW)
    assert values(told, "AuditsWithDrift") == []
    assert values(told, "RunsFailed") == [True]


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_only_an_audit_tells_whether_there_is_drift(mode: Mode, runs: RunsTable, told: Told) -> None:
    finish(runs, paged(runs, mode, counts=Counts(updated=9, findings=9)), NOW)
    assert values(told, "AuditsWithDrift") == []
    assert values(told, "RunsFailed") == [False]


# Webhooks that stay away


@pytest.mark.parametrize(
    ("missed", "hours", "is_silent"),
    [(1, 0, False), (1, 11.9, False), (1, 12, True), (9, 300, True), (0, 12, False), (0, 300, False)],
)
def test_half_a_day_without_a_webhook_that_should_have_come_is_silence(
    missed: int, hours: float, is_silent: bool, runs: RunsTable, told: Told
) -> None:
    Arrivals(runs._dynamodb, "RunsTable").record(NOW - int(hours * HOUR_MS))
    counts = Counts(updated=9, missed_by_webhooks=missed)
    finish(runs, paged(runs, "full", counts=counts, webhooks_since=1), NOW)
    assert values(told, "WebhooksSilent") == [is_silent]
    assert values(told, "HoursSinceLastWebhook") == [hours]


def test_where_webhooks_never_came_they_are_not_silent(runs: RunsTable, told: Told) -> None:
    finish(runs, paged(runs, "full", counts=Counts(updated=9, missed_by_webhooks=9)), NOW)
    assert values(told, "WebhooksSilent") == []


# Runs that never end


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


class BusyQueue(PagesQueue):
    """Still has what was put there."""

    def __init__(self) -> None:
        pass

    def is_drained(self) -> bool:
        return False


def start_another(runs: RunsTable, monkeypatch: pytest.MonkeyPatch, mode: Mode) -> None:
    """Invoke BackfillFunction, and be sure that it starts a run."""
    before = runs.current(mode).run_id
    invoke(runs, monkeypatch, mode)
    assert runs.current(mode).run_id != before


def invoke(
    runs: RunsTable, monkeypatch: pytest.MonkeyPatch, mode: Mode, clerk: type[EmptyClerk] = EmptyClerk
) -> None:
    monkeypatch.setattr(backfill, "now_ms", lambda: NOW)
    function = Backfill(
        runs=runs,
        queue=BusyQueue(),
        open_clerk=lambda _: clerk(),
        check_table=lambda: None,
        page_size=100,
        create_missing=True,
        time_left=lambda: 900,
        go_on_later=lambda _: None,
        open_executor=InTurnExecutor,
        max_requests=1,
        sleep=lambda _: None,
    )
    function.run(backfill_request({"mode": mode, "waitSeconds": 0}))


class SilentClerk(EmptyClerk):
    """Gives no usable answer."""

    def count(self) -> int:
        raise ClerkUnavailable("no usable answer")


def test_a_run_that_cannot_be_ended_is_given_up_after_a_day_and_not_before(
    runs: RunsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run_id, started_at in (("full-lately", NOW - STALE_MS), ("full-long-ago", LONG_AGO)):
        run = Run(run_id, "full", create_missing=True, dry_run=False, started_at=started_at)
        assert runs.start(run, after=runs.current("full"))
        with pytest.raises(ClerkUnavailable, match="stays open"):
            invoke(runs, monkeypatch, "full", SilentClerk)
    lately, given_up, begun = runs.get("full-lately"), runs.get("full-long-ago"), runs.current("full").run
    assert lately
    assert given_up
    assert begun
    assert (lately.status, given_up.status) == ("RUNNING", "FAILED")
    assert "no usable answer" in (given_up.failure or "")
    assert (begun.started_at, begun.status) == (NOW, "RUNNING"), "another was begun instead"


LONG_AGO = NOW - STALE_MS - 1


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
def test_a_new_run_tells_of_those_that_never_end_be_they_of_its_own_mode_or_another(
    mode: Mode,
    under_way: Mapping[Mode, int],
    overdue: int,
    runs: RunsTable,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for other, started_at in under_way.items():
        paged(runs, other, started_at=started_at)
    start_another(runs, monkeypatch, mode)
    assert values(told, "RunsOverdue") == [overdue]


def test_a_run_that_is_over_is_not_overdue(
    runs: RunsTable, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: tuple[Mode, ...] = ("full", "incremental", "audit")
    for mode in modes:
        finish(runs, paged(runs, mode, started_at=LONG_AGO, counts=Counts(unchanged=9)), NOW)
    start_another(runs, monkeypatch, "full")
    assert values(told, "RunsOverdue") == [0]


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_new_run_tells_how_long_ago_the_last_full_one_began(
    mode: Mode, runs: RunsTable, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_another(runs, monkeypatch, mode)
    assert values(told, "HoursSinceLastFullRun") == [], "there was none"
    finish(runs, paged(runs, "full", started_at=NOW - 30 * HOUR_MS, counts=Counts(unchanged=9)), NOW)
    start_another(runs, monkeypatch, mode)
    assert values(told, "HoursSinceLastFullRun") == [30]


def test_a_lease_that_was_given_back_cannot_be_renewed_by_a_thread_that_lingers(runs: RunsTable) -> None:
    run = Run("full-1", "full", create_missing=True, dry_run=False, started_at=NOW)
    assert runs.start(run, after=runs.current("full"))
    assert runs.acquire("full-1", "me", NOW, NOW + 60_000)
    runs.release(run, "me")
    with pytest.raises(LeaseLost):
        runs.renew("full-1", "me", NOW + 60_000)
    assert runs.acquire("full-1", "another", NOW + 1, NOW + 60_000)
