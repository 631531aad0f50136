"""What must be right in RunsTable: at each write, and once a run is over."""

import json
from collections import Counter
from collections.abc import Sequence

from tests.simulation.interruptions.world import (
    Invocation,
    World,
)
from tests.support.fake_dynamodb import Item

COUNTS = ("createdCount", "updatedCount", "unchangedCount", "skippedCount", "errorCount")


class Rules:
    """What must be right at each write, as a later one may hide a wrong one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._holders: dict[str, Invocation | None] = {}
        """Who has the lease of each run, or had it last."""

    def check(self, before: Item, after: Item) -> None:
        item = after or before
        if item["part"].startswith("page#"):
            self._check_page(before, after)
        elif item["part"] == "run" and before:
            changed = {name for name in after if before.get(name) != after[name]}
            self._check_lease(before, changed, is_given_back=not after.get("leaseOwner"))
            if changed & {"pages", "totalClerkUsers", "checkpoint", "pagedAt", "leaseUntil"}:
                self._check_holder(item["runId"])
            if "status" in changed:
                check_verdict(after)

    def _check_lease(self, before: Item, changed: set[str], *, is_given_back: bool) -> None:
        if "leaseOwner" in changed and is_given_back:
            self._check_holder(before["runId"])
        elif "leaseOwner" in changed:
            assert before["leaseUntil"] < self._world.now, "a lease is taken before it is over"
            self._holders[before["runId"]] = self._world.current
        if changed & {"leaseOwner", "pages", "pagedAt"}:
            assert "pagedAt" not in before, "the run is paged after its last page"

    def _check_page(self, before: Item, after: Item) -> None:
        if not (before and after):
            self._check_holder((after or before)["runId"])
        elif self._world.current and (page := self._world.current.page):
            assert page.token == after["pageToken"], "another copy of the page is counted"

    def _check_holder(self, run_id: str) -> None:
        assert self._holders.get(run_id) is self._world.current, "one pages, another has the lease"


def check_verdict(run: Item) -> None:
    assert "pagedAt" in run, f"over before it is paged: {run}"
    assert run["settledPages"] == run["pages"], f"over before its pages are: {run}"
    is_whole = not (run["errorCount"] or run.get("unlistedUsers"))
    due = "COMPLETED" if is_whole else "COMPLETED_WITH_ERRORS"
    assert run["status"] == ("FAILED" if "failure" in run else due), f"not the status due: {run}"


def check_pages(run: Item, pages: Sequence[Item]) -> None:
    numbers = [page["part"] for page in pages]
    assert numbers == [f"page#{number:08}" for number in range(1, run["pages"] + 1)], f"{numbers} of {run}"
    assert run["settledPages"] == run["pages"], f"pages not settled, or twice: {run}"
    states = Counter(page["state"] for page in pages)
    assert set(states) <= {"DONE", "FAILED"}, f"over with pages that are {states}: {run}"
    for name in COUNTS:
        counts = [page[name] for page in pages]
        assert run[name] == sum(counts), f"the pages' {name} are {counts}, but {run}"
    found = [_found(page) for page in pages]
    assert run["findingsCount"] == sum(found), f"the pages' findings are {found}, but {run}"
    assert sum(run[name] for name in COUNTS) == run["totalClerkUsers"], f"the counts don't add up: {run}"


def _found(page: Item) -> int:
    return sum(one["count"] for one in json.loads(page.get("findings") or "{}").values())
