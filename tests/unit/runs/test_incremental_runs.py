"""What an incremental run reads: the changed users, or everybody where too many changed."""

from typing import Any

import pytest

from clerk_sync.clerk import listing
from clerk_sync.clock import now_ms
from clerk_sync.errors import ClerkUnavailable
from clerk_sync.runs.backfill import backfill
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.events import backfill_request
from clerk_sync.runs.page import Page, PageOutcome
from clerk_sync.runs.run import RunResult
from tests.support.fake_clerk import ClerkInMemory
from tests.support.pages_in_memory import PagesInMemory
from tests.support.runs import RunsInMemory, resources


class ChangedClerk(ClerkInMemory):
    """Users who all changed now. It is down from the request on that `down_from` says."""

    def __init__(self, users: int) -> None:
        self.queries: list[dict[str, Any]] = []
        self.down_from = 10**9
        now = now_ms()
        self._users = [{"id": f"user_{n:03}", "created_at": n, "updated_at": now} for n in range(users)]

    def count(self) -> int:
        return len(self._users)

    def users(self, **query: Any) -> list[Any]:
        self.queries.append(query)
        if len(self.queries) >= self.down_from:
            raise ClerkUnavailable("503")
        if query.get("order_by") == "-updated_at":
            offset = query["offset"]
            return self._users[::-1][offset : offset + query["limit"]]
        last = query.get("starting_after", "user_")
        return [user for user in self._users if str(user["id"]) > last][: query["limit"]]


class Stack:
    """RunsTable with a complete full run, so that the next one may be incremental."""

    def __init__(self, users: int) -> None:
        self.memory = RunsInMemory()
        self.queue = PagesInMemory()
        self.clerk = ChangedClerk(users)
        self.run("full")
        for page in self.pages():
            outcome = PageOutcome(Counts(unchanged=len(page.users)))
            assert self.memory.pages.record_outcome(page.run_id, page.number, page.token, outcome)
            self.memory.runs.finish(page.run_id, now_ms())
        self.clerk.queries.clear()
        self.queue.messages.clear()

    def run(self, mode: str) -> RunResult:
        opened = resources(self.memory, self.queue, lambda: self.clerk)
        return backfill(opened, backfill_request({"mode": mode, "waitSeconds": 0}))

    def pages(self) -> list[Page]:
        return [Page.load(message) for message in self.queue.messages]

    def sent_ids(self) -> list[str]:
        return [user.id for page in self.pages() for user in page.users]


def test_an_incremental_run_reads_the_changed_users_by_offset() -> None:
    stack = Stack(120)
    assert stack.run("incremental")["totalClerkUsers"] == 120
    assert {query["order_by"] for query in stack.clerk.queries} == {"-updated_at"}


def test_an_incremental_run_reads_everybody_when_too_many_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "DEEPEST_OFFSET", 100)
    stack = Stack(120)
    result = stack.run("incremental")
    assert (result["mode"], result["totalClerkUsers"]) == ("incremental", 120)
    assert sorted(stack.sent_ids()) == [f"user_{n:03}" for n in range(120)]
    assert [query.get("offset") for query in stack.clerk.queries] == [0, 100, None, None, None]


def test_it_reads_everybody_too_when_it_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "DEEPEST_OFFSET", 100)
    stack = Stack(120)
    stack.clerk.down_from = 4
    with pytest.raises(ClerkUnavailable):
        stack.run("incremental")
    assert stack.sent_ids(), "some were sent before"
    stack.clerk.down_from = 10**9
    assert stack.run("incremental")["totalClerkUsers"] == 120
    assert sorted(stack.sent_ids()) == [f"user_{n:03}" for n in range(120)]


def test_a_resumed_incremental_run_goes_on_by_offset_though_many_changed_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = Stack(120)
    stack.clerk.down_from = 3
    with pytest.raises(ClerkUnavailable):
        stack.run("incremental")
    monkeypatch.setattr(listing, "DEEPEST_OFFSET", 100)
    stack.clerk.down_from = 10**9
    assert stack.run("incremental")["totalClerkUsers"] == 120
    assert {query["order_by"] for query in stack.clerk.queries} == {"-updated_at"}
