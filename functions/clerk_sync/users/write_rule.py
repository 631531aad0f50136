"""The write rule: what a change in Clerk does to the row that is stored. Pure decisions, no I/O.

In whatever order changes arrive, and however often, the row ends the same: with the newest snapshot's
fields, the latest activity, and a mark if the user was deleted. Values outside OWNED belong to the app
and appear in no decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from clerk_sync.users.row import ACTIVITY, DELETED, VERSION, Row, Value, number
from clerk_sync.users.user import SYNCED_FIELDS, Change, Deletion, SignIn, User

DELETION_GRACE_MS = 10 * 60 * 1000
"""How long after a deletion a snapshot may still show the user, as Clerk's own reads lag behind. One that
was read later still shows that the mark is wrong."""

_GUARDS = (VERSION, DELETED, *ACTIVITY)


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
    put: Mapping[str, Value]
    remove: tuple[str, ...]
    expected: Mapping[str, Value | None] | None

    @property
    def creates(self) -> bool:
        """Whether this makes a new row."""
        return self.expected is None


def decide(change: Change, row: Row | None, *, as_of: int, create_missing: bool) -> Write | Verdict:
    """What to do about `row`, or about there being none, given a change.

    `as_of` (ms) is when a snapshot was read from Clerk; it says nothing of a deletion or a sign-in.
    """
    if row is None and not create_missing:
        return Verdict.SKIPPED
    wanted = _wanted(change, row or {}, as_of)
    put = {
        name: value for name, value in wanted.items() if value is not None and (row or {}).get(name) != value
    }
    if row is None:
        return Write(change.id, put, (), None)
    remove = tuple(name for name, value in wanted.items() if value is None and name in row)
    if not put and not remove:
        return Verdict.UNCHANGED
    return Write(change.id, put, remove, {name: row.get(name) for name in _GUARDS})


def _wanted(change: Change, row: Row, as_of: int) -> dict[str, Value | None]:
    """What the attributes that this change is about should be; None: absent."""
    match change:
        case Deletion():
            return {DELETED: _later(row.get(DELETED), change.at)}
        case SignIn():
            if (number(row, VERSION) or 0) >= change.at:
                return {}  # the row is from later, and so are its times
            # Version 0 tells the row from one that the app made up: its activity is Clerk's.
            version = row.get(VERSION, 0)
            synced = row if VERSION in row else {}
            return {VERSION: version, **{name: _later(synced.get(name), change.at) for name in ACTIVITY}}
        case User():
            return _snapshot(change, row, as_of)


def _snapshot(user: User, row: Row, as_of: int) -> dict[str, Value | None]:
    stored = number(row, VERSION)
    if stored is not None and user.updated_at < stored:
        return {}
    deleted_at = number(row, DELETED)
    is_alive = deleted_at is None or as_of > deleted_at + DELETION_GRACE_MS
    mark = {DELETED: None if is_alive else row.get(DELETED)}
    wanted: dict[str, Value | None] = dict.fromkeys(SYNCED_FIELDS)
    wanted |= user.fields
    wanted |= {name: _activity(row, name, wanted[name], user.updated_at) for name in ACTIVITY}
    return wanted | mark | {VERSION: user.updated_at}


def _activity(row: Row, name: str, new: Value | None, version: int) -> Value | None:
    """A snapshot's activity, unless the row's is later and nothing that this version can know of: activity
    moves without a new version, and a sign-in may be told of alone."""
    stored_version = number(row, VERSION)
    if stored_version is None:
        return new  # never synced: what is stored is the app's own idea
    is_newer = version > stored_version and (number(row, name) or 0) <= version
    return new if is_newer else _later(row.get(name), new)


def _later(stored: Value | None, new: Value | None) -> Value | None:
    is_later = isinstance(stored, int) and (not isinstance(new, int) or stored > new)
    return stored if is_later else new
