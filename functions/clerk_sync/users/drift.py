"""What is wrong with a row, given what the write rule would do about it. Pure decisions, no I/O."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from typing import Any

from clerk_sync.users.user import Change, User
from clerk_sync.users.write_rule import (
    ACTIVITY,
    DELETED,
    VERSION,
    Row,
    Write,
    number,
    snapshot_version,
    without_future_times,
)

RECENT_MS = 10 * 60 * 1000
"""A webhook may still bring a change that is younger than this, so the row is not wrong yet."""
USERS_NAMED = 20
"""How many users of each kind are named."""


class FindingKind(StrEnum):
    """How a row differs from Clerk. A row is of the first kind that applies. The values are the report's."""

    MISSING = "missing"
    MARKED_BUT_ALIVE = "markedButAlive"
    PLACEHOLDER = "placeholders"
    DRIFTED = "drifted"


@dataclass(frozen=True, slots=True)
class Finding:
    """How a user's row was wrong, and the synced fields that differed.

    `missed_by_webhook`: a webhook should have brought the change.
    """

    kind: FindingKind
    fields: tuple[str, ...]
    missed_by_webhook: bool


Findings = dict[str, dict[str, Any]]
"""By the values of FindingKind: `{"count", "users": [{"clerkUserId", "fields"}, …the first 20]}`."""


@dataclass(frozen=True, slots=True)
class DriftClassifier:
    """Decides whether a row is wrong, or only waits for a change that is on its way.

    `read_at` (ms) is when Clerk was read, `webhooks_since` when the first webhook arrived, if ever, and
    `full_run_at` when the last complete full run began. Only full runs bring `lastActiveAt`, as Clerk sends
    no webhook for it.
    """

    placeholders: re.Pattern[str]
    read_at: int
    webhooks_since: int | None
    full_run_at: int | None

    def classify(self, change: Change, row: Row | None, write: Write, now: int) -> Finding | None:
        """What was wrong with the row that this write corrects; None: nothing. `now` in ms."""
        if not isinstance(change, User) or self._is_recent(change.updated_at):
            return None
        version = snapshot_version(row, now)
        is_new = version is None or version < change.updated_at
        is_missed = is_new and self.webhooks_since is not None and change.updated_at >= self.webhooks_since
        if row is None:
            return Finding(FindingKind.MISSING, (), is_missed)
        future = row.keys() - without_future_times(row, now).keys()
        fields = tuple(name for name in change.names if name in write.changed)
        fields += (VERSION,) if VERSION in future else ()
        if DELETED in write.changed:
            kind = FindingKind.MARKED_BUT_ALIVE
        elif any(self.placeholders.fullmatch(text) for text in _texts(row, fields)):
            kind = FindingKind.PLACEHOLDER
        elif any(name in future or not self._is_expected(change, row, name) for name in fields):
            kind = FindingKind.DRIFTED
        else:
            return None
        return Finding(kind, fields, is_missed)

    def _is_expected(self, user: User, row: Row, name: str) -> bool:
        """Whether a webhook or the next full run will bring this field."""
        if name not in ACTIVITY:
            return False
        in_clerk, stored = number(user.fields, name) or 0, number(row, name) or 0
        if self._is_recent(max(in_clerk, stored)):
            return True
        return name == "lastActiveAt" and self.full_run_at is not None and in_clerk > self.full_run_at

    def _is_recent(self, ms: int) -> bool:
        return ms > self.read_at - RECENT_MS


def placeholder_pattern(globs: Iterable[str]) -> re.Pattern[str]:
    """A pattern that matches what any of the globs, such as `*@example.com`, matches, in any case."""
    patterns = [translate(glob.strip()) for glob in globs if glob.strip()]
    return re.compile("|".join(patterns) or "(?!)", re.IGNORECASE)


def _texts(row: Row, fields: Sequence[str]) -> list[str]:
    """The texts in fields that differ, and the whole name if a part of it differs."""
    texts = {name: text for name, text in row.items() if isinstance(text, str)}
    name = " ".join(texts[part] for part in ("firstName", "lastName") if part in texts)
    differing = [texts[field] for field in fields if field in texts]
    return [*differing, name] if {"firstName", "lastName"} & set(fields) else differing


def group_by_kind(findings: Mapping[str, Finding]) -> Findings:
    """Count findings, given by user id, and keep the first of each kind."""
    return merge(
        {found.kind.value: {"count": 1, "users": [{"clerkUserId": user_id, "fields": list(found.fields)}]}}
        for user_id, found in findings.items()
    )


def merge(parts: Iterable[Findings]) -> Findings:
    """The sum of findings, in order. Every kind is present."""
    total: Findings = {kind.value: {"count": 0, "users": []} for kind in FindingKind}
    for part in parts:
        for kind, group in part.items():
            total[kind]["count"] += group["count"]
            total[kind]["users"] = [*total[kind]["users"], *group["users"]][:USERS_NAMED]
    return total
