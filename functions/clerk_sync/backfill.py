"""The backfill: reads every user from Clerk and puts them on the queue, page by page."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clerk_sync.clerk import ClerkClient
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
from clerk_sync.page import Page, split
from clerk_sync.pages_queue import PagesQueue
from clerk_sync.run import Mode, Run, RunResult
from clerk_sync.runs_table import NewPage, RunsTable
from clerk_sync.user import User, UserProblem, parse_user
from clerk_sync.walk import walk, walk_changed

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


class BackfillEvent(BaseModel):
    """What BackfillFunction takes; every key may be left out."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    mode: Mode = "full"
    createMissing: bool | None = None  # noqa: N815 - the event's own name
    dryRun: bool = False  # noqa: N815
    waitSeconds: int = Field(60, ge=0, le=840)  # noqa: N815
    runId: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{1,100}$")  # noqa: N815


def parse_event(event: Any) -> BackfillEvent:
    """Raises EventError, which names the key at fault and lists the right ones."""
    try:
        return BackfillEvent.model_validate(event)
    except ValidationError as error:
        raise EventError(
            f"Nothing was started: {_event_faults(error)}. The event is {{}} or any of: "
            '"mode" ("full" or "incremental"), "createMissing" (true or false), "dryRun" (true or false), '
            '"waitSeconds" (a number from 0 to 840), "runId" (up to 100 letters, digits, ".", "_" or "-").'
        ) from error


def _event_faults(error: ValidationError) -> str:
    said = {"extra_forbidden": "there is no such key", "string_pattern_mismatch": "it has other characters"}
    return "; ".join(
        f'"{fault["loc"][0]}": {said.get(fault["type"], fault["msg"])}' if fault["loc"] else "it is no object"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )


class Backfill:
    """One invocation's part in a run.

    `open_clerk` makes the client, given what to call before each pause. `check_table` raises
    SettingsError if the users table will not do. `time_left` gives the function's seconds.
    `go_on_later` starts another invocation with an event.
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
        self._sleep = sleep
        self._owner = uuid.uuid4().hex
        self._invoked_at = now_ms()
        self._wait_left = 0.0

    def run(self, event: BackfillEvent) -> RunResult:
        """Start a run or go on with the one under way, wait for the workers, and report.

        Raises EventError if the event does not fit a run under way; ClerkUnavailable or AwsError if the
        run could not go on but may, as it is, in another invocation.
        """
        self._wait_left = float(event.waitSeconds)
        run = self._go_through(self._open(event))
        if self._may_be_followed(run, event):
            run = self._go_through(self._open(event))
        logger.info("run_reported", runId=run.run_id, status=run.status)
        return run.result(self._runs.problems(run.run_id) if run.counts.errors else [])

    def _go_through(self, run: Run) -> Run:
        """Page the run if nobody else does, and wait for what is left of it."""
        while not run.is_over:
            acquired = None
            if run.paged_at is None:
                now = now_ms()
                acquired = self._runs.acquire(run.run_id, self._owner, now, now + LEASE_MS)
            if acquired:
                handed_on = self._page(acquired)
                run = self._runs.finish(run.run_id, now_ms()) or run
                if handed_on:
                    break
            elif self._wait_left <= 0 or self._time_left() < RESERVE_SECONDS:
                return self._give_up_lost_pages(run)
            else:
                self._sleep(_POLL_SECONDS)
                self._wait_left -= _POLL_SECONDS
                run = self._runs.finish(run.run_id, now_ms()) or run
        return run

    def _may_be_followed(self, run: Run, event: BackfillEvent) -> bool:
        """Whether the run that was joined is done reading Clerk but is not what this event means when there
        is none to join: left over from days ago, or with other options."""
        started_here = run.started_at >= self._invoked_at
        return not (run.paged_at is None or started_here or event.runId) and (
            run.dry_run != event.dryRun
            or run.create_missing != self._wants_missing(event)
            or self._invoked_at - run.started_at > STALE_MS
        )

    def _wants_missing(self, event: BackfillEvent) -> bool:
        return self._create_missing if event.createMissing is None else event.createMissing

    def _open(self, event: BackfillEvent) -> Run:
        """The run that the event names or that is under way, else a new one."""
        # Not just got: a worker that died right after it had counted a page left its status to the next one.
        if event.runId and (named := self._runs.finish(event.runId, now_ms())):
            return _checked(named, event)
        while True:
            current = self._runs.current(event.mode)
            if current.run and not current.run.is_over:
                run = self._give_up_lost_pages(current.run)
                if not run.is_over and not self._may_be_followed(run, event):
                    return _checked(run, event)
                current = self._runs.current(event.mode)
            run = Run(
                run_id=event.runId or _new_run_id(event.mode),
                mode=event.mode,
                create_missing=self._wants_missing(event),
                dry_run=event.dryRun,
                started_at=now_ms(),
                since=self._since() if event.mode == "incremental" else None,
            )
            if self._runs.start(run, after=current):
                logger.info("run_started", runId=run.run_id, mode=run.mode, dryRun=run.dry_run)
                return run

    def _since(self) -> int | None:
        """How far back to read: to the start of the last complete run of any mode, None if there is none."""
        starts = [self._runs.current(mode).complete_started_at for mode in get_args(Mode)]
        return max((start - OVERLAP_MS for start in starts if start is not None), default=None)

    def _page(self, run: Run) -> bool:
        """Read what is left of the run and send it; whether another invocation is to go on with it."""
        try:
            self._read_and_send(run)
        except (ClerkRefused, SettingsError) as error:
            logger.error("run_failed", runId=run.run_id, reason=str(error))
            with suppress(LeaseLost):
                self._runs.end_paging(run.run_id, self._owner, now_ms(), failure=str(error))
        except LeaseLost as error:
            logger.warning("lease_lost", runId=run.run_id, reason=str(error))
        except OutOfTime:
            self._let_go(run)
            self._hand_on(run)
            return True
        except (ClerkError, AwsError) as error:
            self._let_go(run)
            raise type(error)(f"{error}. {_stays_open(run)}") from error
        return False

    def _hand_on(self, before: Run) -> None:
        run = self._runs.get(before.run_id)
        if run and run.pages == before.pages:
            raise ClerkUnavailable(
                f"Not one page could be read in the time that a function has. {_stays_open(run)}"
            )
        self._go_on_later({"runId": before.run_id, "waitSeconds": 0})
        logger.info("run_handed_on", runId=before.run_id)

    def _read_and_send(self, run: Run) -> None:
        # Before anything that may fail for good: a page that counts must be the run's.
        run = self._runs.recover(run, self._owner, now_ms() + LEASE_MS)
        with self._open_clerk(lambda seconds, why: self._before_pause(run, seconds, why)) as clerk:
            self._check_table()
            pages = self._pages(clerk, run)
            while True:
                if self._time_left() < RESERVE_SECONDS:
                    raise OutOfTime
                read_at = now_ms()
                users = next(pages, None)
                if users is None:
                    break
                run = self._send(run, users, read_at)
        self._runs.end_paging(run.run_id, self._owner, now_ms())
        logger.info("run_paged", runId=run.run_id, pages=run.pages, users=run.total_users)

    def _pages(self, clerk: ClerkClient, run: Run) -> Iterator[list[Any]]:
        if run.since is not None:
            return walk_changed(
                clerk, run.cursor, limit=self._page_size, met=run.total_users, since=run.since
            )
        expected = run.expected_users
        if expected is None:
            expected = clerk.count()
            self._runs.expect(run.run_id, self._owner, expected)
        return walk(clerk, run.cursor, limit=self._page_size, met=run.total_users, expected=expected)

    def _send(self, run: Run, payloads: list[Any], read_at: int) -> Run:
        """Put a page of Clerk's on the queue, as one message unless it is too big for one."""
        done = 0
        for part in split([parse_user(payload) for payload in payloads]):
            users = tuple(user for user in part if isinstance(user, User))
            malformed = [user for user in part if isinstance(user, UserProblem)]
            cursor = run.cursor.after(payloads[done : done + len(part)])
            page = Page(
                run_id=run.run_id,
                number=run.pages + 1,
                token=uuid.uuid4().hex,
                read_at=read_at,
                create_missing=run.create_missing,
                dry_run=run.dry_run,
                users=users,
            )
            announced = NewPage(page.token, len(users), malformed, cursor)
            self._runs.announce(run, self._owner, announced, now_ms() + LEASE_MS)
            self._queue.send(page)
            run = self._runs.confirm(run, self._owner, len(part), cursor, now_ms() + LEASE_MS)
            done += len(part)
            logger.info("page_sent", runId=run.run_id, page=page.number, users=len(users))
            for problem in malformed:
                logger.warning(
                    "user_set_aside",
                    runId=run.run_id,
                    page=page.number,
                    clerkUserId=problem.clerk_user_id,
                    reason=problem.reason,
                )
        return run

    def _before_pause(self, run: Run, seconds: float, why: str) -> None:
        logger.warning("clerk_retried", runId=run.run_id, seconds=round(seconds, 1), reason=why)
        self._runs.renew(run.run_id, self._owner, now_ms() + int(seconds * 1000) + LEASE_MS)

    def _let_go(self, run: Run) -> None:
        with suppress(ClerkSyncError):
            self._runs.renew(run.run_id, self._owner, 0)

    def _give_up_lost_pages(self, run: Run) -> Run:
        """Count pages as errors whose messages are no longer in the queue: they ended in the dead-letter
        queue without a worker's having had its say, or were purged. A redrive corrects that."""
        if run.paged_at is None or now_ms() - run.paged_at < DRAINED_MS or not self._queue.is_drained():
            return run
        for number, token in self._runs.pending_pages(run):
            logger.error("page_given_up", runId=run.run_id, page=number, reason="not in the queue any more")
            self._runs.settle(run.run_id, number, token, None)
        return self._runs.finish(run.run_id, now_ms()) or run


def _checked(run: Run, event: BackfillEvent) -> Run:
    """The run, unless the event asks for something else than it is."""
    wanted = {"mode": event.mode, "createMissing": event.createMissing, "dryRun": event.dryRun}
    actual = {"mode": run.mode, "createMissing": run.create_missing, "dryRun": run.dry_run}
    differing = [name for name in event.model_fields_set & wanted.keys() if wanted[name] != actual[name]]
    if event.runId and event.runId != run.run_id:
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


def _stays_open(run: Run) -> str:
    return (
        f"Run {run.run_id} stays open and nothing is lost: invoke the function again with {{}} to go on "
        "from there."
    )


def _json_like(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {str(value).lower()}" for name, value in values.items())


def _new_run_id(mode: Mode) -> str:
    return f"{mode}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
