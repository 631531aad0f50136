"""A row of UsersTable as plain values: the attributes that the sync owns, and no others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clerk_sync.users.user import SYNCED_FIELDS

VERSION = "clerkUpdatedAt"
DELETED = "clerkDeletedAt"
ACTIVITY = ("lastSignInAt", "lastActiveAt")
OWNED = (*SYNCED_FIELDS, VERSION, DELETED)
"""The only attributes that are ever read or written."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """A stored value of a type that the sync never writes, such as null, a boolean, a fraction or a list.

    `stored` is what the database gave, so that a condition can ask for exactly that. It equals
    nothing else: null is not absent, and true is not 1.
    """

    stored: Any


type Value = str | int | Opaque
type Row = Mapping[str, Value]
"""The owned attributes that are there, without the key. An absent attribute has no entry."""


def number(row: Row, name: str) -> int | None:
    """The whole number that the row holds under this name; None if it holds none."""
    value = row.get(name)
    return value if isinstance(value, int) else None
