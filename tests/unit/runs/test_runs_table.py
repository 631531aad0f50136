from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from clerk_sync.aws.items import Items
from clerk_sync.errors import LeaseLost
from clerk_sync.runs.run import Mode, Run
from clerk_sync.runs.runs_table import RUNS_LISTED, RunsTable
from tests.support.fake_dynamodb import FakeDynamoDB


class Calls:
    """An edge that lets everything through and remembers it."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__[T](self, what: str, action: Callable[[], T], *, can_repeat: bool = False) -> T:  # noqa: ARG002
        self.made.append(what)
        return action()


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def dynamodb(calls: Calls) -> FakeDynamoDB:
    return FakeDynamoDB(calls, lambda: False, lambda *_: None)


@pytest.fixture
def runs(dynamodb: FakeDynamoDB) -> RunsTable:
    return RunsTable(Items(cast(Any, dynamodb), "RunsTable"))


def a_run(n: int, mode: Mode = "full") -> Run:
    return Run(f"{mode}-{n}", mode, create_missing=True, dry_run=False, started_at=1_700_000_000_000 + n)


def start(runs: RunsTable, run: Run) -> None:
    assert runs.start(run, after=runs.current(run.mode))


def ids(runs: RunsTable) -> list[str]:
    return [run.run_id for run in runs.latest()]


def test_no_runs_are_listed_before_the_first(runs: RunsTable) -> None:
    assert runs.latest() == []


def test_runs_of_all_modes_are_listed_newest_first(runs: RunsTable) -> None:
    for n, mode in enumerate(cast(tuple[Mode, ...], ("full", "audit", "incremental", "full", "incremental"))):
        start(runs, a_run(n, mode))
    assert ids(runs) == ["incremental-4", "full-3", "incremental-2", "audit-1", "full-0"]


def test_the_last_ten_runs_are_listed_and_no_more_are_kept(runs: RunsTable, dynamodb: FakeDynamoDB) -> None:
    for n in range(25):
        start(runs, a_run(n))
    assert ids(runs) == [f"full-{n}" for n in range(24, 14, -1)]
    assert len(runs.current("full").recent) == RUNS_LISTED


def test_runs_before_a_run_are_those_of_all_modes_that_started_earlier_newest_first(runs: RunsTable) -> None:
    for n, mode in enumerate(cast(tuple[Mode, ...], ("full", "audit", "incremental", "audit"))):
        start(runs, a_run(n, mode))
    assert runs.ids_before(a_run(2)) == ["audit-1", "full-0"]
    assert runs.ids_before(a_run(0)) == []


def test_expired_runs_are_not_listed(runs: RunsTable, dynamodb: FakeDynamoDB) -> None:
    for n in range(3):
        start(runs, a_run(n))
    del dynamodb.items["full-1", "run"]
    assert ids(runs) == ["full-2", "full-0"]


def test_second_start_after_the_same_run_records_nothing(runs: RunsTable) -> None:
    before = runs.current("full")
    assert runs.start(a_run(1), after=before)
    assert not runs.start(a_run(2), after=before)
    assert ids(runs) == ["full-1"]


def test_a_run_is_listed_as_it_is_now(runs: RunsTable) -> None:
    start(runs, a_run(1))
    runs.acquire("full-1", "me", now=1, until=2)
    runs.save(replace(a_run(1), expected_users=50), "me", 2)
    assert runs.latest() == [replace(a_run(1), expected_users=50)]


def test_listing_reads_few_items_of_a_full_table(runs: RunsTable, calls: Calls) -> None:
    for n in range(12):
        for mode in cast(tuple[Mode, ...], ("full", "incremental", "audit")):
            start(runs, a_run(n, mode))
    calls.made.clear()
    assert len(runs.latest()) == RUNS_LISTED
    assert set(calls.made) == {"get current", "get run"}
    assert len(calls.made) == 3 + 3 + RUNS_LISTED


def test_starting_a_run_is_one_request(runs: RunsTable, calls: Calls) -> None:
    current = runs.current("full")
    calls.made.clear()
    runs.start(a_run(1), after=current)
    assert calls.made == ["put current and put run"]


# Users that Clerk counts and did not list


def test_unlisted_users_count_in_the_total_and_the_errors_of_a_run_that_is_over(runs: RunsTable) -> None:
    run = a_run(1)
    start(runs, run)
    runs.acquire(run.run_id, "me", now=1, until=2)
    for _ in range(2):  # the SDK repeats a call whose answer was lost
        runs.save(replace(run, unlisted_users=3, paged_at=5), "me", 0)
    over = runs.finish(run.run_id, 9)
    assert over
    assert over.status == "COMPLETED_WITH_ERRORS"
    assert (over.unlisted_users, over.total_users, over.counts.errors) == (3, 3, 3)
    assert runs.finish(run.run_id, 10) == over
    assert runs.current("full").watermark is None


# The lease


def test_a_lease_that_was_given_back_cannot_be_renewed_by_a_thread_that_lingers(runs: RunsTable) -> None:
    run = a_run(1)
    start(runs, run)
    assert runs.acquire(run.run_id, "me", now=1, until=60_000)
    runs.release(run, "me")
    with pytest.raises(LeaseLost):
        runs.renew(run.run_id, "me", 60_000)
    assert runs.acquire(run.run_id, "another", now=2, until=60_000)
