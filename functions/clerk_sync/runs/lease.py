"""The lease of a run: one invocation at a time has it, and pages the run."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from threading import Lock
from typing import Any

from clerk_sync.clerk.client import ClerkClient
from clerk_sync.clock import now_ms
from clerk_sync.errors import (
    AwsError,
    ClerkError,
    ClerkRefused,
    ClerkSyncError,
    ClerkUnavailable,
    LeaseLost,
    OutOfTime,
    SettingsError,
)
from clerk_sync.log import logger
from clerk_sync.metrics import record
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.run import MissedDeletions, Run
from clerk_sync.text import sentence

LEASE_MS = 60_000
"""How long after its last sign of life an invocation may still be paging."""
DRAINED_MS = 120_000
"""How long after the last page was sent SQS may still count its messages wrong."""
OUTCOME_MS = 600_000
"""How long the next outcome is waited for: if DynamoDB throttles the table, a page takes minutes."""
POLL_SECONDS = 0.5

type PageRun = Callable[[Lease, ClerkClient], None]
"""Pages a run: reads its users from Clerk and sends them."""


class Lease:
    """An invocation's lease of a run. `run` is the run with all that was sent under this lease, and
    `continuation` the event of the invocation that goes on with it when this one is out of time. Every method
    raises LeaseLost if another invocation has taken the run over, and AwsError.
    """

    def __init__(self, resources: Resources, run: Run, owner: str, continuation: Mapping[str, Any]) -> None:
        self.resources = resources
        self.run = run
        self.has_progressed = False
        self._continuation = continuation
        self._owner = owner
        self._acquired_at = now_ms()
        self._lease_until = 0
        # The threads that read Clerk renew the lease too: what is written last must end last.
        self._renewing = Lock()

    def page(self, page: PageRun) -> bool:
        """Add what an earlier invocation sent, open Clerk, check that the users table fits and is this Clerk
        instance's, and call `page`.

        If any of that fails, end the run, continue it in a new invocation, or give the lease back so that a
        later invocation can go on. Returns whether a new invocation goes on with the run.
        """
        try:
            # Recovering comes before anything that may fail for good: a page that counts must be the run's.
            self._recover()
            with self.resources.open_clerk(self._before_pause, self.run.names) as clerk:
                try:
                    self._check_table()
                    self._check_instance(clerk)
                    page(self, clerk)
                finally:
                    record(ClerkRequests=clerk.requests_made, ClerkThrottles=clerk.throttled)
        except (ClerkRefused, SettingsError) as error:
            self._fail(str(error))
        except LeaseLost as error:
            logger.warning("lease_lost", reason=str(error))
        except OutOfTime:
            self._release()
            if not self.has_progressed:
                problem = "The function's time was too short to send a single page."
                raise ClerkUnavailable(f"{problem} {self._stays_open()}") from None
            self.resources.invoke_again(self._continuation)
            logger.info("run_continued")
            return True
        except (ClerkError, AwsError) as error:
            self._fail_or_stay_open(error)
        return False

    # What is done under the lease

    def save(self, **changes: Any) -> None:
        """Record how far the run is paged, and these changes of its fields."""
        run = replace(self.run, **changes)
        with self._renewing:
            self.resources.runs.save(run, self._owner, self._until())
        self.run = run

    def send(self, pages: Sequence[PendingPage]) -> None:
        """Record the run's next pages as pending and send their messages, as many as fit in one request."""
        with self._renewing:
            self.resources.pages.record_pending(self.run, self._owner, pages, self._until())
        self.resources.queue.send([page.body for page in pages])
        for page in pages:
            self.run = page.added_to(self.run)
            number = self.run.pages
            logger.info("page_sent", page=number, users=page.users)
            for user_id, reason in map(astuple, page.malformed):
                logger.warning("user_set_aside", page=number, clerkUserId=user_id, reason=reason)
        self.has_progressed = True

    def wait_for_outcomes(self) -> None:
        """Wait until each page that was sent has an outcome, or none has got one for a while."""
        self.save()
        self._refresh()
        settled, settled_at = self.run.settled_pages, now_ms()
        while self.run.settled_pages < self.run.pages and now_ms() - settled_at < OUTCOME_MS:
            self.resources.sleep(POLL_SECONDS)
            self.keep()
            self._refresh()
            if self.run.settled_pages > settled:
                settled, settled_at = self.run.settled_pages, now_ms()
                self.has_progressed = True

    def keep(self) -> None:
        """Renew the lease if a quarter of it has passed. Raises OutOfTime when the function must end."""
        if self.resources.is_out_of_time():
            raise OutOfTime
        if self._lease_until - now_ms() < LEASE_MS * 3 // 4:
            self._renew()

    def end_paging(self, unlisted_users: int, deletions: MissedDeletions | None = None) -> None:
        """Record that no more pages follow, how many users Clerk counts and did not list, and what an audit
        found of users who are gone."""
        if unlisted_users:
            logger.error("users_not_listed", users=unlisted_users)
        deletions = deletions or self.run.deletions
        self.save(paged_at=now_ms(), unlisted_users=unlisted_users, deletions=deletions)
        logger.info("run_paged", pages=self.run.pages, users=self.run.total_users)

    def _check_table(self) -> None:
        """Raise SettingsError if the users table does not fit, or the run began with another one: it would
        look complete, with its users spread over both."""
        table = self.resources.users_table
        if self.run.users_table != table.table:
            raise SettingsError(
                f"The run began with table {self.run.users_table!r}, but the functions now write to "
                f"{table.table!r}. Start another run."
            )
        table.with_fields(self.run.names).check()

    def _check_instance(self, clerk: ClerkClient) -> None:
        """Raise ClerkRefused if the key is another instance's: its users would get rows, and an audit would
        mark those of the instance that the table belongs to."""
        here, instance = clerk.instance_id(), self.resources.instance
        # A dry run writes nothing, so it decides nothing about the table either.
        known = instance.read() or here if self.run.dry_run else instance.remember(here)
        if other := {known, self.run.instance_id or here} - {here}:
            table = self.resources.users_table.table
            raise ClerkRefused(
                f"The secret key is for the Clerk instance {here}, but table {table} "
                f"belongs to {', '.join(other)}. Use that one's secret key. If you moved the table to "
                "another instance on purpose, delete the item whose runId is 'instance' from RunsTable."
            )
        if self.run.instance_id != here:
            self.save(instance_id=here)

    def _recover(self) -> None:
        pages_before = self.run.pages
        while not (run := self.resources.pages.recover(self.run, self._owner, self._until())):
            self._renew()  # raises LeaseLost if it is the lease that kept it from recovering
        self.run = run
        self.has_progressed = run.pages > pages_before

    def _refresh(self) -> None:
        """Read what the workers have counted since."""
        if run := self.resources.runs.get(self.run.run_id):
            self.run = replace(run, checkpoint=self.run.checkpoint)

    def _before_pause(self, seconds: float, why: str) -> None:
        logger.warning("clerk_retried", seconds=round(seconds, 1), reason=why)
        self._renew(seconds)

    def _renew(self, pause_seconds: float = 0) -> None:
        with self._renewing:
            self.resources.runs.renew(self.run.run_id, self._owner, self._until(pause_seconds))

    def _until(self, pause_seconds: float = 0) -> int:
        """When the lease ends if it is renewed now. A long pause of another thread is never cut short."""
        self._lease_until = max(self._lease_until, now_ms() + int(pause_seconds * 1000) + LEASE_MS)
        return self._lease_until

    def _fail(self, reason: str) -> None:
        logger.error("run_failed", reason=reason)
        with suppress(LeaseLost):
            # A page whose send got no answer is recorded and not the run's: its outcome must not count.
            self._recover()
            self.save(paged_at=now_ms(), failure=reason)

    def _fail_or_stay_open(self, error: ClerkError | AwsError) -> None:
        if self.run.is_left_over(self._acquired_at):
            # Otherwise every later invocation would join a run that cannot end, and none would start anew.
            self._fail(f"{sentence(error)} The run began over a day ago and is given up.")
            return
        self._release()
        raise type(error)(f"{sentence(error)} {self._stays_open()}") from error

    def _release(self) -> None:
        with suppress(ClerkSyncError):
            self.resources.runs.release(self.run, self._owner)

    def _stays_open(self) -> str:
        return (
            f"Run {self.run.run_id} stays open and nothing is lost: invoke the function again with {{}} to "
            "continue it."
        )
