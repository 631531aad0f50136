"""Users as Clerk has them now, and whether their rows in the table are up to date."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clerk_sync.clock import now_ms
from clerk_sync.users.table import UsersTable
from clerk_sync.users.user import User, UserProblem, parse_user
from clerk_sync.users.write_rule import DELETED, Row, decide, number, without_future_times

if TYPE_CHECKING:
    from clerk_sync.clerk.client import ClerkClient

USERS_LISTED = 10
"""How many users each list has at most."""


@dataclass(frozen=True, slots=True)
class RowState:
    """When a row was marked as deleted (ms), if it is, and which attributes the write rule would change."""

    deleted_at: int | None = None
    differing: tuple[str, ...] = ()


type ListedUser = tuple[User | UserProblem, RowState | None]
"""A user in Clerk, or why that user is malformed, and the state of the row, if there is one."""


@dataclass(frozen=True, slots=True)
class UserLists:
    """Users by the heading of their list. If a search found none, there is no list, and `orphan_row` is the
    row that has the id, if any."""

    lists: Mapping[str, Sequence[ListedUser]]
    orphan_row: RowState | None = None


def latest_users(clerk: "ClerkClient", table: UsersTable) -> UserLists:
    """The users who were created last, and those who were active last: two requests to Clerk and one to
    DynamoDB, for any number of users. Raises ClerkError, AwsError."""
    as_of = now_ms()
    newest = clerk.users(order_by="-created_at", limit=USERS_LISTED)
    # Clerk's docs don't say where users who never were active stand in this order: leave them out.
    active = clerk.users(order_by="-last_active_at", last_active_at_after=1, limit=USERS_LISTED)
    listed = _listed([*newest, *active], table, as_of)
    return UserLists({"Newest": listed[: len(newest)], "Most recently active": listed[len(newest) :]})


def search(clerk: "ClerkClient", table: UsersTable, wanted: str) -> UserLists:
    """Look up a whole e-mail address or user id: one request each. Raises ClerkError, AwsError."""
    as_of = now_ms()
    key = "email_address" if "@" in wanted else "user_id"
    if found := clerk.users(limit=USERS_LISTED, **{key: [wanted]}):
        return UserLists({"Found": _listed(found, table, as_of)})
    rows = table.read([wanted]) if key == "user_id" else {}
    return UserLists({}, row_state(None, rows.get(wanted), as_of))


def row_state(user: User | None, row: Row | None, as_of: int) -> RowState | None:
    """The state of a row, given the user as Clerk had them at `as_of` (ms); None: Clerk has no such user."""
    if row is None:
        return None
    write = decide(user, row, as_of=as_of, now=as_of, create_missing=True) if user else None
    differing = write.changed if write else ()
    return RowState(number(without_future_times(row, as_of), DELETED), differing)


def _listed(payloads: Sequence[Any], table: UsersTable, as_of: int) -> list[ListedUser]:
    users = [parse_user(payload, as_of, table.names) for payload in payloads]
    rows = table.read({user.id for user in users if isinstance(user, User)})
    return [
        (user, row_state(user, rows.get(user.id), as_of) if isinstance(user, User) else None)
        for user in users
    ]
