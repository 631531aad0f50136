"""One invocation's part in a run: its turns at paging it, and the wait for the workers."""

import uuid
from collections.abc import Iterator

from clerk_sync.clock import now_ms
from clerk_sync.log import logger
from clerk_sync.runs.completion import finish, give_up_lost_pages
from clerk_sync.runs.events import Request
from clerk_sync.runs.lease import LEASE_MS, Lease
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.run import Run
from clerk_sync.runs.run_starter import RunStarter

_POLL_SECONDS = 0.5


class Invocation:
    """`run` is the run that the request asks for, as it was read last; it is set by `leases`."""

    run: Run

    def __init__(self, resources: Resources, request: Request) -> None:
        self._resources = resources
        self._starter = RunStarter(resources, request, invoked_at=now_ms())
        self._owner = uuid.uuid4().hex
        self._wait_left = float(request.wait_seconds)

    def leases(self) -> Iterator[Lease]:
        """Start the run or join the one under way, and yield its lease each time it is this invocation's turn
        to page it.

        Ends when the run is over, is continued in a new invocation, or is not over when the waiting time is
        up. Raises EventError if the request does not fit a run under way; AwsError.
        """
        self.run = self._starter.open()
        yield from self._turns()
        if self._starter.needs_new_run(self.run):
            self.run = self._starter.open()
            yield from self._turns()
        logger.info("run_reported", status=self.run.status)

    def _turns(self) -> Iterator[Lease]:
        logger.append_keys(runId=self.run.run_id)
        while not self.run.is_over:
            if lease := self._acquire():
                yield lease
                self._finish()
                if lease.is_continued:
                    return
            elif self._wait_left <= 0 or self._resources.is_out_of_time():
                r = self._resources
                self.run = give_up_lost_pages(r.runs, r.pages, r.queue, self.run)
                return
            else:
                self._resources.sleep(_POLL_SECONDS)
                self._wait_left -= _POLL_SECONDS
                self._finish()

    def _acquire(self) -> Lease | None:
        if self.run.paged_at is not None:
            return None
        now = now_ms()
        run = self._resources.runs.acquire(self.run.run_id, self._owner, now, now + LEASE_MS)
        return Lease(self._resources, run, self._owner, self._starter.continuation(run)) if run else None

    def _finish(self) -> None:
        self.run = finish(self._resources.runs, self.run.run_id, now_ms()) or self.run
