"""The edge to RunsTable: runs, their pages and what became of them.

Items, by `runId` and `part`:
- `run`: the run's record, with the lease of the invocation that is paging;
- `page#00000001` …: PENDING, then DONE, or FAILED when it is about to end in the dead-letter queue;
- `runId` = `current#full`, `current#incremental` or `current#audit`, `part` = `current`: which run of that
  mode was started last, when the last one before it that became complete was, and the last ten runs;
- `scan`: how far an audit's look at the table had got when its function's time ended;
- `runId` = `webhooks`, `part` = `webhooks`: when the first and the latest one arrived;
- `runId` = `instance`, `part` = `instance`: the Clerk instance that the table is audited against.
Page loads keep theirs there too: see refreshes.py.

Pages are recorded before their messages are sent, and added to the run when the next ones are recorded, so
an invocation that is cut off in between leaves a few pages that its successor can tell: see `recover`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any, get_args

from clerk_sync.aws.clients import attempts, translated
from clerk_sync.aws.dynamodb import Value, from_item, to_item
from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.errors import AwsError, LeaseLost
from clerk_sync.runs.run import PROBLEMS_SHOWN, Counts, MissedDeletions, Mode, Run
from clerk_sync.users.drift import Finding, Tally, merged, tally
from clerk_sync.users.user import UserProblem
from clerk_sync.webhook.arrivals import Arrivals, Webhooks

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_SECONDS = 90 * 24 * 3600
RUNS_LISTED = 10
"""How many runs of a mode can be found again without knowing their ids."""

_PAGE = "page#"
_NEW = "attribute_not_exists(runId)"
_TRIES = 10
_TRANSIENT = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})

_COUNTS = {
    "created": "createdCount",
    "updated": "updatedCount",
    "unchanged": "unchangedCount",
    "skipped": "skippedCount",
    "errors": "errorCount",
    "missed_by_webhooks": "missedByWebhooks",
    "findings": "findingsCount",
}


@dataclass(frozen=True, slots=True)
class NewPage:
    """A page before it is sent: its message's token, how many users that holds, the malformed ones that it
    leaves out, where the walk is after it, and in an audit the digests of all their ids, or, where it marks
    who is gone, what was found of those."""

    token: str
    users: int
    malformed: list[UserProblem]
    checkpoint: Checkpoint
    ids: bytes | None = None
    deletions: MissedDeletions | None = None

    def added_to(self, run: Run) -> Run:
        """The run once this page is sent."""
        return _added(run, self.users + len(self.malformed), self.checkpoint, self.deletions)


@dataclass(frozen=True, slots=True)
class Scan:
    """How far an audit's look at the table has got: the last key, or that it is done; how many synced rows
    there were, those among them that Clerk is to be asked for and how many more there were than are kept;
    and those that it has no user for."""

    after: str | None = None
    is_done: bool = False
    rows: int = 0
    more: int = 0
    candidates: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Current:
    """The runs of one mode: the last one's id and record (None once it has expired), when the last complete
    one was started (ms), and the last ten ids, newest first, with when each was started (ms)."""

    run_id: str | None
    run: Run | None
    complete_started_at: int | None
    recent: Mapping[str, int] = field(default_factory=dict)


class RunsTable:
    """Every method raises AwsError when DynamoDB does not do as it is asked."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    # Runs

    def get(self, run_id: str) -> Run | None:
        """The run, or None if there is none of that id (any more)."""
        item = self._get(run_id, "run")
        return _run(item) if item else None

    def current(self, mode: Mode) -> Current:
        """What is known of the runs of this mode."""
        pointer = self._get(_current(mode), "current")
        if pointer is None:
            return Current(None, None, None)
        run_id = pointer["currentRunId"]
        run = self.get(run_id)
        complete = run.started_at if run and run.is_complete else pointer.get("completeStartedAt")
        recent = json.loads(pointer.get("recentRuns", "{}"))
        if not recent and run:  # a pointer from before there was such a list
            recent = {run_id: run.started_at}
        return Current(run_id, run, complete, recent)

    def latest(self, count: int = RUNS_LISTED) -> list[Run]:
        """The last runs of all modes, newest first, but for those that have expired."""
        recent = [item for mode in get_args(Mode) for item in self.current(mode).recent.items()]
        newest = sorted(recent, key=lambda item: item[1], reverse=True)[:count]
        return [run for run_id, _ in newest if (run := self.get(run_id))]

    def start(self, run: Run, *, after: Current) -> bool:
        """Record a new run, to follow that one; False if something else was quicker."""
        recent = [(run.run_id, run.started_at), *after.recent.items()]
        pointer = {
            "runId": _current(run.mode),
            "part": "current",
            "currentRunId": run.run_id,
            "completeStartedAt": after.complete_started_at,
            "recentRuns": json.dumps(dict(recent[:RUNS_LISTED])),
        }
        put: dict[str, Any] = {"Item": to_item(pointer), "ConditionExpression": _NEW}
        if after.run_id is not None:
            put["ConditionExpression"] = "currentRunId = :after"
            put["ExpressionAttributeValues"] = to_item({":after": after.run_id})
        record = {"Item": to_item(_run_values(run)), "ConditionExpression": _NEW}
        return self._transact({"Put": put}, {"Put": record})

    def finish(self, run_id: str, now: int) -> tuple[Run | None, bool]:
        """Give the run its status if every page is settled; after a redrive, correct it. Returns the run, and
        whether it was this call that changed its status."""
        has_changed = False
        while run := self.get(run_id):
            verdict = run.verdict()
            if verdict in ("RUNNING", run.status):
                break
            changed = self._update_run(
                run_id,
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
        item = self._update_run(
            run_id,
            "attribute_not_exists(pagedAt) AND (leaseUntil < :now OR leaseOwner = :me)",
            {":now": now, ":me": owner},
            {"leaseOwner": owner, "leaseUntil": until},
        )
        return _run(item) if item else None

    def renew(self, run_id: str, owner: str, until: int) -> None:
        """Keep the lease until then (ms). Raises LeaseLost."""
        self._as_owner(run_id, owner, {"leaseUntil": until})

    def save(self, run: Run, owner: str, until: int) -> None:
        """Record the pages that were sent since the last ones were announced, and keep the lease until then
        (ms). Raises LeaseLost."""
        self._as_owner(run.run_id, owner, {**_progress(run), "leaseUntil": until})

    def release(self, run: Run, owner: str) -> None:
        """The same, but give the lease back, so that no thread still under way can renew it. Raises
        LeaseLost."""
        self._as_owner(run.run_id, owner, {**_progress(run), "leaseUntil": 0, "leaseOwner": ""})

    def expect(self, run_id: str, owner: str, users: int) -> None:
        """Note how many users Clerk counts. Raises LeaseLost."""
        self._as_owner(run_id, owner, {"expectedUsers": users})

    def end_paging(self, run: Run, owner: str, now: int, *, failure: str | None = None) -> None:
        """Record the pages that were sent, that no more follow, and why if that is a failure. Raises
        LeaseLost."""
        change = {**_progress(run), "pagedAt": now, "pagesButOne": run.pages - 1, "leaseUntil": 0}
        if failure:
            change["failure"] = failure
        self._as_owner(run.run_id, owner, change)

    # Pages

    def recover(self, run: Run, owner: str, until: int) -> Run:
        """Take in the pages that an earlier invocation was cut off at, and return the run as it is then.

        Those that a worker has dealt with count, up to the first that none has. Whether that one's message
        was ever sent is unknown: it and those after it are forgotten, to be read anew under other tokens,
        and no outcome of the old messages will count. Raises LeaseLost.
        """
        while announced := self._announced(run):
            settled = [*takewhile(lambda page: page["state"] != "PENDING", announced)]
            recovered = run
            for page in settled:
                users = page["userCount"] + page["malformedCount"]
                checkpoint = Checkpoint.load(page["checkpoint"])
                recovered = _added(recovered, users, checkpoint, _deletions(page))
            forgotten = announced[len(settled) :]
            update = _progress_of_run(recovered, owner, until, forgotten)
            if self._transact(*map(_forget, forgotten), update):
                return recovered
            # Either a worker was quicker or the lease is gone: the latter shows here.
            self.renew(run.run_id, owner, until)
        return run

    def record_pending(self, run: Run, owner: str, pages: Sequence[NewPage], until: int) -> None:
        """Record the run's next pages before their messages are sent, as well as those that were sent before,
        and keep the lease until then (ms). Raises LeaseLost."""
        puts: list[dict[str, Any]] = []
        for number, page in enumerate(pages, run.pages + 1):
            values: dict[str, Value] = {
                "runId": run.run_id,
                "part": _page_part(number),
                "pageToken": page.token,
                "state": "PENDING",
                "userCount": page.users,
                "malformedCount": len(page.malformed),
                "malformed": _dump(page.malformed),
                "checkpoint": page.checkpoint.dump(),
                "expiresAt": _expiry(run),
            }
            if page.ids is not None:
                values["ids"] = page.ids
            if page.deletions is not None:
                values["deletions"] = json.dumps(asdict(page.deletions))
            puts.append({"Put": {"Item": to_item(values), "ConditionExpression": _NEW}})
        if not self._transact(*puts, _progress_of_run(run, owner, until)):
            raise LeaseLost(f"Another invocation is paging run {run.run_id}")

    def record_outcome_fast(
        self,
        run_id: str,
        number: int,
        token: str,
        outcome: Counts,
        problems: list[UserProblem],
        findings: list[Finding],
    ) -> bool:
        """The same as `settle` in one request, for nearly every page: one that is still to be dealt with, has
        no malformed users and is not the last one left of its run. False if it may not be such a page, and
        then nothing is counted."""
        page = {"runId": run_id, "part": _page_part(number), "pageToken": token, "state": "PENDING"}
        return self._transact(
            _settle_page(page | {"malformedCount": 0}, "DONE", outcome, problems, findings),
            _settle_run(page, outcome, "(attribute_not_exists(pagedAt) OR settledPages < pagesButOne)"),
        )

    def record_outcome(
        self,
        run_id: str,
        number: int,
        token: str,
        outcome: Counts | None,
        problems: list[UserProblem] | None = None,
        findings: list[Finding] | None = None,
    ) -> bool:
        """Count what became of a page: once however often it is told, and correcting what was told before.

        `outcome` None means that the page is being given up. Returns whether anything was counted: not
        for a page that is done, and not for a copy with another token.
        """
        state = "FAILED" if outcome is None else "DONE"
        for _ in range(_TRIES):
            page = self._get(run_id, _page_part(number))
            if not page or page["pageToken"] != token or page["state"] in ("DONE", state):
                return False
            if outcome is None:
                counts = Counts(errors=page["userCount"] + page["malformedCount"])
            else:
                counts = replace(outcome, errors=outcome.errors + page["malformedCount"])
            if self._transact(
                _settle_page(page, state, counts, problems or [], findings or []),
                _settle_run(page, counts, "attribute_exists(runId)"),
            ):
                return True
        return False

    def pending_pages(self, run: Run) -> list[tuple[int, str]]:
        """Number and token of the run's pages that are still to be dealt with."""
        return [
            (_number(page["part"]), page["pageToken"])
            for page in self._pages(run.run_id, "state", "=", "PENDING")
            if _number(page["part"]) <= run.pages
        ]

    def problems(self, run_id: str) -> list[UserProblem]:
        """The first problems of the run, in the order of its pages."""
        found: list[UserProblem] = []
        for page in self._pages(run_id, "errorCount", ">", 0):
            if page["state"] == "FAILED":
                found.append(_given_up(page))
            found += _load(page["malformed"]) + _load(page["problems"])
            if len(found) >= PROBLEMS_SHOWN:
                break
        return found[:PROBLEMS_SHOWN]

    # What an audit finds

    def findings(self, run_id: str) -> Tally:
        """What the workers found wrong with the rows."""
        return merged(json.loads(page["findings"]) for page in self._pages(run_id, "findings", ">", ""))

    def ids(self, run_id: str) -> Iterator[bytes]:
        """The digests of the ids that were met, page by page."""
        return (page.get("ids", b"") for page in self._pages(run_id, "userCount", ">=", 0))

    def save_scan(self, run: Run, scan: Scan) -> None:
        """Keep how far the look at the table has got."""
        values: dict[str, Value] = {"scan": json.dumps(asdict(scan)), "expiresAt": _expiry(run)}
        item = _key(run.run_id, "scan") | to_item(values)
        with translated(f"writing to {self._table}"):
            self._dynamodb.put_item(TableName=self._table, Item=item)

    def scan(self, run: Run) -> Scan:
        """How far the look at the table had got."""
        item = self._get(run.run_id, "scan")
        if item is None:
            return Scan()
        told = json.loads(item["scan"])
        return Scan(**{**told, "candidates": tuple(told["candidates"]), "gone": tuple(told["gone"])})

    def remember_instance(self, instance_id: str) -> str:
        """The Clerk instance that the table is audited against: this one, if it is the first."""
        item = _key("instance", "instance") | to_item({"instanceId": instance_id})
        with (
            translated(f"writing to {self._table}"),
            suppress(self._dynamodb.exceptions.ConditionalCheckFailedException),
        ):
            self._dynamodb.put_item(TableName=self._table, Item=item, ConditionExpression=_NEW)
            return instance_id
        remembered: str = (self._get("instance", "instance") or {})["instanceId"]
        return remembered

    def webhooks(self) -> Webhooks | None:
        """When webhooks arrived, None if none ever did."""
        return Arrivals(self._dynamodb, self._table).read()

    # How DynamoDB is asked

    def _get(self, run_id: str, part: str) -> dict[str, Any] | None:
        with translated(f"reading {part} of {run_id} from {self._table}"):
            answer = self._dynamodb.get_item(
                TableName=self._table, Key=_key(run_id, part), ConsistentRead=True
            )
        return from_item(answer["Item"]) if "Item" in answer else None

    def _pages(self, run_id: str, name: str, operator: str, value: Value) -> Iterator[dict[str, Any]]:
        """The pages of a run of which this is true, in order."""
        with translated(f"reading the pages of {run_id} from {self._table}"):
            for answer in self._dynamodb.get_paginator("query").paginate(
                TableName=self._table,
                ConsistentRead=True,
                KeyConditionExpression="runId = :run AND begins_with(part, :page)",
                FilterExpression=f"#name {operator} :value",
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues=to_item({":run": run_id, ":page": _PAGE, ":value": value}),
            ):
                yield from map(from_item, answer["Items"])

    def _update_run(
        self, run_id: str, only_if: str, values: Mapping[str, Value], change: Mapping[str, Value]
    ) -> dict[str, Any] | None:
        """Change the run's record and return it; None if the condition does not hold."""
        update = _update(change, {}, only_if, values)
        errors = self._dynamodb.exceptions
        for _ in self._attempts():
            with translated(f"updating {run_id} in {self._table}"):
                try:
                    answer = self._dynamodb.update_item(
                        TableName=self._table, Key=_key(run_id, "run"), ReturnValues="ALL_NEW", **update
                    )
                except errors.ConditionalCheckFailedException:
                    return None
                except errors.TransactionConflictException:
                    continue  # a worker is just counting a page; the SDK doesn't try again by itself
            return from_item(answer["Attributes"])
        raise self._contended()

    def _announced(self, run: Run) -> list[dict[str, Any]]:
        """The pages that are recorded and not added to the run."""
        numbers = count(run.pages + 1)
        return [*takewhile(bool, (self._get(run.run_id, _page_part(number)) or {} for number in numbers))]

    def _as_owner(self, run_id: str, owner: str, change: Mapping[str, Value]) -> None:
        if not self._update_run(run_id, "leaseOwner = :me", {":me": owner}, change):
            raise LeaseLost(f"Another invocation has taken over run {run_id}")

    def _transact(self, *writes: dict[str, dict[str, Any]]) -> bool:
        """All of the writes or none; False if a condition does not hold."""
        items: Any = [
            {kind: {"TableName": self._table, **write}} for one in writes for kind, write in one.items()
        ]
        for _ in self._attempts():
            with translated(f"writing to {self._table}"):
                try:
                    self._dynamodb.transact_write_items(TransactItems=items)
                except self._dynamodb.exceptions.TransactionCanceledException as error:
                    reasons = {reason.get("Code") for reason in error.response["CancellationReasons"]}
                    if "ConditionalCheckFailed" in reasons:
                        return False
                    if not reasons & _TRANSIENT:
                        raise
                else:
                    return True
        raise self._contended()

    def _attempts(self) -> Iterator[None]:
        return attempts(_TRIES, first=0.04, longest=1.0, sleep=time.sleep)

    def _contended(self) -> AwsError:
        return AwsError(f"DynamoDB kept refusing writes to {self._table}: too many at once")


def _added(run: Run, users: int, checkpoint: Checkpoint, deletions: MissedDeletions | None) -> Run:
    return replace(
        run,
        pages=run.pages + 1,
        total_users=run.total_users + users,
        checkpoint=checkpoint,
        deletions=deletions or run.deletions,
    )


def _progress(run: Run) -> dict[str, Value]:
    # Set, not added up: the SDK repeats a call whose answer was lost.
    values: dict[str, Value] = {
        "pages": run.pages,
        "totalClerkUsers": run.total_users,
        "checkpoint": run.checkpoint.dump(),
    }
    if run.deletions:
        values["deletions"] = json.dumps(asdict(run.deletions))
    return values


def _progress_of_run(
    run: Run, owner: str, until: int, forgotten: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Record what was sent and keep the lease. What was counted of pages that are forgotten is taken off."""
    change = {**_progress(run), "leaseUntil": until}
    counted = [page for page in forgotten if page["state"] != "PENDING"]
    taken_off = {name: -sum(page[name] for page in counted) for name in _COUNTS.values() if counted}
    if counted:
        taken_off["settledPages"] = -len(counted)
    update = _update(change, taken_off, "leaseOwner = :me", {":me": owner})
    return {"Update": {"Key": _key(run.run_id, "run"), **update}}


def _forget(page: dict[str, Any]) -> dict[str, Any]:
    return {
        "Delete": {
            "Key": _key(page["runId"], page["part"]),
            "ConditionExpression": "pageToken = :token AND #state = :before",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": to_item({":token": page["pageToken"], ":before": page["state"]}),
        }
    }


def _settle_page(
    page: dict[str, Any], state: str, counts: Counts, problems: list[UserProblem], findings: list[Finding]
) -> dict[str, Any]:
    counted = {_COUNTS[name]: count for name, count in asdict(counts).items()}
    told = {"problems": _dump(problems), "findings": json.dumps(tally(findings)) if findings else ""}
    update = _update(
        {"state": state, **told, **counted},
        {},
        "pageToken = :token AND #state = :before AND malformedCount = :malformed",
        {":token": page["pageToken"], ":before": page["state"], ":malformed": page["malformedCount"]},
    )
    return {"Update": {"Key": _key(page["runId"], page["part"]), **update}}


def _settle_run(page: dict[str, Any], counts: Counts, only_if: str) -> dict[str, Any]:
    before = Counts(**{name: page.get(told, 0) for name, told in _COUNTS.items()})
    added = {_COUNTS[name]: count for name, count in asdict(counts - before).items()}
    added["settledPages"] = 1 if page["state"] == "PENDING" else 0
    update = _update({}, added, only_if, {})
    return {"Update": {"Key": _key(page["runId"], "run"), **update}}


def _current(mode: Mode) -> str:
    return f"current#{mode}"


def _page_part(number: int) -> str:
    return f"{_PAGE}{number:08}"


def _key(run_id: str, part: str) -> dict[str, dict[str, Any]]:
    return to_item({"runId": run_id, "part": part})


def _update(
    set_: Mapping[str, Value], add: Mapping[str, Value], only_if: str, values: Mapping[str, Value]
) -> dict[str, Any]:
    """The expressions of an update; names that are changed go through placeholders, as many are reserved
    words."""
    parts = []
    if set_:
        parts.append("SET " + ", ".join(f"#{name} = :{name}" for name in set_))
    if add:
        parts.append("ADD " + ", ".join(f"#{name} :{name}" for name in add))
    changed = {f":{name}": value for name, value in {**set_, **add}.items()}
    return {
        "UpdateExpression": " ".join(parts),
        "ConditionExpression": only_if,
        "ExpressionAttributeNames": {f"#{name}": name for name in (*set_, *add)},
        "ExpressionAttributeValues": to_item({**changed, **values}),
    }


def _run_values(run: Run) -> dict[str, Value | None]:
    return {
        "runId": run.run_id,
        "part": "run",
        "mode": run.mode,
        "status": run.status,
        "createMissing": run.create_missing,
        "dryRun": run.dry_run,
        "startedAt": run.started_at,
        "since": run.since,
        "pages": 0,
        "totalClerkUsers": 0,
        "settledPages": 0,
        **dict.fromkeys(_COUNTS.values(), 0),
        "leaseUntil": 0,
        "webhooksSince": run.webhooks_since,
        "fullRunAt": run.full_run_at,
        "expiresAt": _expiry(run),
    }


def _expiry(run: Run) -> int:
    return run.started_at // 1000 + KEPT_SECONDS


def _run(item: dict[str, Any]) -> Run:
    return Run(
        run_id=item["runId"],
        mode=item["mode"],
        create_missing=item["createMissing"],
        dry_run=item["dryRun"],
        started_at=item["startedAt"],
        since=item.get("since"),
        status=item["status"],
        expected_users=item.get("expectedUsers"),
        pages=item["pages"],
        total_users=item["totalClerkUsers"],
        settled_pages=item["settledPages"],
        counts=Counts(**{name: item.get(told, 0) for name, told in _COUNTS.items()}),
        checkpoint=Checkpoint.load(item["checkpoint"]) if "checkpoint" in item else Checkpoint(),
        paged_at=item.get("pagedAt"),
        ended_at=item.get("timestamp"),
        failure=item.get("failure"),
        webhooks_since=item.get("webhooksSince"),
        full_run_at=item.get("fullRunAt"),
        deletions=_deletions(item),
    )


def _deletions(item: dict[str, Any]) -> MissedDeletions | None:
    if "deletions" not in item:
        return None
    told = json.loads(item["deletions"])
    return MissedDeletions(**{**told, "first": tuple(told["first"])})


def _dump(problems: list[UserProblem]) -> str:
    return json.dumps([[p.clerk_user_id, p.reason] for p in problems[:PROBLEMS_SHOWN]])


def _load(dumped: str) -> list[UserProblem]:
    return [UserProblem(*problem) for problem in json.loads(dumped)]


def _given_up(page: dict[str, Any]) -> UserProblem:
    number = _number(page["part"])
    return UserProblem(
        None,
        f"Page {number} ({page['userCount']} users) could not be written; its message is in "
        "PagesDeadLetterQueue. Mend the cause, which the log of WorkerFunction names, and redrive the queue.",
    )


def _number(part: str) -> int:
    return int(part.removeprefix(_PAGE))
