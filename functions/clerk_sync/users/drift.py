"""What is wrong with a row, given what the write rule would do about it. Pure decisions, no I/O."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from typing import TypedDict

from clerk_sync.users.row import DELETED, VERSION, Row, number
from clerk_sync.users.user import SYNCED_FIELDS, Change, User
from clerk_sync.users.write_rule import Write

RECENT_MS = 10 * 60 * 1000
"""A change this young may still be on its way by webhook, so a row that lacks it is not wrong yet."""


SHOWN = 20
"""How many users of each kind are named."""


class Kind(StrEnum):
    """How a row differs from Clerk; of those that apply, the first. The values are the report's own names."""

    MISSING = "missing"
    MARKED_BUT_ALIVE = "markedButAlive"
    PLACEHOLDER = "placeholders"
    DRIFTED = "drifted"


@dataclass(frozen=True, slots=True)
class Finding:
    """One user whose row was wrong, and the names of the synced fields that differed.

    `is_missed` means that a webhook should have told the table.
    """

    user_id: str
    kind: Kind
    fields: tuple[str, ...]
    is_missed: bool


@dataclass(frozen=True, slots=True)
class DriftClassifier:
    """Tells what is wrong from what merely is under way.

    `read_at` (ms) is when Clerk was read, `webhooks_since` when it began to send webhooks, if ever, and
    `full_run_at` when the last complete full run began: `lastActiveAt` moves without Clerk's telling, so a
    later one is news to nobody but the next full run.
    """

    placeholders: re.Pattern[str]
    read_at: int
    webhooks_since: int | None
    full_run_at: int | None

    def finding(self, change: Change, row: Row | None, write: Write) -> Finding | None:
        """What was wrong with the row that this write puts right; None if nothing was."""
        if not isinstance(change, User) or change.updated_at > self.read_at - RECENT_MS:
            return None
        fields = tuple(name for name in SYNCED_FIELDS if name in write.put or name in write.remove)
        kind = self._kind(change, row, write, fields)
        if kind is None:
            return None
        return Finding(change.id, kind, fields if row else (), self._is_missed(change, row))

    def _kind(self, user: User, row: Row | None, write: Write, fields: tuple[str, ...]) -> Kind | None:
        if row is None:
            return Kind.MISSING
        if DELETED in write.remove:
            return Kind.MARKED_BUT_ALIVE
        if any(self.placeholders.fullmatch(text) for text in _texts(row, fields)):
            return Kind.PLACEHOLDER
        if not fields or (fields == ("lastActiveAt",) and self._is_news(user)):
            return None
        return Kind.DRIFTED

    def _is_news(self, user: User) -> bool:
        return self.full_run_at is not None and int(user.fields.get("lastActiveAt", 0)) > self.full_run_at

    def _is_missed(self, user: User, row: Row | None) -> bool:
        if self.webhooks_since is None or user.updated_at < self.webhooks_since:
            return False
        version = number(row, VERSION) if row else None
        return version is None or version < user.updated_at


def placeholder_pattern(globs: Iterable[str]) -> re.Pattern[str]:
    """Matches what any of the globs, such as `*@example.com`, does, in any case."""
    patterns = [translate(glob.strip()) for glob in globs if glob.strip()]
    return re.compile("|".join(patterns) or "(?!)", re.IGNORECASE)


def _texts(row: Row, fields: tuple[str, ...]) -> list[str]:
    """The texts in fields that differ, and the whole name if a part of it does."""
    texts = {name: text for name in SYNCED_FIELDS if isinstance(text := row.get(name), str)}
    name = " ".join(texts[part] for part in ("firstName", "lastName") if part in texts)
    differing = [texts[field] for field in fields if field in texts]
    return [*differing, name] if {"firstName", "lastName"} & set(fields) else differing


class FoundUser(TypedDict):
    """One user of a tally."""

    clerkUserId: str
    fields: list[str]


class Found(TypedDict):
    """How many there are of one kind, and the first of them."""

    count: int
    users: list[FoundUser]


Tally = dict[str, Found]
"""What was found, by the values of Kind."""


def tally(findings: Iterable[Finding]) -> Tally:
    """Count findings by kind, and keep the first of each."""
    return merged(
        {f.kind.value: {"count": 1, "users": [{"clerkUserId": f.user_id, "fields": list(f.fields)}]}}
        for f in findings
    )


def merged(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies, in order; every kind is there."""
    total: Tally = {kind.value: {"count": 0, "users": []} for kind in Kind}
    for one in tallies:
        for kind, found in one.items():
            total[kind]["count"] += found["count"]
            total[kind]["users"] = [*total[kind]["users"], *found["users"]][:SHOWN]
    return total
