"""FakeUsersTable passes the same tests as the table that it stands for."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, NamedTuple

import pytest

from clerk_sync.aws.dynamodb import Item, attribute
from clerk_sync.users.table import Lost, UsersTable, Written
from clerk_sync.users.user import Deletion, SignIn, User
from clerk_sync.users.write_rule import ACTIVITY, DELETED, VERSION, BlindWrite, Write, decide_blindly
from tests.local.aws.local_aws import LocalAws
from tests.support.fake_users_table import FakeUsersTable
from tests.support.strategies import owned_part

NULL = {"NULL": True}
ODD: list[dict[str, Any]] = [
    NULL,
    *({"BOOL": False}, {"S": ""}, {"S": "5"}, {"L": []}, {"M": {}}, {"SS": ["a"]}, {"NS": ["5"]}),
]
KEYS = ("clerkUserId", "user-id", "a.b")

type Row = Mapping[str, Any]


class Subject(NamedTuple):
    """A table under test, and how an app sees it: without the key."""

    table: UsersTable
    put: Callable[[str, Row], None]
    row: Callable[[str], Row | None]


def fake_subject() -> Subject:
    table = FakeUsersTable()

    def put(user_id: str, row: Row) -> None:
        table.rows[user_id] = {"clerkUserId": attribute(user_id), **row}

    return Subject(table, put, lambda user_id: without(table.rows.get(user_id), "clerkUserId"))


def real_subject(aws: LocalAws, key: str) -> Subject:
    dynamodb, name = aws.client("dynamodb"), f"contract-{key}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def put(user_id: str, row: Row) -> None:
        dynamodb.put_item(TableName=name, Item={key: attribute(user_id), **row})

    def row(user_id: str) -> Row | None:
        found = dynamodb.get_item(TableName=name, Key={key: attribute(user_id)}, ConsistentRead=True)
        return without(found.get("Item"), key)

    return Subject(UsersTable(dynamodb, name, key), put, row)


def without(row: Row | None, key: str) -> Row | None:
    return None if row is None else {name: value for name, value in row.items() if name != key}


@pytest.fixture(scope="module", params=["fake", *KEYS])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        return fake_subject()
    return real_subject(request.getfixturevalue("aws"), request.param)


_NUMBERS = count()


@pytest.fixture
def user_id() -> str:
    """One that has no row yet."""
    return f"user_{next(_NUMBERS)}"


# Write

AT_5 = {VERSION: attribute(5), "firstName": attribute("Ada"), "plan": attribute("pro")}
FREE = {VERSION: None, DELETED: None, "lastSignInAt": None, "lastActiveAt": None}


@pytest.mark.parametrize(
    ("row", "expected", "takes"),
    [
        (None, None, True),
        (AT_5, None, False),
        ({}, None, False),
        (None, FREE, False),
        ({}, FREE, True),
        ({"plan": attribute("pro")}, FREE, True),
        (AT_5, FREE | {VERSION: attribute(5)}, True),
        (AT_5, FREE | {VERSION: attribute(4)}, False),
        (AT_5, FREE | {VERSION: attribute("5")}, False),
        (AT_5, FREE | {VERSION: NULL}, False),
        (AT_5, FREE, False),
        (AT_5, FREE | {VERSION: attribute(5), DELETED: attribute(9)}, False),
        (AT_5 | {DELETED: attribute(9)}, FREE | {VERSION: attribute(5)}, False),
        (AT_5 | {DELETED: attribute(9)}, FREE | {VERSION: attribute(5), DELETED: attribute(9)}, True),
        *(
            (AT_5 | {DELETED: odd}, FREE | {VERSION: attribute(5), DELETED: odd}, True)
            for odd in (*ODD, {"N": "1.5"})
        ),
        (AT_5 | {DELETED: {"BOOL": True}}, FREE | {VERSION: attribute(5), DELETED: {"BOOL": False}}, False),
        (AT_5 | {DELETED: NULL}, FREE | {VERSION: attribute(5)}, False),
    ],
)
@pytest.mark.parametrize("by_itself", [True, False], ids=["update", "write"])
def test_a_write_counts_only_if_the_row_is_what_was_expected(
    row: Row | None, expected: Row | None, takes: bool, by_itself: bool, subject: Subject, user_id: str
) -> None:
    put = {"firstName": attribute("Eve"), VERSION: attribute(6), "lastSignInAt": attribute(0)}
    write = Write(user_id, put, () if expected is None else ("email", DELETED), expected)
    if row is not None:
        subject.put(user_id, row)
    result = subject.table.update(write) if by_itself else subject.table.write([write])[0]
    if takes:
        assert result == Written()
        kept = {name: value for name, value in (row or {}).items() if name not in write.remove}
        assert subject.row(user_id) == kept | put
    else:
        assert isinstance(result, Lost)
        assert subject.row(user_id) == row
        is_known = row is not None and (by_itself or expected is not None)
        assert (None if result.row is None else owned_part(result.row)) == (
            owned_part(row or {}) if is_known else None
        )


def test_a_write_may_only_remove(subject: Subject, user_id: str) -> None:
    for write_it in (subject.table.update, lambda write: subject.table.write([write])[0]):
        subject.put(user_id, AT_5 | {"email": attribute("a@b.c")})
        write = Write(user_id, {}, ("email", "username"), FREE | {VERSION: attribute(5)})
        assert write_it(write) == Written()
        assert subject.row(user_id) == AT_5


# BlindWrite


def blind(user_id: str, *, create: bool = False, **conditions: Any) -> BlindWrite:
    nothing: dict[str, Any] = {"below": {}, "absent": (), "present": (VERSION,)}
    put = {"firstName": attribute("Eve"), VERSION: attribute(6)}
    return BlindWrite(user_id, put, ("email", DELETED), **(nothing | conditions), may_create=create)


BELOW = {"below": {"lastActiveAt": 6}}


@pytest.mark.parametrize(
    ("row", "conditions", "takes"),
    [
        (None, {"create": True, "present": (), "below": {VERSION: 6}, "absent": (DELETED,)}, True),
        (None, {"create": False, "present": (), "below": {VERSION: 6}, "absent": (DELETED,)}, False),
        (None, {"create": True}, False),
        ({}, {"create": False, "present": (), "below": {VERSION: 6}, "absent": (DELETED,)}, True),
        ({}, {}, False),
        *((AT_5, {"below": {VERSION: limit}}, limit > 5) for limit in (4, 5, 6, 40)),
        *((AT_5 | {"lastActiveAt": {"N": text}}, BELOW, True) for text in ("-1", "0", "5", "5.5", "5.99")),
        *((AT_5 | {"lastActiveAt": {"N": text}}, BELOW, False) for text in ("6", "6.5", "10", "100")),
        *((AT_5 | {"lastActiveAt": odd}, BELOW, False) for odd in ODD),
        (AT_5, BELOW, True),
        (AT_5, {"below": {VERSION: 6, "lastActiveAt": 6, "lastSignInAt": 6}}, True),
        (AT_5 | {"lastSignInAt": attribute(7)}, {"below": {VERSION: 6, **dict.fromkeys(ACTIVITY, 6)}}, False),
        (AT_5, {"absent": (DELETED,)}, True),
        *((AT_5 | {DELETED: odd}, {"absent": (DELETED,)}, False) for odd in (attribute(1), NULL, {"S": ""})),
        *((AT_5 | {DELETED: odd}, {"present": (VERSION, DELETED)}, True) for odd in (attribute(1), NULL)),
        (AT_5, {"present": (VERSION, DELETED)}, False),
        (AT_5, {"absent": (VERSION,)}, False),
    ],
)
def test_a_blind_write_counts_only_if_its_condition_holds(
    row: Row | None, conditions: dict[str, Any], takes: bool, subject: Subject, user_id: str
) -> None:
    write = blind(user_id, **conditions)
    if row is not None:
        subject.put(user_id, row)
    result = subject.table.update(write)
    if takes:
        assert result == Written()
        kept = {name: value for name, value in (row or {}).items() if name not in write.remove}
        assert subject.row(user_id) == kept | dict(write.put)
    else:
        assert result == Lost(None if row is None else owned_part(row))
        assert subject.row(user_id) == row


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("row", [None, {}, AT_5, AT_5 | {DELETED: attribute(3)}])
def test_every_kind_of_news_is_carried_out_alike(
    row: Row | None, create: bool, subject: Subject, user_id: str
) -> None:
    model = FakeUsersTable({} if row is None else {user_id: row})
    if row is not None:
        subject.put(user_id, row)
    user = User(user_id, 6, {"email": "a@b.c", "lastActiveAt": 7, "createdAt": 1})
    for change in (SignIn(user_id, 9), Deletion(user_id, 4), user, SignIn(user_id, 9), user):
        write = decide_blindly(change, create_missing=create)
        assert subject.table.update(write) == model.update(write)
        assert subject.row(user_id) == without(model.rows.get(user_id), "clerkUserId")
    assert subject.table.get(user_id) == model.get(user_id)


# Reading


@pytest.mark.parametrize("row", [None, {}, {"plan": attribute("pro")}, AT_5, AT_5 | {DELETED: NULL}])
def test_one_row_is_read_without_the_apps_attributes(row: Row | None, subject: Subject, user_id: str) -> None:
    if row is not None:
        subject.put(user_id, row)
    assert subject.table.get(user_id) == (None if row is None else owned_part(row))
    many: dict[str, Item] = subject.table.read([user_id, "user_nobody"])
    assert {found: owned_part(item) for found, item in many.items()} == (
        {} if row is None else {user_id: owned_part(row)}
    )
