"""RunsTable in memory, and runs that have got somewhere."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from clerk_sync.aws.items import Items
from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.page import PageOutcome
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.run import MissedDeletions, Run
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.users.table import TableInstance
from tests.support.executors import InTurnExecutor
from tests.support.fake_dynamodb import peaceful_dynamodb
from tests.support.fake_users_table import FakeUsersTable

OWNER = "me"
UNTIL = 9_000_000_000_000


class RunsInMemory:
    """The real classes on one DynamoDB in memory. `OWNER` has the lease of every run."""

    def __init__(self, dynamodb: Any = None) -> None:
        self.dynamodb = dynamodb or peaceful_dynamodb()
        self.items = Items(self.dynamodb, "RunsTable")
        self.runs = RunsTable(self.items)
        self.pages = PageLedger(self.items)
        self.instance = TableInstance(self.items, "users")

    def start(self, run: Run) -> Run:
        """Start the run and take its lease."""
        assert self.runs.start(run, after=self.runs.current(run.mode))
        acquired = self.runs.acquire(run.run_id, OWNER, run.started_at, UNTIL)
        assert acquired
        return acquired

    def send(self, run: Run, page: PendingPage) -> Run:
        """Record one more page, and that it was sent; the run is returned as it is then."""
        self.pages.record_pending(run, OWNER, [page], UNTIL)
        self.runs.save(page.added_to(run), OWNER, UNTIL)
        return page.added_to(run)

    def run(self, run_id: str) -> Run:
        """The run as it is recorded."""
        run = self.runs.get(run_id)
        assert run
        return run

    def paged(
        self,
        run: Run,
        *,
        counts: Counts | None = None,
        failure: str | None = None,
        deletions: MissedDeletions | None = None,
    ) -> str:
        """Start a run of one page and end its paging; the page has an outcome if there are counts. The run's
        id is returned."""
        sent = self.send(self.start(run), PendingPage("t1", "", 9, [], Checkpoint(), deletions=deletions))
        self.runs.save(replace(sent, paged_at=run.started_at, failure=failure), OWNER, 0)
        if counts:
            assert self.pages.record_outcome(run.run_id, 1, "t1", PageOutcome(counts))
        return run.run_id


def resources(memory: RunsInMemory, queue: PagesQueue, open_clerk: Callable[[], ClerkClient]) -> Resources:
    """What a run needs, with one request to Clerk at a time and all the time there is."""
    return Resources(
        runs=memory.runs,
        pages=memory.pages,
        queue=queue,
        instance=memory.instance,
        users_table=FakeUsersTable(),
        open_clerk=lambda *_: open_clerk(),
        page_size=50,
        create_missing=True,
        is_out_of_time=lambda: False,
        invoke_again=lambda _: None,
        open_executor=InTurnExecutor,
        max_requests=1,
        sleep=lambda _: None,
    )
