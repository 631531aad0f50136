"""A row of UsersTable as plain values."""

from collections.abc import Mapping

from clerk_sync.clock import is_from_future
from clerk_sync.users.fields import Names
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
