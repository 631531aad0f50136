"""The runs in RunsTable: their records, and the lease of the invocation that is paging.

Items, by `runId` and `part`:
- `run`: the run's record;
- `page#00000001` …: its pages, see page_ledger.py;
- `scan`: an audit's scan of the users table, see audit/scan.py;
- `runId` = `current#full`, `current#incremental` or `current#audit`, `part` = `current`: the run of that mode
  that was started last, when the last complete one before it was started, and the last ten runs;
- `runId` = `instance`, `part` = `instance`: the Clerk instance that the users table belongs to;
- `runId` = `webhooks`, `part` = `webhooks`: when webhooks arrived, see arrivals.py.
Page loads keep theirs there too: see refresh_claims.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from clerk_sync.aws.dynamodb import Value
from clerk_sync.errors import LeaseLost
from clerk_sync.runs.items import IS_NEW, Items, put
from clerk_sync.runs.run import Mode, Run
from clerk_sync.runs.run_record import RUN, load_run, new_record, progress
from clerk_sync.webhook.arrivals import Arrivals, Webhooks

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RUNS_LISTED = 10
"""How many runs of a mode are listed without their ids being known."""


@dataclass(frozen=True, slots=True)
class Current:
    """The runs of one mode: the last one's id and record (None once it has expired), when the last complete
    one was started (ms), and the last ten ids, newest first, with when each was started (ms)."""

    run_id: str | None
    run: Run | None
    complete_started_at: int | None
    recent: Mapping[str, int] = field(default_factory=dict)


class RunsTable:
    """Every method raises AwsError when DynamoDB refuses or throttles a call."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._items = Items(dynamodb, table)
        self._arrivals = Arrivals(dynamodb, table)

    def get(self, run_id: str) -> Run | None:
        """The run, or None if there is none with that id, or not any more."""
        item = self._items.get(run_id, RUN)
        return load_run(item) if item else None

    def current(self, mode: Mode) -> Current:
        """The last runs of this mode."""
        pointer = self._items.get(_current(mode), "current")
        if pointer is None:
            return Current(None, None, None)
        run_id = pointer["currentRunId"]
        run = self.get(run_id)
        complete = run.started_at if run and run.is_complete else pointer.get("completeStartedAt")
        return Current(run_id, run, complete, json.loads(pointer["recentRuns"]))

    def latest(self, count: int = RUNS_LISTED) -> list[Run]:
        """The last runs of all modes, newest first, without those that have expired."""
        recent = [item for mode in get_args(Mode) for item in self.current(mode).recent.items()]
        newest = sorted(recent, key=lambda item: item[1], reverse=True)[:count]
        return [run for run_id, _ in newest if (run := self.get(run_id))]

    def start(self, run: Run, *, after: Current) -> bool:
        """Record a new run that follows that one; False if another run was started meanwhile."""
        recent = [(run.run_id, run.started_at), *after.recent.items()]
        pointer = {
            "runId": _current(run.mode),
            "part": "current",
            "currentRunId": run.run_id,
            "completeStartedAt": after.complete_started_at,
            "recentRuns": json.dumps(dict(recent[:RUNS_LISTED])),
        }
        is_next, values = (
            (IS_NEW, {}) if after.run_id is None else ("currentRunId = :after", {":after": after.run_id})
        )
        return self._items.transact(put(pointer, is_next, values), put(new_record(run)))

    def finish(self, run_id: str, now: int) -> tuple[Run | None, bool]:
        """Set the run's status if every page has an outcome; after a redrive, correct it. Returns the run,
        and whether this call changed its status."""
        has_changed = False
        while run := self.get(run_id):
            verdict = run.verdict()
            if verdict in ("RUNNING", run.status):
                break
            changed = self._items.update(
                run_id,
                RUN,
                "settledPages = :settled AND errorCount = :errors AND #status = :was",
                {":settled": run.settled_pages, ":errors": run.counts.errors, ":was": run.status},
                {"status": verdict, "timestamp": now},
            )
            has_changed = has_changed or changed is not None
        return run, has_changed

    # The lease of the invocation that is paging

    def acquire(self, run_id: str, owner: str, now: int, until: int) -> Run | None:
        """Take the lease and return the run as it is then; None if paging is over or another invocation
        holds the lease. Times in ms."""
        item = self._items.update(
            run_id,
            RUN,
            "attribute_not_exists(pagedAt) AND (leaseUntil < :now OR leaseOwner = :me)",
            {":now": now, ":me": owner},
            {"leaseOwner": owner, "leaseUntil": until},
        )
        return load_run(item) if item else None

    def renew(self, run_id: str, owner: str, until: int) -> None:
        """Keep the lease until then (ms). Raises LeaseLost."""
        self._as_owner(run_id, owner, {"leaseUntil": until})

    def save(self, run: Run, owner: str, until: int) -> None:
        """Record the pages that were sent since the last ones were recorded as pending, and keep the lease
        until then (ms). Raises LeaseLost."""
        self._as_owner(run.run_id, owner, {**progress(run), "leaseUntil": until})

    def release(self, run: Run, owner: str) -> None:
        """Record the pages that were sent, and give the lease back, so that no thread still under way can
        renew it. Raises LeaseLost."""
        self._as_owner(run.run_id, owner, {**progress(run), "leaseUntil": 0, "leaseOwner": ""})

    def expect(self, run_id: str, owner: str, users: int) -> None:
        """Record how many users Clerk counts. Raises LeaseLost."""
        self._as_owner(run_id, owner, {"expectedUsers": users})

    def end_paging(self, run: Run, owner: str, now: int, *, failure: str | None = None) -> None:
        """Record the pages that were sent, that no more follow, and why if that is a failure. Raises
        LeaseLost."""
        change = {**progress(run), "pagedAt": now, "pagesButOne": run.pages - 1, "leaseUntil": 0}
        if failure:
            change["failure"] = failure
        self._as_owner(run.run_id, owner, change)

    def _as_owner(self, run_id: str, owner: str, change: Mapping[str, Value]) -> None:
        if not self._items.update(run_id, RUN, "leaseOwner = :me", {":me": owner}, change):
            raise LeaseLost(f"Another invocation has taken over run {run_id}")

    # What is known beside the runs

    def remember_instance(self, instance_id: str) -> str:
        """The Clerk instance that the users table belongs to: this one, if it is the first."""
        if self._items.put_new({"runId": "instance", "part": "instance", "instanceId": instance_id}):
            return instance_id
        remembered: str = (self._items.get("instance", "instance") or {})["instanceId"]
        return remembered

    def webhooks(self) -> Webhooks | None:
        """When webhooks arrived, None if none ever did."""
        return self._arrivals.read()


def _current(mode: Mode) -> str:
    return f"current#{mode}"
