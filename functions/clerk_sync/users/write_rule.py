"""The write rule: what a change in Clerk does to the row that is stored. Pure decisions, no I/O.

Changes may arrive in any order, more than once, and interleaved: the row ends as if the newest snapshot had
been applied last, with a mark if the user was deleted. Attributes that the sync does not own have no effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from clerk_sync.clock import is_from_future
from clerk_sync.users.fields import Names
from clerk_sync.users.user import Change, Deletion, SignIn, User
from clerk_sync.users.values import Value

VERSION = "clerkUpdatedAt"
DELETED = "clerkDeletedAt"
SIGNED_IN = "lastSignInAt"
ACTIVITY = (SIGNED_IN, "lastActiveAt")
GUARDS = (VERSION, DELETED, *ACTIVITY)
"""The times that the write rule compares. A write takes effect only while they are as they were read."""

NO_SNAPSHOT = 0
"""The version of a row that a sign-in alone created. No snapshot has it."""

type Row = Mapping[str, Value]
"""The attributes that the sync owns, without the key. An absent attribute has no entry."""

DELETION_GRACE_MS = 10 * 60 * 1000
"""How long after a deletion a snapshot may still show the user, because Clerk's own reads lag behind. A
snapshot that was read later shows that the mark is wrong."""


@dataclass(frozen=True, slots=True)
class Write:
    """A conditional write: it takes effect only if the row is still as it was read.

    `expected` is None where there must be no row yet; else it holds what the attributes of GUARDS must still
    be (None: absent). `changed` names the attributes that get another value. A snapshot writes its other
    fields too: one that was right when it was read may have been repaired to an older value since.
    """

    user_id: str
    put: Mapping[str, Value]
    remove: tuple[str, ...]
    expected: Mapping[str, Value | None] | None
    changed: tuple[str, ...] = ()

    @property
    def creates(self) -> bool:
        return self.expected is None


def decide(change: Change, row: Row | None, *, as_of: int, now: int, create_missing: bool) -> Write | None:
    """What to write for this change, given the stored row or None. None: nothing.

    `as_of` (ms) is when a snapshot was read from Clerk; deletions and sign-ins carry their own time. `now`
    (ms) is the clock's: a stored time more than a day ahead of it counts as absent, and is not kept.
    """
    if row is None and not create_missing:
        return None
    stored = row or {}
    known = without_future_times(stored, now)
    wanted = {name: None for name in stored if name not in known} | _wanted(change, known, as_of)
    changed = tuple(name for name, value in wanted.items() if stored.get(name) != value)
    if not changed:
        return None
    put = {name: value for name, value in wanted.items() if value is not None}
    if row is None:
        return Write(change.id, put, (), None, changed)
    remove = tuple(name for name, value in wanted.items() if value is None)
    return Write(change.id, put, remove, {name: row.get(name) for name in GUARDS}, changed)


def _wanted(change: Change, row: Row, as_of: int) -> dict[str, Value | None]:
    """What the attributes that this change is about must be; None: absent."""
    match change:
        case Deletion():
            return {DELETED: _later(row.get(DELETED), change.at)}
        case SignIn():
            return _signed_in(change, row)
        case User():
            return _snapshot(change, row, as_of)


def _signed_in(sign_in: SignIn, row: Row) -> dict[str, Value | None]:
    version = number(row, VERSION)
    if version is None:
        # A time that the app wrote is not Clerk's. The version says that this one is.
        return {VERSION: NO_SNAPSHOT, SIGNED_IN: sign_in.at}
    if version >= sign_in.at:
        return {}  # the snapshot is newer, and so is its time
    return {SIGNED_IN: _later(row.get(SIGNED_IN), sign_in.at)}


def _snapshot(user: User, row: Row, as_of: int) -> dict[str, Value | None]:
    version = number(row, VERSION)
    if version is not None and user.updated_at < version:
        return {}
    wanted: dict[str, Value | None] = {
        name: user.fields.get(name) for name in user.names if name not in user.refused
    }
    wanted[VERSION] = user.updated_at
    if version is not None:
        wanted |= {name: _activity(user, row, name, version, as_of) for name in ACTIVITY}
    deleted_at = number(row, DELETED)
    if deleted_at is None or as_of > deleted_at + DELETION_GRACE_MS:
        wanted[DELETED] = None
    return wanted


def _activity(user: User, row: Row, name: str, version: int, as_of: int) -> Value | None:
    """The snapshot's time, or the stored one if it is later than the snapshot can have."""
    stored, new = number(row, name), user.fields.get(name)
    if name == SIGNED_IN and stored is not None and stored > version:
        # An event brought this sign-in. A snapshot that was read or made since has the right time.
        return new if max(as_of, user.updated_at) >= stored else _later(stored, new)
    # Activity moves without a new version: of two readings of one version, the later time is the newer.
    return new if user.updated_at > version else _later(stored, new)


def _later(stored: Value | None, new: Value | None) -> Value | None:
    is_later = isinstance(stored, int) and (not isinstance(new, int) or stored > new)
    return stored if is_later else new


# Reading a row


def owned(names: Names) -> Names:
    """The attributes that the sync owns where these fields are synced. No others are read or written."""
    return (*names, VERSION, DELETED)


def number(row: Row, name: str) -> int | None:
    """The whole number that the row holds under this name; None if it holds none."""
    value = row.get(name)
    return value if isinstance(value, int) else None


def without_future_times(row: Row, now: int) -> Row:
    """The row as the write rule reads it: a version, a mark or an activity that is more than a day ahead of
    `now` counts as absent."""
    future = [name for name in GUARDS if is_from_future(number(row, name) or 0, now)]
    return {name: value for name, value in row.items() if name not in future} if future else row


def snapshot_version(row: Row | None, now: int) -> int | None:
    """The version of the snapshot that the row holds. None: there is no row, or the app or a sign-in alone
    created it."""
    version = number(without_future_times(row or {}, now), VERSION)
    return None if version == NO_SNAPSHOT else version


def is_marked(row: Row, now: int) -> bool:
    """Whether the row is marked as deleted in Clerk."""
    return number(without_future_times(row, now), DELETED) is not None


def last_seen(row: Row, now: int) -> int:
    """The latest time (ms) at which the user was in Clerk: the row's version or an activity, or 0."""
    known = without_future_times(row, now)
    return max(number(known, name) or 0 for name in (VERSION, *ACTIVITY))
