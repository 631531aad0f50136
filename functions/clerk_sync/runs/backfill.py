"""The backfill: reads every user from Clerk and puts them on the queue, page by page."""

import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol, get_args

from clerk_sync.clerk.client import ClerkClient
from clerk_sync.clerk.listing import ListedUsers, has_many_changes, list_changed
from clerk_sync.clerk.parallel_listing import ParallelListing
from clerk_sync.clock import now_ms
from clerk_sync.errors import (
    AwsError,
    ClerkError,
    ClerkRefused,
    ClerkSyncError,
    ClerkUnavailable,
    EventError,
    LeaseLost,
    OutOfTime,
    SettingsError,
)
from clerk_sync.log import logger
from clerk_sync.metrics import count
from clerk_sync.runs.completion import finish
from clerk_sync.runs.events import Request
from clerk_sync.runs.id_digests import digests
from clerk_sync.runs.page import Page, split
from clerk_sync.runs.queue import PagesQueue, batches
from clerk_sync.runs.run import MissedDeletions, Mode, Run, RunResult
from clerk_sync.runs.runs_table import Current, NewPage, RunsTable
from clerk_sync.users.user import Deletion, User, UserProblem, parse_user

LEASE_MS = 60_000
"""How long after its last sign of life an invocation may still be paging."""
DRAINED_MS = 120_000
"""How long after the last page was sent an empty queue means that what is pending will not come."""
OVERLAP_MS = 10 * 60 * 1000
"""How much further back an incremental run reads, as Clerk's clock and its lists may be behind ours."""
STALE_MS = 24 * 3600 * 1000
"""After how long an unfinished run that is gone on with is no substitute for a new one."""
RESERVE_SECONDS = 30.0
"""The function's time that is kept for a request under way and an orderly end."""
_POLL_SECONDS = 0.5


class FindDeletions(Protocol):
    """What makes a run an audit: see DeletionFinder."""

    def check(self, clerk: ClerkClient) -> None: ...

    def __call__(
        self, clerk: ClerkClient, run: Run, keep_lease: Callable[[], None]
    ) -> tuple[MissedDeletions, Sequence[Deletion]]: ...


class Backfill:
    """One invocation's part in a run.

    `open_clerk` makes the client, given what to call before each pause. `check_table` raises
    SettingsError if the users table will not do. `time_left` gives the function's seconds.
    `go_on_later` starts another invocation with an event. `open_executor` returns one that sends up to
    `max_requests` requests to Clerk at once. `find_deletions`, which makes a run an audit, is called when
    every user was read.
    """

    def __init__(
        self,
        *,
        runs: RunsTable,
        queue: PagesQueue,
        open_clerk: Callable[[Callable[[float, str], None]], ClerkClient],
        check_table: Callable[[], None],
        page_size: int,
        create_missing: bool,
        time_left: Callable[[], float],
        go_on_later: Callable[[Mapping[str, Any]], None],
        open_executor: Callable[[], Executor],
        max_requests: int,
        find_deletions: FindDeletions | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._runs = runs
        self._queue = queue
        self._open_clerk = open_clerk
        self._check_table = check_table
        self._page_size = page_size
        self._create_missing = create_missing
        self._time_left = time_left
        self._go_on_later = go_on_later
        self._open_executor = open_executor
        self._max_requests = max_requests
        self._find_deletions = find_deletions
        self._sleep = sleep
        self._owner = uuid.uuid4().hex
        self._invoked_at = now_ms()
        self._wait_left = 0.0
        self._has_progressed = False
        self._renewed_at = 0
        self._sent: Run
        """The run that is being paged, with all that this invocation has sent of it."""

    def run(self, request: Request) -> RunResult:
        """Start a run or go on with the one under way, wait for the workers, and report.

        Raises EventError if the request does not fit a run under way; ClerkUnavailable or AwsError if the
        run could not go on but may, as it is, in another invocation.
        """
        run = self.go_on(request)
        problems = self._runs.problems(run.run_id) if run.counts.errors else []
        return run.result(problems, self._runs.webhooks(), now_ms())

    def go_on(self, request: Request) -> Run:
        """The same without the report: the run as it is then."""
        self._wait_left = float(request.wait_seconds)
        run = self._go_through(self._open(request), request)
        if self._needs_new_run(run, request):
            run = self._go_through(self._open(request), request)
        logger.info("run_reported", runId=run.run_id, status=run.status)
        return run

    def _go_through(self, run: Run, request: Request) -> Run:
        """Page the run if nobody else does, and wait for what is left of it."""
        logger.append_keys(runId=run.run_id)
        while not run.is_over:
            acquired = None
            if run.paged_at is None:
                now = now_ms()
                acquired = self._runs.acquire(run.run_id, self._owner, now, now + LEASE_MS)
            if acquired:
                handed_on = self._page(acquired, request)
                run = finish(self._runs, run.run_id, now_ms()) or run
                if handed_on:
                    break
            elif self._wait_left <= 0 or self._time_left() < RESERVE_SECONDS:
                return self._give_up_lost_pages(run)
            else:
                self._sleep(_POLL_SECONDS)
                self._wait_left -= _POLL_SECONDS
                run = finish(self._runs, run.run_id, now_ms()) or run
        return run

    def _needs_new_run(self, run: Run, request: Request) -> bool:
        """Whether the run that was joined is done reading Clerk but is not what this event means when there
        is none to join: left over from days ago, or with other options."""
        started_here = run.started_at >= self._invoked_at
        return not (run.paged_at is None or started_here or request.run_id) and (
            run.dry_run != request.dry_run
            or run.create_missing != self._wants_missing(request)
            or self._is_left_over(run)
        )

    def _is_left_over(self, run: Run) -> bool:
        return self._invoked_at - run.started_at > STALE_MS

    def _wants_missing(self, request: Request) -> bool:
        return self._create_missing if request.create_missing is None else request.create_missing

    def _open(self, request: Request) -> Run:
        """The run that the request names or that is under way, else a new one."""
        # Not just got: a worker that died right after it had counted a page left its status to the next one.
        if request.run_id and (named := finish(self._runs, request.run_id, now_ms())):
            return _checked(named, request)
        while True:
            current = self._runs.current(request.mode)
            if current.run and not current.run.is_over:
                run = self._give_up_lost_pages(current.run)
                if not run.is_over and not self._needs_new_run(run, request):
                    # One that was left over ends as what it is, and is followed by what is asked for.
                    is_followed = self._is_left_over(run) and not request.run_id
                    return run if is_followed else _checked(run, request)
                current = self._runs.current(request.mode)
            modes: tuple[Mode, ...] = get_args(Mode)
            currents = {m: current if m == request.mode else self._runs.current(m) for m in modes}
            webhooks = self._runs.webhooks()
            run = Run(
                run_id=request.run_id or _new_run_id(request.mode),
                mode=request.mode,
                create_missing=self._wants_missing(request),
                dry_run=request.dry_run,
                started_at=now_ms(),
                since=_since(currents.values()) if request.mode == "incremental" else None,
                webhooks_since=webhooks.first_at if webhooks else None,
                full_run_at=currents["full"].complete_started_at,
            )
            if self._runs.start(run, after=current):
                logger.info("run_started", runId=run.run_id, mode=run.mode, dryRun=run.dry_run)
                _emit_overdue_metrics(currents.values(), run)
                return run

    def _page(self, run: Run, request: Request) -> bool:
        """Read what is left of the run and send it; whether another invocation is to go on with it."""
        self._sent = run
        try:
            self._read_and_send(run)
        except (ClerkRefused, SettingsError) as error:
            self._fail(run, str(error))
        except LeaseLost as error:
            logger.warning("lease_lost", runId=run.run_id, reason=str(error))
        except OutOfTime:
            self._let_go()
            self._continue_in_new_invocation(run, request)
            return True
        except (ClerkError, AwsError) as error:
            if self._is_left_over(run):
                # Or all later ones would go on with a run that can't be ended, and none would begin anew.
                self._fail(run, f"{error}. The run began over a day ago and is given up.")
                return False
            self._let_go()
            raise type(error)(f"{error}. {_stays_open(run)}") from error
        return False

    def _fail(self, run: Run, reason: str) -> None:
        logger.error("run_failed", runId=run.run_id, reason=reason)
        with suppress(LeaseLost):
            self._runs.end_paging(self._sent, self._owner, now_ms(), failure=reason)

    def _continue_in_new_invocation(self, run: Run, request: Request) -> None:
        if not self._has_progressed:
            raise ClerkUnavailable(
                f"Nothing could be got done in the time that the function has. {_stays_open(run)}"
            )
        self._go_on_later({"runId": run.run_id, "waitSeconds": request.wait_seconds})
        logger.info("run_handed_on", runId=run.run_id)

    def _read_and_send(self, run: Run) -> None:
        # Before anything that may fail for good: a page that counts must be the run's.
        pages_before = run.pages
        run = self._runs.recover(run, self._owner, now_ms() + LEASE_MS)
        self._sent = run
        self._has_progressed = run.pages > pages_before
        with self._open_clerk(lambda seconds, why: self._before_pause(run, seconds, why)) as clerk:
            try:
                self._check_table()
                if self._find_deletions:
                    self._find_deletions.check(clerk)
                run = self._read_all(clerk, run)
                if self._find_deletions and run.deletions is None:
                    run = self._look_for_deletions(clerk, run, self._find_deletions)
            finally:
                count(ClerkRequests=clerk.requests_made, ClerkThrottles=clerk.throttled)
        self._runs.end_paging(run, self._owner, now_ms())
        logger.info("run_paged", runId=run.run_id, pages=run.pages, users=run.total_users)

    def _read_all(self, clerk: ClerkClient, run: Run) -> Run:
        with closing(self._pages(clerk, run)) as pages:
            while True:
                if self._time_left() < RESERVE_SECONDS:
                    raise OutOfTime
                listed = next(pages, None)
                if listed is None:
                    return run
                run = self._send(run, listed)

    def _look_for_deletions(self, clerk: ClerkClient, run: Run, find: FindDeletions) -> Run:
        self._runs.save(run, self._owner, now_ms() + LEASE_MS)
        run = self._settled(self._runs.get(run.run_id) or run)
        self._has_progressed = True  # it keeps what it got done
        deletions, to_mark = find(clerk, run, lambda: self._keep_lease(run))
        if not to_mark:
            return replace(run, deletions=deletions)
        page = _page(run, run.pages + 1, now_ms(), create_missing=False, deletions=tuple(to_mark))
        announced = NewPage(page.token, len(to_mark), [], run.checkpoint, deletions=deletions)
        return self._put(run, [(page.dump(), announced)])

    def _keep_lease(self, run: Run) -> None:
        if now_ms() - self._renewed_at > LEASE_MS // 4:
            self._runs.renew(run.run_id, self._owner, now_ms() + LEASE_MS)
            self._renewed_at = now_ms()

    def _pages(self, clerk: ClerkClient, run: Run) -> Generator[list[ListedUsers]]:
        """The users that are left: those that changed since the last run, or all if it reads everybody or
        too many changed."""
        expected, since = run.expected_users, run.since
        # Clerk's count is recorded once this run has begun to read everybody.
        if since is not None and expected is None and (run.pages or not has_many_changes(clerk, since)):
            return list_changed(clerk, run.checkpoint, limit=self._page_size, since=since)
        if expected is None:
            expected = clerk.count()
            self._runs.expect(run.run_id, self._owner, expected)
        return ParallelListing(
            clerk,
            run.checkpoint,
            self._open_executor(),
            max_requests=self._max_requests,
            limit=self._page_size,
            expected=expected,
        ).pages()

    def _send(self, run: Run, listed: Iterable[ListedUsers]) -> Run:
        """Put pages of Clerk's on the queue, in as few batches as possible."""
        outgoing: list[tuple[str, NewPage]] = []
        for one in listed:
            payloads, done = one.users, 0
            for part in split([parse_user(payload) for payload in payloads]):
                number = run.pages + len(outgoing) + 1
                users = tuple(user for user in part if isinstance(user, User))
                malformed = [user for user in part if isinstance(user, UserProblem)]
                page = _page(run, number, one.requested_at, create_missing=run.create_missing, users=users)
                ids = digests(payloads[done : done + len(part)]) if run.mode == "audit" else None
                done += len(part)
                new = NewPage(page.token, len(users), malformed, one.checkpoint_after(done), ids)
                outgoing.append((page.dump(), new))
        for batch in batches(outgoing, lambda message: message[0]):
            run = self._put(run, batch)
        return run

    def _settled(self, run: Run) -> Run:
        """The run once the workers have dealt with its pages, or as it is when they no longer get on."""
        settled, settled_at = run.settled_pages, now_ms()
        while run.settled_pages < run.pages and now_ms() - settled_at < DRAINED_MS:
            if self._time_left() < RESERVE_SECONDS:
                raise OutOfTime
            self._sleep(_POLL_SECONDS)
            self._runs.renew(run.run_id, self._owner, now_ms() + LEASE_MS)
            run = self._runs.get(run.run_id) or run
            if run.settled_pages > settled:
                settled, settled_at = run.settled_pages, now_ms()
                self._has_progressed = True
        return run

    def _put(self, run: Run, outgoing: Sequence[tuple[str, NewPage]]) -> Run:
        """Announce pages and send their messages."""
        pages = [page for _, page in outgoing]
        self._runs.record_pending(run, self._owner, pages, now_ms() + LEASE_MS)
        self._queue.send([message for message, _ in outgoing])
        for page in pages:
            run = page.added_to(run)
            logger.info("page_sent", runId=run.run_id, page=run.pages, users=page.users)
            for problem in page.malformed:
                logger.warning(
                    "user_set_aside",
                    runId=run.run_id,
                    page=run.pages,
                    clerkUserId=problem.clerk_user_id,
                    reason=problem.reason,
                )
        self._sent = run
        self._has_progressed = True
        return run

    def _before_pause(self, run: Run, seconds: float, why: str) -> None:
        logger.warning("clerk_retried", runId=run.run_id, seconds=round(seconds, 1), reason=why)
        self._runs.renew(run.run_id, self._owner, now_ms() + int(seconds * 1000) + LEASE_MS)

    def _let_go(self) -> None:
        with suppress(ClerkSyncError):
            self._runs.release(self._sent, self._owner)

    def _give_up_lost_pages(self, run: Run) -> Run:
        """Count pages as errors whose messages are no longer in the queue: they ended in the dead-letter
        queue without a worker's having had its say, or were purged. A redrive corrects that."""
        if run.paged_at is None or now_ms() - run.paged_at < DRAINED_MS or not self._queue.is_drained():
            return run
        for number, token in self._runs.pending_pages(run):
            logger.error("page_given_up", runId=run.run_id, page=number, reason="not in the queue any more")
            self._runs.record_outcome(run.run_id, number, token, None)
        return finish(self._runs, run.run_id, now_ms()) or run


def _checked(run: Run, request: Request) -> Run:
    """The run, unless the event asks for something else than it is."""
    if (run.mode == "audit") != (request.mode == "audit"):
        function = "AuditFunction" if run.mode == "audit" else "BackfillFunction"
        raise EventError(f"Nothing was started: ask {function} about run {run.run_id}.")
    actual = {"mode": run.mode, "createMissing": run.create_missing, "dryRun": run.dry_run}
    if run.mode == "audit":
        actual = {"repair": not run.dry_run}
    asked = request.explicitly
    differing = [name for name in asked.keys() & actual.keys() if asked[name] not in (None, actual[name])]
    if request.run_id and request.run_id != run.run_id:
        differing.append("runId")
    if differing:
        advice = (
            "Leave runId out to start another" if run.is_over else "Invoke with {} to go on with it, or wait"
        )
        raise EventError(
            f"Nothing was started: run {run.run_id} is {run.status}, with {_json_like(actual)}, but the "
            f"event asks for another {' and '.join(sorted(differing))}. {advice}."
        )
    return run


def _page(run: Run, number: int, read_at: int, **contents: Any) -> Page:
    return Page(
        run_id=run.run_id,
        number=number,
        token=uuid.uuid4().hex,
        read_at=read_at,
        dry_run=run.dry_run,
        webhooks_since=run.webhooks_since,
        full_run_at=run.full_run_at,
        **{"users": (), **contents},
    )


def _since(currents: Iterable[Current]) -> int | None:
    """How far back to read: to the start of the last complete run of any mode, None if there is none."""
    starts = [current.complete_started_at for current in currents]
    return max((start - OVERLAP_MS for start in starts if start is not None), default=None)


def _emit_overdue_metrics(currents: Iterable[Current], new: Run) -> None:
    """What only the next run can tell: that one never ends, or that none was full for long."""
    runs = [current.run for current in currents]
    overdue = [r for r in runs if r and not r.is_over and new.started_at - r.started_at > STALE_MS]
    count(RunsOverdue=len(overdue))
    if new.full_run_at is not None:
        count(HoursSinceLastFullRun=(new.started_at - new.full_run_at) / 3_600_000)


def _stays_open(run: Run) -> str:
    return (
        f"Run {run.run_id} stays open and nothing is lost: invoke the function again with {{}} to go on "
        "from there."
    )


def _json_like(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {str(value).lower()}" for name, value in values.items())


def _new_run_id(mode: Mode) -> str:
    return f"{mode}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
