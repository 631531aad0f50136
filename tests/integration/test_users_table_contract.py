"""FakeUsersTable passes the same tests as the real table."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import NamedTuple

import pytest

from clerk_sync.aws.items import Item, attribute
from clerk_sync.clock import DAY_MS
from clerk_sync.errors import RowRefused
from clerk_sync.users.table import UsersTable
from clerk_sync.users.table_writes import Lost, to_attribute
from clerk_sync.users.upsert import store, upsert
from clerk_sync.users.user import User, parse_user
from clerk_sync.users.values import Json, Opaque, Value
from clerk_sync.users.write_rule import DELETED, VERSION, Row, Write
from tests.local.aws.local_aws import LocalAws
from tests.local.clerk.fake_users import make_user
from tests.support.fake_users_table import FakeUsersTable
from tests.support.strategies import owned_part, stored_as

NULL, TRUE, FALSE = Opaque({"NULL": True}), Json("true"), Json("false")
ODD = [
    *("", "5", NULL, FALSE),
    Json("{}"),
    *map(Opaque, ({"N": "1.5"}, {"L": []}, {"SS": ["a"]}, {"NS": ["5"]})),
]
KEYS = ("clerkUserId", "user-id", "a.b")


class Subject(NamedTuple):
    """A table under test, and how an app sees a row of it: without the key."""

    table: UsersTable
    put: Callable[[str, Row], None]
    row: Callable[[str], Item | None]


def item(row: Row) -> Item:
    """The row as DynamoDB has it."""
    return {name: to_attribute(value) for name, value in row.items()}


def fake_subject() -> Subject:
    table = FakeUsersTable()

    def put(user_id: str, row: Row) -> None:
        table.rows[user_id] = dict(row)

    def row(user_id: str) -> Item | None:
        return item(table.rows[user_id]) if user_id in table.rows else None

    return Subject(table, put, row)


def real_subject(aws: LocalAws, key: str) -> Subject:
    dynamodb, name = aws.client("dynamodb"), f"contract-{key}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def put(user_id: str, row: Row) -> None:
        dynamodb.put_item(TableName=name, Item={key: attribute(user_id), **item(row)})

    def row(user_id: str) -> Item | None:
        found = dynamodb.get_item(TableName=name, Key={key: attribute(user_id)}, ConsistentRead=True)
        if "Item" not in found:
            return None
        return {name: value for name, value in found["Item"].items() if name != key}

    return Subject(UsersTable(dynamodb, name, key), put, row)


@pytest.fixture(scope="module", params=["fake", *KEYS])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        return fake_subject()
    return real_subject(request.getfixturevalue("aws"), request.param)


_NUMBERS = count()


@pytest.fixture
def user_id() -> str:
    """A user id that has no row yet."""
    return f"user_{next(_NUMBERS)}"


# Write

AT_5: dict[str, Value] = {VERSION: 5, "firstName": "Ada", "plan": "pro"}
FREE: dict[str, Value | None] = {VERSION: None, DELETED: None, "lastSignInAt": None, "lastActiveAt": None}


@pytest.mark.parametrize(
    ("row", "expected", "takes"),
    [
        (None, None, True),
        (AT_5, None, False),
        ({}, None, False),
        (None, FREE, False),
        ({}, FREE, True),
        ({"plan": "pro"}, FREE, True),
        (AT_5, FREE | {VERSION: 5}, True),
        (AT_5, FREE | {VERSION: 4}, False),
        (AT_5, FREE | {VERSION: "5"}, False),
        (AT_5, FREE | {VERSION: NULL}, False),
        (AT_5, FREE, False),
        (AT_5, FREE | {VERSION: 5, DELETED: 9}, False),
        (AT_5 | {DELETED: 9}, FREE | {VERSION: 5}, False),
        (AT_5 | {DELETED: 9}, FREE | {VERSION: 5, DELETED: 9}, True),
        *((AT_5 | {DELETED: odd}, FREE | {VERSION: 5, DELETED: odd}, True) for odd in ODD),
        (AT_5 | {DELETED: TRUE}, FREE | {VERSION: 5, DELETED: FALSE}, False),
        (AT_5 | {DELETED: TRUE}, FREE | {VERSION: 5, DELETED: 1}, False),
        (AT_5 | {DELETED: NULL}, FREE | {VERSION: 5}, False),
    ],
)
@pytest.mark.parametrize("by_itself", [True, False], ids=["update", "write"])
def test_write_takes_effect_only_if_the_row_is_as_expected(
    row: Row | None,
    expected: Mapping[str, Value | None] | None,
    takes: bool,
    by_itself: bool,
    subject: Subject,
    user_id: str,
) -> None:
    put: Row = {"firstName": "Eve", VERSION: 6, "lastSignInAt": 0}
    write = Write(user_id, put, () if expected is None else ("email", DELETED), expected)
    if row is not None:
        subject.put(user_id, row)
    result = subject.table.update(write) if by_itself else subject.table.write([write])[0]
    if takes:
        assert result is None
        kept = {name: value for name, value in (row or {}).items() if name not in write.remove}
        assert subject.row(user_id) == item(kept | dict(put))
    else:
        assert isinstance(result, Lost)
        assert subject.row(user_id) == (None if row is None else item(row))
        is_known = row is not None and (by_itself or expected is not None)
        assert result.row == (owned_part(row or {}) if is_known else None)


def test_write_that_only_removes_attributes(subject: Subject, user_id: str) -> None:
    for write_it in (subject.table.update, lambda write: subject.table.write([write])[0]):
        subject.put(user_id, AT_5 | {"email": "a@b.c"})
        write = Write(user_id, {}, ("email", "username"), FREE | {VERSION: 5})
        assert write_it(write) is None
        assert subject.row(user_id) == item(AT_5)


# Reading


@pytest.mark.parametrize("row", [None, {}, {"plan": "pro"}, AT_5, AT_5 | {DELETED: NULL}])
def test_single_row_is_read_without_the_apps_attributes(
    row: Row | None, subject: Subject, user_id: str
) -> None:
    if row is not None:
        subject.put(user_id, row)
    assert subject.table.get(user_id) == (None if row is None else owned_part(row))
    many = subject.table.read([user_id, "user_nobody"])
    assert many == ({} if row is None else {user_id: owned_part(row)})


# Rows that are not marked as deleted

NOW = 1_800_000_000_000
LATEST = NOW + DAY_MS


@pytest.mark.parametrize(
    ("row", "is_unmarked"),
    [
        ({VERSION: 1}, True),
        ({VERSION: LATEST}, True),
        ({}, False),
        ({"plan": "pro"}, False),
        *(({VERSION: version}, False) for version in (0, LATEST + 1, *ODD[:3])),
        *(({VERSION: 5, DELETED: mark}, False) for mark in (0, 5, LATEST)),
        *(({VERSION: 5, DELETED: mark}, True) for mark in (LATEST + 1, *ODD[:4])),
    ],
)
def test_scan_finds_rows_that_hold_a_snapshot_and_no_mark(
    row: Row, is_unmarked: bool, subject: Subject, user_id: str
) -> None:
    subject.put(user_id, row)
    found = [found for ids, _ in subject.table.unmarked(None, NOW) for found in ids]
    assert (user_id in found) == is_unmarked


# What DynamoDB refuses


@pytest.fixture(scope="module")
def indexed(aws: LocalAws) -> UsersTable:
    """A table with an index on `lastName`."""
    dynamodb, name = aws.client("dynamodb"), "contract-indexed"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "clerkUserId", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": attribute_name, "AttributeType": "S"}
            for attribute_name in ("clerkUserId", "lastName")
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_last",
                "KeySchema": [{"AttributeName": "lastName", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return UsersTable(dynamodb, name, "clerkUserId")


def test_user_with_an_empty_name_is_stored_although_an_index_is_on_it(indexed: UsersTable) -> None:
    user = parse_user(make_user(0) | {"last_name": ""}, NOW)
    assert isinstance(user, User)
    assert store(indexed, user, None, as_of=NOW, now=NOW, create_missing=True).is_written
    assert indexed.get(user.id) == stored_as(user)


def test_row_of_over_400_kb_is_refused_with_dynamodbs_reason(indexed: UsersTable, aws: LocalAws) -> None:
    user = User("user_full", 5, {"firstName": "Ada" * 100})
    full = {"clerkUserId": attribute(user.id), "notes": attribute("x" * (400 * 1024 - 100))}
    aws.client("dynamodb").put_item(TableName="contract-indexed", Item=full)
    outcome = upsert(indexed, [user, User("user_fine", 5, {})], as_of=NOW, now=NOW, create_missing=True)
    [problem] = outcome.problems
    assert problem.clerk_user_id == user.id
    assert problem.reason.startswith("DynamoDB refuses the row: Item size")
    assert indexed.get("user_fine") == {VERSION: 5}
    with pytest.raises(RowRefused, match=problem.reason):
        store(indexed, user, {}, as_of=NOW, now=NOW, create_missing=True)
