"""The write rule: what a snapshot of a user does to the row that is stored. Pure decisions, no I/O.

For any order, repetition and interleaving of sources, the row ends as if the newest snapshot had been
applied last. Attributes outside OWNED belong to the app and appear in no decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from clerk_sync.attributes import Attribute, Item, attribute, whole_number
from clerk_sync.user import SYNCED_FIELDS, User

VERSION = "clerkUpdatedAt"
DELETED = "clerkDeletedAt"
OWNED = (*SYNCED_FIELDS, VERSION, DELETED)
"""The only attributes that are ever read or written."""

DELETION_GRACE_MS = 10 * 60 * 1000
"""How long after a deletion a listing may still show the user, as Clerk's own reads lag behind."""

_ACTIVITY = ("lastSignInAt", "lastActiveAt")
_GUARDS = (VERSION, DELETED, *_ACTIVITY)


class Verdict(Enum):
    """Why nothing is to be written."""

    UNCHANGED = "unchanged"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Write:
    """A conditional write: it counts only if the row is still the one that was decided upon.

    `expected` is None where there must be no row yet; else what the guarding attributes must still
    be (None: absent).
    """

    user_id: str
    put: Mapping[str, Attribute]
    remove: tuple[str, ...]
    expected: Mapping[str, Attribute | None] | None

    @property
    def creates(self) -> bool:
        """Whether this makes a new row."""
        return self.expected is None


def decide(user: User, row: Item | None, *, as_of: int, create_missing: bool) -> Write | Verdict:
    """What to do about `row` given a snapshot that was read from Clerk at `as_of` (ms)."""
    if row is None:
        if not create_missing:
            return Verdict.SKIPPED
        return Write(user.id, _put(_wanted(user), {}), (), None)
    if _is_outdated(user, row, as_of):
        return Verdict.UNCHANGED
    wanted = _wanted(user)
    if whole_number(row.get(VERSION)) == user.updated_at:
        # Activity moves without a new version, so of two equal versions the later activity is newer.
        wanted |= {name: _later(row.get(name), wanted[name]) for name in _ACTIVITY}
    put = _put(wanted, row)
    remove = tuple(name for name, value in wanted.items() if value is None and name in row)
    if not put and not remove:
        return Verdict.UNCHANGED
    return Write(user.id, put, remove, {name: row.get(name) for name in _GUARDS})


def _is_outdated(user: User, row: Item, as_of: int) -> bool:
    deleted_at = whole_number(row.get(DELETED))
    if deleted_at is not None and as_of <= deleted_at + DELETION_GRACE_MS:
        return True
    stored = whole_number(row.get(VERSION))
    return stored is not None and user.updated_at < stored


def _wanted(user: User) -> dict[str, Attribute | None]:
    wanted: dict[str, Attribute | None] = dict.fromkeys(OWNED)
    wanted |= {name: attribute(value) for name, value in user.fields.items()}
    wanted[VERSION] = attribute(user.updated_at)
    return wanted


def _put(wanted: Mapping[str, Attribute | None], row: Item) -> dict[str, Attribute]:
    return {n: value for n, value in wanted.items() if value is not None and row.get(n) != value}


def _later(stored: Attribute | None, new: Attribute | None) -> Attribute | None:
    stored_ms, new_ms = whole_number(stored), whole_number(new)
    return stored if stored_ms is not None and (new_ms is None or stored_ms > new_ms) else new
