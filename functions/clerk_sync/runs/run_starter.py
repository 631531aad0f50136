"""Joining the run under way that an event asks for, or starting a new one."""

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, get_args

from clerk_sync.clock import now_ms
from clerk_sync.errors import EventError
from clerk_sync.log import logger
from clerk_sync.metrics import count
from clerk_sync.runs.completion import finish, give_up_lost_pages
from clerk_sync.runs.events import Request
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.run import Mode, Run, Scope
from clerk_sync.runs.runs_table import Current

OVERLAP_MS = 10 * 60 * 1000
"""How much further back an incremental run reads, as Clerk's clock and its lists may be behind ours."""


class RunStarter:
    """`invoked_at` (ms) is when the function was invoked."""

    def __init__(self, resources: Resources, request: Request, invoked_at: int) -> None:
        self._resources = resources
        self._request = request
        self._invoked_at = invoked_at
        self._create_missing = (
            resources.create_missing if request.create_missing is None else request.create_missing
        )

    def open(self) -> Run:
        """The run that the request names or that is under way, otherwise a new one. Raises EventError if no
        run has that id or the request does not fit a run under way; AwsError."""
        runs, request = self._resources.runs, self._request
        if request.run_id:
            # A worker that died right after it had counted a page left the run's status to the next caller.
            named = finish(runs, request.run_id, now_ms())
            if named is None:
                raise EventError(
                    f"Nothing was started: there is no run {request.run_id}. Leave runId out to start one; "
                    "runs are kept for 90 days."
                )
            return _checked(named, request)
        while True:
            current = runs.current(request.mode)
            if current.run and not current.run.is_over:
                if joined := self._join(current.run):
                    return joined
                current = runs.current(request.mode)
            if started := self._start(current):
                return started

    def needs_new_run(self, run: Run) -> bool:
        """Whether Clerk was read for the run, and the event asks for another one after it."""
        return run.paged_at is not None and self._is_followed(run)

    def continuation(self, run: Run) -> Mapping[str, Any]:
        """The event of an invocation that goes on with the run, and then with what this event asks for."""
        event = self._request.explicitly if self._is_followed(run) else {"runId": run.run_id}
        return {**event, "waitSeconds": self._request.wait_seconds}

    def _is_followed(self, run: Run) -> bool:
        """Whether the run was joined, but is not what this event means when there is none to join: left over
        from days ago, or with other options."""
        was_joined = run.started_at < self._invoked_at and not self._request.run_id
        return was_joined and (
            run.dry_run != self._request.dry_run
            or run.create_missing != self._create_missing
            or run.is_left_over(self._invoked_at)
        )

    def _join(self, run: Run) -> Run | None:
        """The run under way; None if it is over by now, or if the request needs a new one."""
        # An invocation that was cut off after the last outcome left the run's status to the next one.
        r = self._resources
        run = finish(r.runs, run.run_id, now_ms()) or run
        run = give_up_lost_pages(r.runs, r.pages, r.queue, run)
        if run.is_over or self.needs_new_run(run):
            return None
        # A run that is left over is finished as it is, and followed by the run that the event asks for.
        return run if run.is_left_over(self._invoked_at) else _checked(run, self._request)

    def _start(self, after: Current) -> Run | None:
        """A new run; None if another invocation has just started one."""
        runs, request = self._resources.runs, self._request
        modes: tuple[Mode, ...] = get_args(Mode)
        currents = {mode: after if mode == request.mode else runs.current(mode) for mode in modes}
        webhooks = runs.webhooks()
        r = self._resources
        scope = Scope(r.instance.read(), r.users_table, self._create_missing, ",".join(r.names))
        run = Run(
            run_id=_new_run_id(request.mode),
            mode=request.mode,
            create_missing=self._create_missing,
            dry_run=request.dry_run,
            started_at=now_ms(),
            users_table=scope.users_table,
            fields=scope.fields,
            since=_since(currents.values(), scope) if request.mode == "incremental" else None,
            webhooks_since=webhooks.first_at if webhooks else None,
            full_run_at=full.started_at if (full := currents["full"].watermark) else None,
        )
        if not runs.start(run, after=after):
            return None
        # Each run asks Clerk at the full rate, so together they may ask more than ClerkRequestsPerSecond.
        beside = [r.run.run_id for r in currents.values() if r.run and not r.run.is_over]
        logger.info("run_started", runId=run.run_id, mode=run.mode, dryRun=run.dry_run, beside=beside)
        _emit_overdue_metrics(currents.values(), run)
        return run


def _checked(run: Run, request: Request) -> Run:
    """The run. Raises EventError if the event asks for another one."""
    if (run.mode == "audit") != (request.mode == "audit"):
        function = "AuditFunction" if run.mode == "audit" else "BackfillFunction"
        raise EventError(f"Nothing was started: ask {function} about run {run.run_id}.")
    actual = {"mode": run.mode, "createMissing": run.create_missing, "dryRun": run.dry_run}
    if run.mode == "audit":
        actual = {"repair": not run.dry_run}
    asked = request.explicitly
    differing = [name for name in asked.keys() & actual.keys() if asked[name] not in (None, actual[name])]
    if differing:
        advice = (
            "Leave runId out to start another" if run.is_over else "Invoke with {} to continue it, or wait"
        )
        raise EventError(
            f"Nothing was started: run {run.run_id} is {run.status}, with {_json_like(actual)}, but the "
            f"event asks for another {' and '.join(sorted(differing))}. {advice}."
        )
    return run


def _since(currents: Iterable[Current], scope: Scope) -> int | None:
    """How far back to read: to the start of the last complete run of this scope, whatever its mode. None: to
    the first user, as no such run is known."""
    watermarks = [current.watermark for current in currents]
    starts = [watermark.started_at for watermark in watermarks if watermark and watermark.scope == scope]
    return max(starts) - OVERLAP_MS if starts else None


def _emit_overdue_metrics(currents: Iterable[Current], new: Run) -> None:
    """How many runs are overdue, and how long ago the last full run was: no run can report that itself."""
    runs = [current.run for current in currents]
    count(RunsOverdue=sum(1 for run in runs if run and not run.is_over and run.is_left_over(new.started_at)))
    if new.full_run_at is not None:
        count(HoursSinceLastFullRun=(new.started_at - new.full_run_at) / 3_600_000)


def _json_like(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {str(value).lower()}" for name, value in values.items())


def _new_run_id(mode: Mode) -> str:
    return f"{mode}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
