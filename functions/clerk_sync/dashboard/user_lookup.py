"""Users as Clerk has them now, and whether their rows in the table are up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clerk_sync.clock import now_ms
from clerk_sync.users.fields import Names
from clerk_sync.users.row import DELETED, Row, number, without_future_times
from clerk_sync.users.table import UsersTable
from clerk_sync.users.user import User, UserProblem, parse_user
from clerk_sync.users.write_rule import Verdict, Write, decide

if TYPE_CHECKING:
    from clerk_sync.clerk.client import ClerkClient

USERS_LISTED = 10
"""How many users each list has at most."""


@dataclass(frozen=True, slots=True)
class RowState:
    """When a row was marked as deleted (ms), if it is, and which attributes the write rule would change."""

    deleted_at: int | None = None
    differing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListedUser:
    """A user in Clerk, or why that user is malformed, and the state of the row, if there is one."""

    user: User | UserProblem
    row: RowState | None


@dataclass(frozen=True, slots=True)
class LatestUsers:
    """The users who were created last, and those who were active last."""

    newest: Sequence[ListedUser]
    recently_active: Sequence[ListedUser]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The users that a search found. If there are none, `orphan_row` is the row that has the id, if any."""

    users: Sequence[ListedUser]
    orphan_row: RowState | None = None


def latest_users(clerk: ClerkClient, table: UsersTable) -> LatestUsers:
    """Two requests to Clerk and one to DynamoDB, for any number of users. Raises ClerkError, AwsError."""
    as_of = now_ms()
    newest = clerk.users(order_by="-created_at", limit=USERS_LISTED)
    # Clerk's docs don't say where users who never were active stand in this order: leave them out.
    active = clerk.users(order_by="-last_active_at", last_active_at_after=1, limit=USERS_LISTED)
    newest, active = _parsed(newest, as_of, table.names), _parsed(active, as_of, table.names)
    rows = table.read({user.id for user in (*newest, *active) if isinstance(user, User)})
    return LatestUsers(_listed(newest, rows, as_of), _listed(active, rows, as_of))


def search(clerk: ClerkClient, table: UsersTable, wanted: str) -> SearchResult:
    """Look up a whole e-mail address or user id: one request each. Raises ClerkError, AwsError."""
    as_of = now_ms()
    is_email = "@" in wanted
    key = "email_address" if is_email else "user_id"
    users = _parsed(clerk.users(limit=USERS_LISTED, **{key: [wanted]}), as_of, table.names)
    ids = {user.id for user in users if isinstance(user, User)}
    rows = table.read(ids | (set() if is_email or users else {wanted}))
    orphan_row = None if users else row_state(None, rows.get(wanted), as_of)
    return SearchResult(_listed(users, rows, as_of), orphan_row)


def row_state(user: User | None, row: Row | None, as_of: int) -> RowState | None:
    """The state of a row, given the user as Clerk had them at `as_of` (ms); None: Clerk has no such user."""
    if row is None:
        return None
    decision = decide(user, row, as_of=as_of, now=as_of, create_missing=True) if user else Verdict.UNCHANGED
    differing = decision.changed if isinstance(decision, Write) else ()
    return RowState(number(without_future_times(row, as_of), DELETED), differing)


def _parsed(payloads: Sequence[Any], now: int, names: Names) -> list[User | UserProblem]:
    return [parse_user(payload, now, names) for payload in payloads]


def _listed(users: Sequence[User | UserProblem], rows: Mapping[str, Row], as_of: int) -> list[ListedUser]:
    return [
        ListedUser(user, row_state(user, rows.get(user.id), as_of) if isinstance(user, User) else None)
        for user in users
    ]
