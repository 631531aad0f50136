"""One invocation's part in a run: it joins the run under way or starts one, pages it when it is its turn, and
waits for the workers."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

from clerk_sync.clock import now_ms
from clerk_sync.errors import EventError
from clerk_sync.log import logger
from clerk_sync.metrics import record
from clerk_sync.runs.events import Request
from clerk_sync.runs.lease import DRAINED_MS, LEASE_MS, POLL_SECONDS, Lease, PageRun
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.run import Mode, Run, Scope
from clerk_sync.runs.runs_table import Current

OVERLAP_MS = 10 * 60 * 1000
"""How much further back an incremental run reads, as Clerk's clock and its lists may be behind ours."""


class Invocation:
    """`resources` and `request` are the invocation's; it may take part in two runs, one after the other."""

    def __init__(self, resources: Resources, request: Request) -> None:
        self._resources = resources
        self._runs = resources.runs
        self._request = request
        self._invoked_at = now_ms()
        self._owner = uuid.uuid4().hex
        self._wait_left = float(request.wait_seconds)
        self._fields = ",".join(resources.users_table.names)
        self._create_missing = (
            resources.create_missing if request.create_missing is None else request.create_missing
        )

    def take_part(self, page: PageRun) -> Run:
        """Page the run each time it is this invocation's turn, wait for the workers, and return the run.

        It is over, continued in a new invocation, or not over when the waiting time is up. Raises EventError
        if the request does not fit a run under way; ClerkUnavailable or AwsError if the run could not be
        continued now: it stays open for another invocation.
        """
        run = self._turns(self.open(), page)
        if self._needs_new_run(run):
            run = self._turns(self.open(), page)
        logger.info("run_reported", status=run.status)
        return run

    def open(self) -> Run:
        """The run that the request names or that is under way, otherwise a new one. Raises EventError if no
        run has that id or the request does not fit a run under way; AwsError."""
        if self._request.run_id:
            # A worker that died right after it had counted a page left the run's status to the next caller.
            named = self._runs.finish(self._request.run_id, now_ms())
            if named is None:
                raise EventError(
                    f"Nothing was started: there is no run {self._request.run_id}. Leave runId out to start "
                    "one; runs are kept for 90 days."
                )
            return self._checked(named)
        while True:
            current = self._runs.current(self._request.mode)
            if current.run and not current.run.is_over:
                if joined := self._join(current.run):
                    return joined
                looked_at, current = current.run_id, self._runs.current(self._request.mode)
                if current.run_id != looked_at:
                    continue  # another invocation has started one
            if started := self._start(current):
                return started

    def continuation(self, run: Run) -> Mapping[str, Any]:
        """The event of an invocation that goes on with the run, and then with what this event asks for."""
        event = self._request.explicitly if self._is_followed(run) else {"runId": run.run_id}
        return {**event, "waitSeconds": self._request.wait_seconds}

    # Turns

    def _turns(self, run: Run, page: PageRun) -> Run:
        logger.append_keys(runId=run.run_id)
        while not run.is_over:
            if lease := self._acquire(run):
                is_continued = lease.page(page)
                run = self._finished(run)
                if is_continued:
                    return run
            elif self._wait_left <= 0 or self._resources.is_out_of_time():
                return self._without_lost_pages(run)
            else:
                self._resources.sleep(POLL_SECONDS)
                self._wait_left -= POLL_SECONDS
                run = self._finished(run)
        return run

    def _acquire(self, run: Run) -> Lease | None:
        if run.paged_at is not None:
            return None
        now = now_ms()
        acquired = self._runs.acquire(run.run_id, self._owner, now, now + LEASE_MS)
        return Lease(self._resources, acquired, self._owner, self.continuation(run)) if acquired else None

    def _finished(self, run: Run) -> Run:
        return self._runs.finish(run.run_id, now_ms()) or run

    def _without_lost_pages(self, run: Run) -> Run:
        """Count pages as errors whose messages are no longer in the queue, and return the run as it is then.

        Such messages ended in the dead-letter queue before a worker could record that, or were purged. A
        redrive corrects the counts.
        """
        is_recent = run.paged_at is None or now_ms() - run.paged_at < DRAINED_MS
        if is_recent or not self._resources.queue.is_drained():
            return run
        pages = self._resources.pages
        for number, token in pages.pending_pages(run):
            logger.error("page_given_up", runId=run.run_id, page=number, reason="not in the queue any more")
            pages.record_outcome(run.run_id, number, token, None)
        return self._finished(run)

    # Joining or starting

    def _needs_new_run(self, run: Run) -> bool:
        """Whether Clerk was read for the run, and the event asks for another one after it."""
        return run.paged_at is not None and self._is_followed(run)

    def _is_followed(self, run: Run) -> bool:
        """Whether a new run follows the one that was joined, because the event does not ask for that one: it
        is more than a day old, has other options, or is for another table or other fields."""
        was_joined = run.started_at < self._invoked_at and not self._request.run_id
        return was_joined and (
            run.dry_run != self._request.dry_run
            or run.create_missing != self._create_missing
            or run.users_table != self._resources.users_table.table
            or run.fields != self._fields
            or run.is_left_over(self._invoked_at)
        )

    def _join(self, run: Run) -> Run | None:
        """The run under way; None if it is over by now, or if the request needs a new one."""
        # An invocation that was cut off after the last outcome left the run's status to the next one.
        run = self._without_lost_pages(self._finished(run))
        if run.is_over or self._needs_new_run(run):
            return None
        # A run that is left over is finished as it is, and followed by the run that the event asks for.
        return run if run.is_left_over(self._invoked_at) else self._checked(run)

    def _checked(self, run: Run) -> Run:
        """The run. Raises EventError if the event asks for another one."""
        if (run.mode == "audit") != (self._request.mode == "audit"):
            function = "AuditFunction" if run.mode == "audit" else "BackfillFunction"
            raise EventError(f"Nothing was started: ask {function} about run {run.run_id}.")
        actual = {"mode": run.mode, "createMissing": run.create_missing, "dryRun": run.dry_run}
        if run.mode == "audit":
            actual = {"repair": not run.dry_run}
        asked = self._request.explicitly
        differing = [key for key in asked.keys() & actual.keys() if asked[key] != actual[key]]
        if differing:
            to_continue = "Invoke with {} to continue it, or wait"
            advice = "Leave runId out to start another" if run.is_over else to_continue
            options = ", ".join(f"{key} {str(value).lower()}" for key, value in actual.items())
            raise EventError(
                f"Nothing was started: run {run.run_id} is {run.status}, with {options}, but the event asks "
                f"for another {' and '.join(sorted(differing))}. {advice}."
            )
        return run

    def _start(self, after: Current) -> Run | None:
        """A new run; None if another invocation has just started one."""
        request, resources = self._request, self._resources
        modes: tuple[Mode, ...] = get_args(Mode)
        currents = {mode: after if mode == request.mode else self._runs.current(mode) for mode in modes}
        webhooks, full = self._runs.webhooks(), currents["full"].watermark
        run = Run(
            run_id=_new_run_id(request.mode),
            mode=request.mode,
            create_missing=self._create_missing,
            dry_run=request.dry_run,
            started_at=now_ms(),
            users_table=resources.users_table.table,
            fields=self._fields,
            webhooks_since=webhooks.first_at if webhooks else None,
            full_run_at=full.started_at if full else None,
        )
        if request.mode == "incremental":
            scope = replace(run, instance_id=resources.instance.read()).scope
            run = replace(run, since=_since(scope, currents.values()))
        if not self._runs.start(run, after=after):
            return None
        # Each run asks Clerk at the full rate, so together they may ask more than ClerkRequestsPerSecond.
        beside = [r.run.run_id for r in currents.values() if r.run and not r.run.is_over]
        logger.info("run_started", runId=run.run_id, mode=run.mode, dryRun=run.dry_run, beside=beside)
        _emit_overdue_metrics(currents.values(), run)
        return run


def _since(scope: Scope, currents: Iterable[Current]) -> int | None:
    """How far back to read: to the start of the last complete run of this scope, whatever its mode. None: to
    the first user, as no such run is known."""
    watermarks = [current.watermark for current in currents]
    starts = [watermark.started_at for watermark in watermarks if watermark and watermark.scope == scope]
    return max(starts) - OVERLAP_MS if starts else None


def _emit_overdue_metrics(currents: Iterable[Current], new: Run) -> None:
    """How many runs are overdue, and how long ago the last full run was: no run can report that itself."""
    runs = [current.run for current in currents]
    record(RunsOverdue=sum(1 for run in runs if run and not run.is_over and run.is_left_over(new.started_at)))
    if new.full_run_at is not None:
        record(HoursSinceLastFullRun=(new.started_at - new.full_run_at) / 3_600_000)


def _new_run_id(mode: Mode) -> str:
    return f"{mode}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
