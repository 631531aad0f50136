"""What must be right once all runs of an episode are over."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clerk_sync.runs.id_digests import IdSet
from clerk_sync.runs.page import Page
from tests.simulation.interruptions.rules import check_pages, check_verdict
from tests.simulation.interruptions.services import ClerkUsers, InterruptedQueue, InterruptedUsersTable
from tests.simulation.interruptions.world import World
from tests.support.fake_dynamodb import FakeDynamoDB, Item


def runs_of(dynamodb: FakeDynamoDB) -> list[Item]:
    """The records of all runs."""
    return [item for (_, part), item in dynamodb.items.items() if part == "run"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The services of an episode, as they are at its end."""

    _world: World
    _users: ClerkUsers
    _queue: InterruptedQueue
    _users_table: InterruptedUsersTable
    _dynamodb: FakeDynamoDB

    def check(self, orphans_at: Mapping[str, set[str]]) -> None:
        """`orphans_at` holds the orphans that there were when a run was started, by its id."""
        assert runs_of(self._dynamodb), "there is no run"
        assert self._world.events["stalled"] or not self._world.events["lease_lost"], (
            "the lease is lost without a stall"
        )
        for run in runs_of(self._dynamodb):
            assert run["status"] != "RUNNING", f"a run is never over: {run}"
            pages = self._parts("page#", "runId", run["runId"])
            check_pages(run, pages)
            self._check_status(run, pages)
            self._check_users(run, pages)
            if run["mode"] == "audit" and run["status"] == "COMPLETED":
                self._check_deletions(run, pages, orphans_at[run["runId"]])

    def _check_status(self, run: Item, pages: Sequence[Item]) -> None:
        dead = {Page.load(message.body).token for message in self._queue.dead}
        given_up = {page["pageToken"] for page in pages if page["state"] == "FAILED"}
        assert given_up <= dead, f"pages given up that no redrive brings back: {given_up - dead}"
        # A worker that is killed between its last page's count and the run's status leaves that to a redrive.
        is_final = dead.isdisjoint(page["pageToken"] for page in pages if page["state"] == "DONE")
        if is_final:
            check_verdict(run)

    def _check_users(self, run: Item, pages: Sequence[Item]) -> None:
        listed = [user_id for page in pages for user_id in self._users_of(page)]
        marked = [deletion.id for page in pages for deletion in self._sent(page).deletions]
        total = run["totalClerkUsers"]
        assert len(listed) + len(marked) == total, f"{total} users, but {listed} and {marked}"
        assert len(set(listed)) == len(listed), f"users that count twice: {listed}"
        known = IdSet(item["ids"] for item in self._parts("reading#", "runId", run["runId"]))
        assert all(user_id in known for user_id in listed), "users that were listed leave no digest"
        if run["status"] == "FAILED":
            return
        users = self._users
        awaited = {user_id for user_id, since in users.known_since.items() if since <= run["startedAt"]}
        awaited -= users.gone_since.keys()
        # Users who are gone, or came, by the end of a list that was cut may hide that others are missing.
        has_churn = users.gone_since or self._world.events["signed_up"]
        if not (run.get("unlistedUsers") or (self._world.events["cut_short"] and has_churn)):
            assert set(listed) >= awaited, f"users that do not count: {awaited - set(listed)}"
        if run["dryRun"]:
            return
        done = {user_id for page in pages if page["state"] == "DONE" for user_id in self._users_of(page)}
        stored = {payload["id"] for payload in users.payloads if "updated_at" in payload} & done
        assert stored <= self._users_table.rows.keys(), "users that count and are not in the table"

    def _check_deletions(self, run: Item, pages: Sequence[Item], orphans: set[str]) -> None:
        found = json.loads(run["deletions"])
        marked = [deletion.id for page in pages for deletion in self._sent(page).deletions]
        assert found["sent"] == len(marked), f"{marked} are marked, but not in the record: {found}"
        alive = set(self._users.ids())
        assert alive.isdisjoint(found["first"]), f"reported and alive: {alive & set(found['first'])}"
        left = orphans & self._users_table.orphans()
        if found["held_back"]:
            self._world.note("held_back", found["held_back"])
        elif run["dryRun"]:
            assert left <= set(found["first"]), f"not reported: {left - set(found['first'])}"
        else:
            assert not left, f"not marked: {left}"

    def _users_of(self, page: Item) -> list[str]:
        users = [user.id for user in self._sent(page).users]
        return users + [user_id for user_id, _ in json.loads(page["malformed"])]

    def _sent(self, page: Item) -> Page:
        assert page["pageToken"] in self._queue.sent, f"a page counts that was never sent: {page}"
        return self._queue.sent[page["pageToken"]]

    def _parts(self, prefix: str, name: str, value: str) -> list[Item]:
        """The items of which this is true, and whose part begins with the prefix."""
        return [
            item
            for (_, part), item in sorted(self._dynamodb.items.items())
            if part.startswith(prefix) and item[name] == value
        ]
