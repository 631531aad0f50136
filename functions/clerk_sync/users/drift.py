"""What is wrong with a row, given what the write rule would do about it. Pure decisions, no I/O."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from typing import TypedDict

from clerk_sync.users.row import ACTIVITY, DELETED, VERSION, Row, future_times, number, snapshot_version
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

    def finding(self, change: Change, row: Row | None, write: Write, now: int) -> Finding | None:
        """What was wrong with the row that this write puts right; None if nothing was. `now` in ms."""
        if not isinstance(change, User) or self._is_recent(change.updated_at):
            return None
        future = future_times(row or {}, now)
        fields = tuple(name for name in SYNCED_FIELDS if name in write.changed)
        fields += (VERSION,) if VERSION in future else ()
        expected = [name for name in fields if name not in future and self._is_expected(change, row, name)]
        kind = self._kind(row, write, fields, is_drift=len(expected) < len(fields))
        if kind is None:
            return None
        return Finding(change.id, kind, () if row is None else fields, self._is_missed(change, row, now))

    def _kind(self, row: Row | None, write: Write, fields: Sequence[str], *, is_drift: bool) -> Kind | None:
        if row is None:
            return Kind.MISSING
        if DELETED in write.changed:
            return Kind.MARKED_BUT_ALIVE
        if any(self.placeholders.fullmatch(text) for text in _texts(row, fields)):
            return Kind.PLACEHOLDER
        return Kind.DRIFTED if is_drift else None

    def _is_expected(self, user: User, row: Row | None, name: str) -> bool:
        """Whether this field may still differ: a webhook or the next full run will bring it."""
        if name not in ACTIVITY:
            return False
        in_clerk, stored = number(user.fields, name) or 0, number(row or {}, name) or 0
        if self._is_recent(max(in_clerk, stored)):
            return True
        return name == "lastActiveAt" and self.full_run_at is not None and in_clerk > self.full_run_at

    def _is_recent(self, ms: int) -> bool:
        return ms > self.read_at - RECENT_MS

    def _is_missed(self, user: User, row: Row | None, now: int) -> bool:
        if self.webhooks_since is None or user.updated_at < self.webhooks_since:
            return False
        version = snapshot_version(row, now)
        return version is None or version < user.updated_at


def placeholder_pattern(globs: Iterable[str]) -> re.Pattern[str]:
    """Matches what any of the globs, such as `*@example.com`, does, in any case."""
    patterns = [translate(glob.strip()) for glob in globs if glob.strip()]
    return re.compile("|".join(patterns) or "(?!)", re.IGNORECASE)


def _texts(row: Row, fields: Sequence[str]) -> list[str]:
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
