from typing import Any, cast

import pytest

from clerk_sync.dashboard.user_lookup import (
    USERS_LISTED,
    RowState,
    UserLists,
    latest_users,
    row_state,
    search,
)
from clerk_sync.users.user import User, UserProblem, parse_user
from clerk_sync.users.write_rule import DELETED
from tests.local.clerk.fake_users import broken_users, make_user, make_users
from tests.support.fake_users_table import FakeUsersTable
from tests.support.strategies import stored_as

AS_OF = 1_790_000_000_000


class FakeClerk:
    """Answers with what it is given, and remembers what it was asked."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answers = list(answers)

    def users(self, **query: Any) -> list[dict[str, Any]]:
        self.asked.append(query)
        return self._answers.pop(0)


def parsed(payload: dict[str, Any]) -> User:
    user = parse_user(payload, AS_OF)
    assert isinstance(user, User)
    return user


@pytest.fixture
def table() -> FakeUsersTable:
    return FakeUsersTable()


def stored(table: FakeUsersTable, *payloads: dict[str, Any]) -> None:
    for payload in payloads:
        table.rows[payload["id"]] = stored_as(parsed(payload))


def test_the_latest_users_cost_two_requests_and_one_read(table: FakeUsersTable) -> None:
    newest, active = make_users(10), make_users(10, start=5)
    stored(table, *newest)
    clerk = FakeClerk(newest, active)
    lists = latest_users(cast(Any, clerk), table)
    assert [query["order_by"] for query in clerk.asked] == ["-created_at", "-last_active_at"]
    assert {query["limit"] for query in clerk.asked} == {USERS_LISTED}
    assert len(table.reads) == 1
    assert [user for user, _ in lists.lists["Newest"]] == [parsed(user) for user in newest]
    active_rows = [row for _, row in lists.lists["Most recently active"]]
    assert [row is not None for row in active_rows] == [True] * 5 + [False] * 5


def test_a_malformed_user_is_listed_beside_the_others(table: FakeUsersTable) -> None:
    lists = latest_users(cast(Any, FakeClerk([*broken_users(), make_user(1)], [])), table)
    *broken, last = lists.lists["Newest"]
    assert sum(isinstance(user, UserProblem) for user, _ in broken) > 10
    assert last == (parsed(make_user(1)), None)


@pytest.mark.parametrize(
    ("wanted", "query"),
    [
        ("ada@mail.test", {"email_address": ["ada@mail.test"]}),
        ("user_1", {"user_id": ["user_1"]}),
    ],
)
def test_a_search_is_by_whole_address_or_id(
    wanted: str, query: dict[str, Any], table: FakeUsersTable
) -> None:
    user = make_user(1)
    stored(table, user)
    clerk = FakeClerk([user])
    found = search(cast(Any, clerk), table, wanted)
    assert clerk.asked == [{"limit": USERS_LISTED, **query}]
    assert len(table.reads) == 1
    assert found == UserLists({"Found": [(parsed(user), RowState())]})


def test_a_search_finds_a_row_whose_user_is_not_in_clerk(table: FakeUsersTable) -> None:
    table.rows["user_gone"] = {DELETED: 7}
    assert search(cast(Any, FakeClerk([])), table, "user_gone").orphan_row == RowState(7)
    assert search(cast(Any, FakeClerk([])), table, "user_never").orphan_row is None
    assert search(cast(Any, FakeClerk([])), table, "gone@mail.test").orphan_row is None


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, RowState()),
        ({"email": "old@mail.test"}, RowState(None, ("email",))),
        ({"username": "stray", "email": "old@mail.test"}, RowState(None, ("email", "username"))),
        ({"lastActiveAt": 1}, RowState(None, ("lastActiveAt",))),
        ({DELETED: 7}, RowState(7, (DELETED,))),
        ({DELETED: AS_OF}, RowState(AS_OF)),
        ({"clerkUpdatedAt": AS_OF, "email": "newer@mail.test"}, RowState()),
        ({"plan": "pro"}, RowState()),
    ],
)
def test_the_write_rule_says_which_attributes_differ(changes: dict[str, Any], state: RowState) -> None:
    user = parsed(make_user(4))
    assert "username" not in user.fields
    row = stored_as(user) | changes
    assert row_state(user, row, AS_OF) == state


def test_a_user_without_a_row_has_none() -> None:
    assert row_state(parsed(make_user(4)), None, AS_OF) is None
