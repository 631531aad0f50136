"""A page as RunsTable has it: the attributes of its record, and of what was read for it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import compress, decompress

from pydantic import TypeAdapter, ValidationError

from clerk_sync.aws.items import Value
from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.runs.run import PROBLEMS_SHOWN, MissedDeletions, Run
from clerk_sync.text import counted
from clerk_sync.users.upsert import Plan, Planned
from clerk_sync.users.user import UserProblem

PAGE = "page#"
READING = "reading#"

PageRecord = Mapping[str, Any]
_PLANS = TypeAdapter(list[Planned | None])


@dataclass(frozen=True, slots=True)
class PendingPage:
    """A page that is about to be sent.

    `token` and `body` are its message's, `users` how many it holds; `malformed` are those that it leaves out.
    `checkpoint` is the listing's after it, `ids` are the digests of all their ids. `deletions` is what an
    audit found, on the page that marks those users.
    """

    token: str
    body: str
    users: int
    malformed: list[UserProblem]
    checkpoint: Checkpoint
    ids: bytes | None = None
    deletions: MissedDeletions | None = None

    def added_to(self, run: Run) -> Run:
        """The run once this page is sent."""
        return run.with_page(self.users + len(self.malformed), self.checkpoint, self.deletions)


def part_of(number: int) -> str:
    """The part of a page's record."""
    return f"{PAGE}{number:08}"


def reading_of(number: int) -> str:
    """The part of what was read for a page."""
    return f"{READING}{number:08}"


def number_of(page: PageRecord) -> int:
    """The reverse of `part_of`."""
    return int(page["part"].removeprefix(PAGE))


def new_record(run: Run, number: int, page: PendingPage) -> dict[str, Value | None]:
    """The record of a page before it is sent."""
    return {
        "runId": run.run_id,
        "part": part_of(number),
        "pageToken": page.token,
        "state": "PENDING",
        "userCount": page.users,
        "malformedCount": len(page.malformed),
        "malformed": dump_problems(page.malformed),
        "deletions": page.deletions.model_dump_json() if page.deletions else None,
        "expiresAt": run.expires_at,
    }


def new_reading(run: Run, number: int, page: PendingPage) -> dict[str, Value | None]:
    """What was read for a page, and how far the listing was then. As it never changes, it is not part of
    the page's record or the run's: DynamoDB charges an item's whole size for each change."""
    return {
        "runId": run.run_id,
        "part": reading_of(number),
        "checkpoint": page.checkpoint.dump(),
        "ids": page.ids or b"",
        "expiresAt": run.expires_at,
    }


def problems(page: PageRecord) -> list[UserProblem]:
    """The first problems of a page. If it ended in the dead-letter queue, that is one, before its users'."""
    found = json.loads(page["malformed"]) + json.loads(page["problems"])
    if page["state"] == "FAILED":
        number, users = number_of(page), counted(page["userCount"], "user")
        reason = (
            f"Page {number} ({users}) could not be written; its message is in PagesDeadLetterQueue. Fix the "
            "cause, which the log of WorkerFunction names, and redrive the queue."
        )
        found.insert(0, (None, reason))
    return [UserProblem(*problem) for problem in found]


def dump_problems(problems: Sequence[UserProblem]) -> str:
    """The `malformed` or the `problems` of a page: the first of them."""
    return json.dumps([[p.clerk_user_id, p.reason] for p in problems[:PROBLEMS_SHOWN]])


def dump_plan(plan: Plan, user_ids: Sequence[str]) -> bytes:
    """What a page is to write, with an entry for each of its users. Compressed, as DynamoDB charges by the
    KB."""
    return compress(_PLANS.dump_json([plan.get(user_id) for user_id in user_ids]))


def load_plan(dumped: bytes, user_ids: Sequence[str]) -> Plan:
    """The reverse of `dump_plan`; empty for the plan of a version with another format."""
    try:
        plans = zip(user_ids, _PLANS.validate_json(decompress(dumped)), strict=True)
    except ValidationError:
        return {}
    return {user_id: planned for user_id, planned in plans if planned}
