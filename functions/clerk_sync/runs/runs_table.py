"""The runs in RunsTable: their records, the lease of the invocation that is paging, and a run's end.

Items, by `runId` and `part`:
- `run`: the run's record;
- `page#00000001` …: its pages, and `reading#00000001` … what was read for them, see page_ledger.py;
- `scan`: an audit's scan of the users table, see audit/deletions.py;
- `runId` = `current#full`, `current#incremental` or `current#audit`, `part` = `current`: the run of that mode
  that was started last, the watermark of those before it, and the last ten runs;
- `runId` = `instance`, `part` = a users table: the Clerk instance that it belongs to, see users/table.py;
- `runId` = `webhooks`, `part` = `webhooks`: when webhooks arrived, see webhook/arrivals.py.
Page loads keep theirs there too: see profile/refresh_claims.py.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args

from aws_lambda_powertools.metrics import MetricUnit
from pydantic.alias_generators import to_camel

from clerk_sync.aws.items import IS_NEW, Items, Value, put
from clerk_sync.errors import LeaseLost
from clerk_sync.log import logger
from clerk_sync.metrics import record
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import MissedDeletions, Mode, Run, Watermark
from clerk_sync.webhook.arrivals import Arrivals, Webhooks

RUNS_LISTED = 10
"""How many runs of a mode are listed without their ids being known."""
SILENT_HOURS = 12
"""After how long without a webhook a change that a webhook should have delivered means that the endpoint is
off."""
RUN = "run"
"""The part of a run's record."""

_STORED_OTHERWISE = {"counts", "checkpoint"}
_NAMES = {
    **{field.name: to_camel(field.name) for field in fields(Run) if field.name not in _STORED_OTHERWISE},
    "total_users": "totalClerkUsers",
    "ended_at": "timestamp",
}
_SET_WHILE_PAGING = (
    "instance_id",
    "expected_users",
    "pages",
    "total_users",
    "unlisted_users",
    "deletions",
    "paged_at",
    "failure",
)


@dataclass(frozen=True, slots=True)
class Current:
    """The runs of one mode: the last one's id and record (None once it has expired), the watermark, and the
    last ten ids, newest first, with when each was started (ms)."""

    run_id: str | None
    run: Run | None
    watermark: Watermark | None
    recent: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunsTable:
    """Every method raises AwsError when DynamoDB refuses or throttles a call."""

    items: Items

    def get(self, run_id: str) -> Run | None:
        """The run, or None if there is none with that id, or not any more."""
        item = self.items.get(run_id, RUN)
        return _load_run(item) if item else None

    def current(self, mode: Mode) -> Current:
        pointer = self.items.get(_current(mode), "current")
        if pointer is None:
            return Current(None, None, None)
        run_id = pointer["currentRunId"]
        run = self.get(run_id)
        watermark = run.watermark if run else None
        if watermark is None and "watermark" in pointer:
            watermark = Watermark.model_validate_json(pointer["watermark"])
        return Current(run_id, run, watermark, json.loads(pointer["recentRuns"]))

    def latest(self, count: int = RUNS_LISTED) -> list[Run]:
        """The last runs of all modes, newest first, without those that have expired."""
        return [run for run_id, _ in self._recent()[:count] if (run := self.get(run_id))]

    def ids_before(self, run: Run) -> list[str]:
        """The ids of the last runs before this one, newest first: up to ten of each mode."""
        return [run_id for run_id, started_at in self._recent() if started_at < run.started_at]

    def start(self, run: Run, *, after: Current) -> bool:
        """Record a new run that follows that one; False if another run was started meanwhile."""
        recent = [(run.run_id, run.started_at), *after.recent.items()]
        pointer = {
            "runId": _current(run.mode),
            "part": "current",
            "currentRunId": run.run_id,
            "watermark": after.watermark.model_dump_json() if after.watermark else None,
            "recentRuns": json.dumps(dict(recent[:RUNS_LISTED])),
        }
        is_next, values = (
            (IS_NEW, {}) if after.run_id is None else ("currentRunId = :after", {":after": after.run_id})
        )
        return self.items.transact(put(pointer, is_next, values), put(_new_record(run)))

    def finish(self, run_id: str, now: int) -> Run | None:
        """Set the run's status if every page has an outcome, and report that once; after a redrive, correct
        it. Returns the run; None if there is no such run."""
        # The SDK repeats an update whose answer was lost; the condition of the second one fails.
        mine = uuid.uuid4().hex
        item = self.items.get(run_id, RUN)
        while item and (run := _load_run(item)).verdict() not in ("RUNNING", run.status):
            self.items.update(
                run_id,
                RUN,
                "settledPages = :settled AND errorCount = :errors AND #status = :was",
                {":settled": run.settled_pages, ":errors": item["errorCount"], ":was": run.status},
                set_={"status": run.verdict(), "timestamp": now, "statusBy": mine},
            )
            item = self.items.get(run_id, RUN)
        if item is None:
            return None
        run = _load_run(item)
        if item.get("statusBy") == mine:
            _report_end(run, now)
            # Last, as it reads RunsTable: nothing above may be lost if that fails.
            if run.webhooks_since is not None and (webhooks := self.webhooks()):
                _report_silence(run, webhooks.hours_silent(now))
        return run

    def _recent(self) -> list[tuple[str, int]]:
        """The ids of the last ten runs of each mode with when they were started (ms), newest first."""
        recent = [item for mode in get_args(Mode) for item in self.current(mode).recent.items()]
        return sorted(recent, key=lambda item: item[1], reverse=True)

    def webhooks(self) -> Webhooks | None:
        """When webhooks arrived, None if none ever did."""
        return Arrivals(self.items).read()

    # The lease of the invocation that is paging

    def acquire(self, run_id: str, owner: str, now: int, until: int) -> Run | None:
        """Take the lease and return the run as it is then; None if paging is over or another invocation
        holds the lease. Times in ms."""
        item = self.items.update(
            run_id,
            RUN,
            "attribute_not_exists(pagedAt) AND (leaseUntil < :now OR leaseOwner = :me)",
            {":now": now, ":me": owner},
            set_={"leaseOwner": owner, "leaseUntil": until},
        )
        return _load_run(item) if item else None

    def renew(self, run_id: str, owner: str, until: int) -> None:
        """Keep the lease until then (ms). Raises LeaseLost."""
        self._as_owner(run_id, owner, {"leaseUntil": until})

    def save(self, run: Run, owner: str, until: int) -> None:
        """Record how far the run is paged, and keep the lease until then (ms). Raises LeaseLost."""
        self._as_owner(run.run_id, owner, {**progress(run), "leaseUntil": until})

    def release(self, run: Run, owner: str) -> None:
        """Record how far the run is paged, and give the lease back, so that no thread still under way can
        renew it. Raises LeaseLost."""
        self._as_owner(run.run_id, owner, {**progress(run), "leaseUntil": 0, "leaseOwner": ""})

    def _as_owner(self, run_id: str, owner: str, change: Mapping[str, Value]) -> None:
        if not self.items.update(run_id, RUN, "leaseOwner = :me", {":me": owner}, set_=change):
            raise LeaseLost(f"Another invocation has taken over run {run_id}")


def _current(mode: Mode) -> str:
    return f"current#{mode}"


def _new_record(run: Run) -> dict[str, Value]:
    return {
        "part": RUN,
        **_values(run, _NAMES),
        **run.counts.dump(),
        "leaseUntil": 0,
        "expiresAt": run.expires_at,
    }


def _load_run(item: Mapping[str, Any]) -> Run:
    """The run that a record holds, without its checkpoint: that is with its last page."""
    values = {name: item[attribute] for name, attribute in _NAMES.items() if attribute in item}
    run = Run(**{**values, "deletions": load_deletions(item)}, counts=Counts.load(item))
    # The record has the users that were listed; the total and the errors include the others.
    return replace(
        run,
        total_users=run.total_users + run.unlisted_users,
        counts=run.counts + Counts(errors=run.unlisted_users),
    )


def progress(run: Run) -> dict[str, Value]:
    """The attributes that the invocation that pages the run sets."""
    # Set, not added up: the SDK repeats a call whose answer was lost.
    return {**_values(run, _SET_WHILE_PAGING), "pagesButOne": run.pages - 1}


def _values(run: Run, names: Iterable[str]) -> dict[str, Value]:
    values = {
        **{name: getattr(run, name) for name in names},
        "deletions": run.deletions.model_dump_json() if run.deletions else None,
    }
    return {_NAMES[name]: value for name, value in values.items() if value is not None}


def load_deletions(item: Mapping[str, Any]) -> MissedDeletions | None:
    """What an audit found, from the record of its run or of a page."""
    return MissedDeletions.model_validate_json(item["deletions"]) if "deletions" in item else None


def _report_end(run: Run, now: int) -> None:
    logger.info(
        "run_finished",
        runId=run.run_id,
        status=run.status,
        users=run.total_users,
        errors=run.counts.errors,
        missedByWebhooks=run.counts.missed_by_webhooks,
    )
    record(RunsFailed=run.status != "COMPLETED", MissedByWebhooks=run.counts.missed_by_webhooks)
    if run.mode == "audit" and run.status != "FAILED":
        record(AuditsWithDrift=run.has_drift)
    record(MetricUnit.Seconds, RunDuration=(now - run.started_at) / 1000)


def _report_silence(run: Run, hours: float) -> None:
    is_silent = bool(run.counts.missed_by_webhooks) and hours >= SILENT_HOURS
    record(HoursSinceLastWebhook=hours, WebhooksSilent=is_silent)
