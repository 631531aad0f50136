"""The page ledger: what RunsTable has of each page of a run, from before it is sent to its outcome.

A page is PENDING, then DONE, or FAILED when its message is about to end in the dead-letter queue. It is
recorded before its message is sent, and added to the run when the next ones are recorded. An invocation that
is cut off in between leaves a few pages that its successor finds: see `recover`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import count, takewhile
from operator import sub
from typing import Any

from clerk_sync.aws.items import Items, Value, Write, delete, put, update
from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.errors import LeaseLost, PageOutdated
from clerk_sync.runs import page_record
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.page import Page, PageOutcome
from clerk_sync.runs.page_record import PageRecord, PendingPage, dump_plan, dump_problems, load_plan
from clerk_sync.runs.run import PROBLEMS_SHOWN, Run
from clerk_sync.runs.runs_table import RUN, load_deletions, progress
from clerk_sync.users.drift import Findings, merge
from clerk_sync.users.upsert import Plan
from clerk_sync.users.user import UserProblem

_TRIES = 10


@dataclass(frozen=True, slots=True)
class PageLedger:
    """Every method raises AwsError when DynamoDB refuses or throttles a call."""

    items: Items

    # While the run is paged

    def record_pending(self, run: Run, owner: str, pages: Sequence[PendingPage], until: int) -> None:
        """Record the run's next pages before their messages are sent, as well as those that were sent before,
        and keep the lease until then (ms). Raises LeaseLost."""
        puts = []
        for number, page in enumerate(pages, run.pages + 1):
            # A page that is read again replaces what was read for it before.
            reading = put(page_record.new_reading(run, number, page), only_if="")
            puts += [put(page_record.new_record(run, number, page)), reading]
        if not self.items.transact(*puts, _record_progress(run, owner, until)):
            raise LeaseLost(f"Another invocation is paging run {run.run_id}")

    def recover(self, run: Run, owner: str, until: int) -> Run | None:
        """Add the pages that an earlier invocation was cut off at, and return the run as it is then, with its
        checkpoint.

        Those that have an outcome count, up to the first that has none. Whether that one's message was ever
        sent is unknown: it and those after it are deleted, to be read again under other tokens, and no
        outcome of the old messages will count. None if a page got an outcome meanwhile, or the lease is lost.
        """
        left = self._not_added(run)
        settled = [*takewhile(lambda page: page["state"] != "PENDING", left)]
        for page in settled:
            users = page["userCount"] + page["malformedCount"]
            run = run.with_page(users, run.checkpoint, load_deletions(page))
        run = replace(run, checkpoint=self._checkpoint(run))
        if not left:
            return run
        deleted = left[len(settled) :]
        progress = _record_progress(run, owner, until, deleted)
        return run if self.items.transact(*map(_delete, deleted), progress) else None

    # While the workers write it

    def plan(self, page: Page) -> Plan | None:
        """What earlier deliveries of this message were to do. None if its outcome would not count: the page
        is done, or it was read again or continued in another message."""
        record = self._page(page.run_id, page.number)
        if not record or record["pageToken"] != page.token or record["state"] == "DONE":
            return None
        part = record.get("plannedPart", -1)
        if part < page.part:
            return {}
        ids = [change.id for change in page.changes]
        return load_plan(record["plannedWrites"], ids) if part == page.part else None

    def record_plan(self, page: Page, plan: Plan) -> None:
        """Record what the page found and will do, before its first write. Raises PageOutdated, as `plan` is
        None."""
        ids = [change.id for change in page.changes]
        if not self.items.update(
            page.run_id,
            page_record.part_of(page.number),
            "pageToken = :token AND (#state = :pending OR #state = :failed) AND "
            "(attribute_not_exists(plannedPart) OR plannedPart <= :part)",
            {":token": page.token, ":pending": "PENDING", ":failed": "FAILED", ":part": page.part},
            set_={"plannedWrites": dump_plan(plan, ids), "plannedPart": page.part},
        ):
            raise PageOutdated

    def record_outcome_fast(self, run_id: str, number: int, token: str, outcome: PageOutcome) -> bool:
        """Record a page's outcome as `record_outcome` does, in one request.

        It does so for nearly every page: one that is pending, has no malformed users and is not the last one
        left of its run. False if the page may be another one; then nothing is recorded.
        """
        key = {"runId": run_id, "part": page_record.part_of(number), "pageToken": token}
        page = {**key, "state": "PENDING", "malformedCount": 0}
        is_not_last = (
            "attribute_exists(runId) AND (attribute_not_exists(pagedAt) OR settledPages < pagesButOne)"
        )
        return self._record(page, "DONE", outcome, is_not_last)

    def record_outcome(self, run_id: str, number: int, token: str, outcome: PageOutcome | None) -> bool:
        """Count a page's outcome in its run, once however often it is called, correcting an earlier one.

        `outcome` None means that the page is given up. Returns whether anything was counted: not for a page
        that is done, and not for a copy with another token.
        """
        state = "FAILED" if outcome is None else "DONE"
        for _ in range(_TRIES):
            page = self._page(run_id, number)
            if not page or page["pageToken"] != token or page["state"] in ("DONE", state):
                return False
            counted = outcome or PageOutcome(Counts(errors=page["userCount"]))
            counted += PageOutcome(Counts(errors=page["malformedCount"]))
            if self._record(page, state, counted, "attribute_exists(runId)"):
                return True
        return False

    def _record(self, page: PageRecord, state: str, outcome: PageOutcome, only_if: str) -> bool:
        """Record a page's outcome, and add to its run what was not counted of it before; False if the page is
        not as it was, or the condition on the run does not hold."""
        values = {":token": page["pageToken"], ":was": page["state"], ":malformed": page["malformedCount"]}
        added = (outcome.counts - Counts.load(page)).dump()
        added["settledPages"] = 1 if page["state"] == "PENDING" else 0
        added["givenUpPages"] = (state == "FAILED") - (page["state"] == "FAILED")
        return self.items.transact(
            update(
                page["runId"],
                page["part"],
                "pageToken = :token AND #state = :was AND malformedCount = :malformed",
                values,
                set_={
                    "state": state,
                    "problems": dump_problems(outcome.problems),
                    "findings": json.dumps(outcome.findings) if outcome.counts.findings else "",
                    **outcome.counts.dump(),
                },
            ),
            update(page["runId"], RUN, only_if, {}, add=added),
        )

    # What it holds

    def pending_pages(self, run: Run) -> list[tuple[int, str]]:
        """Number and token of the run's pages that have no outcome yet."""
        return [
            (number, page["pageToken"])
            for page in self._pages(run.run_id, "#state = :value", "PENDING")
            if (number := page_record.number_of(page)) <= run.pages
        ]

    def problems(self, run: Run) -> list[UserProblem]:
        """The first problems of the run, in the order of its pages."""
        problems: list[UserProblem] = []
        if not run.counts.errors:
            return problems
        for page in self._pages(run.run_id, "errorCount > :value", 0):
            problems += page_record.problems(page)
            if len(problems) >= PROBLEMS_SHOWN:
                break
        return problems[:PROBLEMS_SHOWN]

    def findings(self, run_id: str) -> Findings:
        """What the workers found wrong with the rows."""
        pages = self._pages(run_id, "findings > :value", "")
        return merge(json.loads(page["findings"]) for page in pages)

    def id_digests(self, run_id: str) -> Iterator[bytes]:
        """The digests of the ids that Clerk listed, page by page."""
        readings = self.items.query(run_id, page_record.READING, "expiresAt > :value", 0)
        return (reading["ids"] for reading in readings)

    def _pages(self, run_id: str, only_if: str, value: Value) -> Iterator[dict[str, Any]]:
        return self.items.query(run_id, page_record.PAGE, only_if, value)

    def _page(self, run_id: str, number: int) -> dict[str, Any] | None:
        return self.items.get(run_id, page_record.part_of(number))

    def _checkpoint(self, run: Run) -> Checkpoint:
        part = page_record.reading_of(run.pages)
        reading = self.items.get(run.run_id, part) if run.pages else None
        return Checkpoint.load(reading["checkpoint"]) if reading else Checkpoint()

    def _not_added(self, run: Run) -> list[dict[str, Any]]:
        """The pages that are recorded and not added to the run."""
        pages = (self._page(run.run_id, number) or {} for number in count(run.pages + 1))
        return [*takewhile(bool, pages)]


def _record_progress(run: Run, owner: str, until: int, deleted: Sequence[PageRecord] = ()) -> Write:
    """Record in the run what was sent, and keep the lease until then (ms). What was counted of the pages
    that are deleted with it is subtracted."""
    counted = [page for page in deleted if page["state"] != "PENDING"]
    subtracted = {}
    if counted:
        counts = reduce(sub, map(Counts.load, counted), Counts())
        given_up = sum(page["state"] == "FAILED" for page in counted)
        subtracted = {**counts.dump(), "settledPages": -len(counted), "givenUpPages": -given_up}
    change = {**progress(run), "leaseUntil": until}
    return update(run.run_id, RUN, "leaseOwner = :me", {":me": owner}, set_=change, add=subtracted)


def _delete(page: PageRecord) -> Write:
    values = {":token": page["pageToken"], ":was": page["state"]}
    return delete(page["runId"], page["part"], "pageToken = :token AND #state = :was", values)
