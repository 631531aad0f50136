"""The lease that an invocation keeps while it pages a run."""

from dataclasses import replace
from typing import Any

import pytest

from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.runs import lease
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.lease import LEASE_MS, Lease
from clerk_sync.runs.page import PageOutcome
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.runs.run import Run
from tests.support.fake_clerk import ClerkInMemory
from tests.support.runs import OWNER, RunsInMemory, resources

NOW = 1_800_000_000_000
RUN = Run("full-1", "full", create_missing=True, dry_run=False, started_at=NOW)


class Queue(PagesQueue):
    def __init__(self) -> None:
        pass

    def send(self, messages: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "now_ms", lambda: NOW)


def lease_until(memory: RunsInMemory) -> int:
    return int(memory.dynamodb.items[RUN.run_id, "run"]["leaseUntil"])


def test_long_retry_after_is_not_cut_short_by_another_thread_or_by_a_page(memory: RunsInMemory) -> None:
    opened = resources(memory, Queue(), ClerkInMemory)
    kept = Lease(opened, memory.start(RUN), OWNER, {})
    kept._before_pause(300, "429")
    assert lease_until(memory) == NOW + 300_000 + LEASE_MS
    kept._before_pause(0.7, "500")
    kept.send([PendingPage("t1", "", 1, [], Checkpoint())])
    kept.keep()
    assert lease_until(memory) == NOW + 300_000 + LEASE_MS


@pytest.mark.parametrize(("minutes", "is_waited_for"), [(9, True), (11, False)])
def test_outcomes_are_waited_for_while_workers_are_throttled(
    minutes: int, is_waited_for: bool, memory: RunsInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a table with little provisioned capacity, a page takes minutes."""
    now, left = NOW, ["t1", "t2"]

    def sleep(seconds: float) -> None:
        nonlocal now
        now += int(seconds * 1000)
        if now >= NOW + (3 - len(left)) * minutes * 60_000 and left:
            number = 3 - len(left)
            memory.pages.record_outcome(RUN.run_id, number, left.pop(0), PageOutcome(Counts(unchanged=1)))

    monkeypatch.setattr(lease, "now_ms", lambda: now)
    opened = replace(resources(memory, Queue(), ClerkInMemory), sleep=sleep)
    kept = Lease(opened, memory.start(RUN), OWNER, {})
    kept.send([PendingPage(token, "", 1, [], Checkpoint()) for token in left])
    kept.wait_for_outcomes()
    assert (kept.run.settled_pages == 2) is is_waited_for
