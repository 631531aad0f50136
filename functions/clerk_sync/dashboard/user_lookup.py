"""Users as Clerk has them now, and whether their rows in the table are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clerk_sync.clock import now_ms
from clerk_sync.users.row import DELETED, Row, number, without_future_times
from clerk_sync.users.table import UsersTable
from clerk_sync.users.user import User, UserProblem, parse_user
from clerk_sync.users.write_rule import Verdict, Write, decide

if TYPE_CHECKING:
    from clerk_sync.clerk.client import ClerkClient

SHOWN = 10
"""Users of each list."""


@dataclass(frozen=True, slots=True)
class RowState:
    """What is stored of a user: whether there is a row, since when it is marked as deleted (ms), and which
    attributes are other than the write rule has them."""

    is_there: bool
    deleted_at: int | None = None
    differing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A user of Clerk's, or what is wrong with them, and what is stored."""

    user: User | UserProblem
    row: RowState


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found. `gone` is what is stored of an id that Clerk doesn't have; None: nothing is."""

    wanted: str
    entries: Sequence[Entry]
    gone: RowState | None = None


@dataclass(frozen=True, slots=True)
class Lists:
    """The users that came last, and those that were active last."""

    newest: Sequence[Entry]
    active: Sequence[Entry]


def latest_users(clerk: ClerkClient, table: UsersTable) -> Lists:
    """Two requests to Clerk and one to DynamoDB, whatever the number of users. Raises what those do."""
    as_of = now_ms()
    newest = _parsed(as_of, clerk.users(order_by="-created_at", limit=SHOWN))
    # The filter leaves out who never was: where they stand in that order is not documented.
    active = _parsed(as_of, clerk.users(order_by="-last_active_at", last_active_at_after=1, limit=SHOWN))
    rows = table.read({user.id for user in (*newest, *active) if isinstance(user, User)})
    return Lists(_entries(newest, rows, as_of), _entries(active, rows, as_of))


def search(clerk: ClerkClient, table: UsersTable, wanted: str) -> Found:
    """Who has this e-mail address or this id. One request each. Raises what those do."""
    as_of = now_ms()
    is_email = "@" in wanted
    key = "email_address" if is_email else "user_id"
    users = _parsed(as_of, clerk.users(limit=SHOWN, **{key: [wanted]}))
    ids = {user.id for user in users if isinstance(user, User)}
    rows = table.read(ids | (set() if is_email or users else {wanted}))
    gone = None if users or wanted not in rows else row_state(None, rows[wanted], as_of)
    return Found(wanted, _entries(users, rows, as_of), gone)


def row_state(user: User | None, row: Row | None, as_of: int) -> RowState:
    """What is to be said of a row. `as_of` (ms) is when the user was read."""
    if row is None:
        return RowState(is_there=False)
    decision = decide(user, row, as_of=as_of, now=as_of, create_missing=True) if user else Verdict.UNCHANGED
    differing = decision.changed if isinstance(decision, Write) else ()
    return RowState(True, number(without_future_times(row, as_of), DELETED), differing)


def _parsed(now: int, payloads: Sequence[Any]) -> list[User | UserProblem]:
    return [parse_user(payload, now) for payload in payloads]


def _entries(users: Sequence[User | UserProblem], rows: Mapping[str, Row], as_of: int) -> list[Entry]:
    return [
        Entry(user, row_state(user, rows.get(user.id), as_of))
        if isinstance(user, User)
        else Entry(user, RowState(is_there=False))
        for user in users
    ]
