"""The write rule: what a change in Clerk does to the row that is stored. Pure decisions, no I/O.

In whatever order changes arrive, and however often, the row ends the same: with the newest snapshot's
fields, the latest activity, and a mark if the user was deleted. Attributes outside OWNED belong to the app
and appear in no decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from clerk_sync.aws.dynamodb import Attribute, Item, attribute, whole_number
from clerk_sync.users.user import SYNCED_FIELDS, Change, Deletion, SignIn, User

VERSION = "clerkUpdatedAt"
DELETED = "clerkDeletedAt"
OWNED = (*SYNCED_FIELDS, VERSION, DELETED)
"""The only attributes that are ever read or written."""

DELETION_GRACE_MS = 10 * 60 * 1000
"""How long after a deletion a snapshot may still show the user, as Clerk's own reads lag behind. One that
was read later still shows that the mark is wrong."""

ACTIVITY = ("lastSignInAt", "lastActiveAt")
_GUARDS = (VERSION, DELETED, *ACTIVITY)


def type_of(name: str) -> str:
    """The DynamoDB type of an owned attribute: those whose names end so are times (ms)."""
    return "N" if name.endswith("At") else "S"


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


@dataclass(frozen=True, slots=True)
class BlindWrite:
    """A conditional write for a row that nobody has read, which saves reading it.

    It is what `decide` would write wherever its condition holds: every attribute of `below` is absent
    or a number below that one, those of `absent` are absent and those of `present` are there.
    `may_create`: no row at all will do as well.
    """

    user_id: str
    put: Mapping[str, Attribute]
    remove: tuple[str, ...]
    below: Mapping[str, int]
    absent: tuple[str, ...]
    present: tuple[str, ...]
    may_create: bool


def decide(change: Change, row: Item | None, *, as_of: int, create_missing: bool) -> Write | Verdict:
    """What to do about `row`, or about there being none, given a change.

    `as_of` (ms) is when a snapshot was read from Clerk; it says nothing of a deletion or a sign-in.
    """
    if row is None and not create_missing:
        return Verdict.SKIPPED
    wanted = _wanted(change, row or {}, as_of)
    put = {n: value for n, value in wanted.items() if value is not None and (row or {}).get(n) != value}
    if row is None:
        return Write(change.id, put, (), None)
    remove = tuple(name for name, value in wanted.items() if value is None and name in row)
    if not put and not remove:
        return Verdict.UNCHANGED
    return Write(change.id, put, remove, {name: row.get(name) for name in _GUARDS})


def decide_blindly(change: Change, *, create_missing: bool) -> BlindWrite:
    """The write that a change most often means, for a row that was not read: an event that is news."""
    match change:
        case Deletion():
            put = {DELETED: attribute(change.at)}
            return BlindWrite(change.id, put, (), {DELETED: change.at}, (), (), create_missing)
        case SignIn():
            put = dict.fromkeys(ACTIVITY, attribute(change.at))
            below = dict.fromkeys((VERSION, *ACTIVITY), change.at)
            return BlindWrite(change.id, put, (), below, (), (VERSION,), may_create=False)
        case User():
            put = {name: attribute(value) for name, value in change.fields.items()}
            put[VERSION] = attribute(change.updated_at)
            remove = tuple(name for name in SYNCED_FIELDS if name not in change.fields)
            below = {VERSION: change.updated_at, **dict.fromkeys(ACTIVITY, change.updated_at + 1)}
            return BlindWrite(change.id, put, remove, below, (DELETED,), (), create_missing)


def _wanted(change: Change, row: Item, as_of: int) -> dict[str, Attribute | None]:
    """What the attributes that this change is about should be; None: absent."""
    at = None if isinstance(change, User) else attribute(change.at)
    match change:
        case Deletion():
            return {DELETED: _later(row.get(DELETED), at)}
        case SignIn():
            if (whole_number(row.get(VERSION)) or 0) >= change.at:
                return {}  # the row is from later, and so are its times
            # Version 0 tells the row from one that the app made up: its activity is Clerk's.
            version = row.get(VERSION, attribute(0))
            synced = row if VERSION in row else {}
            return {VERSION: version, **{name: _later(synced.get(name), at) for name in ACTIVITY}}
        case User():
            return _snapshot(change, row, as_of)


def _snapshot(user: User, row: Item, as_of: int) -> dict[str, Attribute | None]:
    stored = whole_number(row.get(VERSION))
    if stored is not None and user.updated_at < stored:
        return {}
    deleted_at = whole_number(row.get(DELETED))
    is_alive = deleted_at is None or as_of > deleted_at + DELETION_GRACE_MS
    mark = {DELETED: None if is_alive else row.get(DELETED)}
    wanted: dict[str, Attribute | None] = dict.fromkeys(SYNCED_FIELDS)
    wanted |= {name: attribute(value) for name, value in user.fields.items()}
    wanted |= {name: _activity(row, name, wanted[name], user.updated_at) for name in ACTIVITY}
    return wanted | mark | {VERSION: attribute(user.updated_at)}


def _activity(row: Item, name: str, new: Attribute | None, version: int) -> Attribute | None:
    """A snapshot's activity, unless the row's is later and nothing that this version can know of: activity
    moves without a new version, and a sign-in may be told of alone."""
    stored, stored_version = row.get(name), whole_number(row.get(VERSION))
    if stored_version is None:
        return new  # never synced: what is stored is the app's own idea
    is_newer = version > stored_version and (whole_number(stored) or 0) <= version
    return new if is_newer else _later(stored, new)


def _later(stored: Attribute | None, new: Attribute | None) -> Attribute | None:
    stored_ms, new_ms = whole_number(stored), whole_number(new)
    return stored if stored_ms is not None and (new_ms is None or stored_ms > new_ms) else new
