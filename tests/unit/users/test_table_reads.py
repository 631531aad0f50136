"""UsersTable reads rows."""

import re
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from clerk_sync.errors import AwsError, RowRefused, SettingsError
from clerk_sync.users.fields import DEFAULT_NAMES
from clerk_sync.users.table_writes import Lost
from clerk_sync.users.values import Json, Opaque
from clerk_sync.users.write_rule import DELETED, VERSION, Row, Write, owned
from tests.support.scripted_dynamodb import (
    KEYS,
    UPDATE,
    Answer,
    FakeDynamoDb,
    Pauses,
    insert,
    table_on,
    update_of,
)


@pytest.mark.parametrize("key", KEYS)
def test_get_reads_the_owned_attributes_consistently(key: str) -> None:
    dynamodb = FakeDynamoDb(lambda _: {"Item": {VERSION: {"N": "1"}}})
    assert table_on(dynamodb, key=key).get("u") == {VERSION: 1}
    [request] = dynamodb.asked
    assert request["Key"] == {key: {"S": "u"}}
    assert request["ConsistentRead"] is True
    projected = request["ProjectionExpression"].split(", ")
    names = request["ExpressionAttributeNames"]
    assert [names[placeholder] for placeholder in projected] == list(owned(DEFAULT_NAMES))
    assert names.keys() == set(projected)


@pytest.mark.parametrize(("answer", "row"), [({}, None), ({"Item": {}}, {})])
def test_get_distinguishes_an_empty_row_from_no_row(answer: Answer, row: Row | None) -> None:
    assert table_on(FakeDynamoDb(lambda _: answer)).get("u") == row


def keys_of(request: Any) -> list[str]:
    return [key["clerkUserId"]["S"] for key in request["Users"]["Keys"]]


def rows_for(request: Any, *, at_most: int = 100) -> Answer:
    """All rows exist, but only so many are handed over at once."""
    keys = request["Users"]["Keys"]
    left = {"Users": request["Users"] | {"Keys": keys[at_most:]}} if keys[at_most:] else {}
    return {
        "Responses": {"Users": [{**key, VERSION: {"N": "1"}} for key in keys[:at_most]]},
        "UnprocessedKeys": left,
    }


def test_keys_are_read_in_batches_of_100() -> None:
    dynamodb = FakeDynamoDb(rows_for)
    ids = [f"user_{n}" for n in range(230)]
    rows = table_on(dynamodb).read(ids)
    assert [keys_of(request) for request in dynamodb.asked] == [ids[:100], ids[100:200], ids[200:]]
    assert list(rows) == ids


def test_read_of_nothing_sends_no_request() -> None:
    dynamodb = FakeDynamoDb(rows_for)
    assert table_on(dynamodb).read([]) == {}
    assert dynamodb.asked == []


def test_only_unprocessed_keys_are_requested_again() -> None:
    pauses = Pauses()
    dynamodb = FakeDynamoDb(lambda request: rows_for(request, at_most=2))
    rows = table_on(dynamodb, sleep=pauses).read(["a", "b", "c", "d", "e"])
    assert [keys_of(request) for request in dynamodb.asked] == [list("abcde"), list("cde"), ["e"]]
    assert set(rows) == set("abcde")
    assert len(pauses) == 2


def test_keys_that_stay_unprocessed_are_an_error_after_a_bounded_time() -> None:
    pauses = Pauses()
    dynamodb = FakeDynamoDb(lambda request: rows_for(request, at_most=0))
    with pytest.raises(AwsError, match="'Users'"):
        table_on(dynamodb, sleep=pauses).read(["a"])
    assert 5 <= len(dynamodb.asked) <= 20
    assert sum(pauses) < 60


def test_read_leaves_out_users_without_a_row() -> None:
    dynamodb = FakeDynamoDb(lambda _: {"Responses": {}, "UnprocessedKeys": {}})
    assert table_on(dynamodb).read(["a"]) == {}


@pytest.mark.parametrize("consistent", [False, True])
def test_read_is_consistent_only_if_requested(consistent: bool) -> None:
    dynamodb = FakeDynamoDb(lambda request: rows_for(request, at_most=1))
    table_on(dynamodb).read(["a", "b"], consistent=consistent)
    assert [request["Users"]["ConsistentRead"] for request in dynamodb.asked] == [consistent] * 2


def test_read_projects_the_key_and_the_owned_attributes() -> None:
    dynamodb = FakeDynamoDb(rows_for)
    table_on(dynamodb).read(["a"])
    [request] = dynamodb.asked
    names = request["Users"]["ExpressionAttributeNames"]
    projected = re.split(r",\s*", request["Users"]["ProjectionExpression"])
    assert {names[placeholder] for placeholder in projected} == {"clerkUserId", *owned(DEFAULT_NAMES)}


ODD: tuple[Any, ...] = (
    {"NULL": True},
    *({"N": text} for text in ("1.5", "-0.5", "1e200")),
    *({"L": []}, {"M": {"a": {"SS": ["a"]}}}, {"SS": ["a"]}, {"NS": ["1"]}, {"B": b"1"}),
)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ({"S": ""}, ""),
        ({"S": "1"}, "1"),
        *(({"N": str(number)}, number) for number in (0, 1, -17_280_000_000, 10**30)),
        ({"BOOL": True}, Json("true")),
        ({"BOOL": False}, Json("false")),
        ({"M": {"b": {"N": "1.5"}, "a": {"L": [{"NULL": True}]}}}, Json('{"a":[null],"b":1.5}')),
        *((odd, Opaque(odd)) for odd in ODD),
    ],
)
def test_stored_value_keeps_its_type_in_conditions(typed: Any, value: Any) -> None:
    table = table_on(FakeDynamoDb(lambda _: {"Item": {VERSION: typed}}))
    assert table.get("u") == {VERSION: value}
    request = update_of(Write("u", {}, ("email",), {VERSION: value}))
    assert request["ExpressionAttributeValues"] == {":was_clerkUpdatedAt": typed}


JSON: tuple[Any, ...] = (
    {"BOOL": True},
    {"BOOL": False},
    *({"M": {"a": {"N": "1"}}}, {"M": {"a": {"S": "1"}}}, {"M": {"a": {"BOOL": True}}}),
    *({"M": {"a": {"NULL": True}}}, {"M": {"a": {"L": []}}}, {"M": {}}),
)


def test_values_of_different_types_are_not_equal() -> None:
    items = [{}, *({VERSION: typed} for typed in ({"S": "1"}, {"N": "1"}, *JSON, *ODD))]
    read = [table_on(FakeDynamoDb(lambda _, item=item: {"Item": item})).get("u") for item in items]  # type: ignore[misc]
    assert all(read.count(row) == 1 for row in read)


def test_batch_requests_are_valid_for_the_sdk() -> None:
    dynamodb = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="made", aws_secret_access_key="up"
    )
    found = {"clerkUserId": {"S": "a"}, VERSION: {"N": "1"}}
    with Stubber(dynamodb) as stub:
        stub.add_response("batch_get_item", {"Responses": {"Users": [found]}, "UnprocessedKeys": {}})
        stub.add_response(
            "batch_execute_statement", {"Responses": [{"TableName": "Users"}, {"TableName": "Users"}]}
        )
        stub.add_client_error("describe_table", "ResourceNotFoundException")
        table = table_on(dynamodb)
        assert table.read(["a"]) == {"a": {VERSION: 1}}
        update = Write("b", {VERSION: 2}, ("email",), {VERSION: 1, DELETED: None})
        assert table.write([insert("a"), update]) == [None, None]
        with pytest.raises(SettingsError, match="ExistingUsersTable"):
            table.check()
        stub.assert_no_pending_responses()


def test_single_requests_are_valid_for_the_sdk() -> None:
    dynamodb = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="made", aws_secret_access_key="up"
    )
    row = {"clerkUserId": {"S": "u"}, VERSION: {"N": "3"}}
    with Stubber(dynamodb) as stub:
        stub.add_client_error("update_item", "TransactionConflictException")
        stub.add_response("update_item", {})
        stub.add_client_error("update_item", "ConditionalCheckFailedException", modeled_fields={"Item": row})
        stub.add_client_error("update_item", "ValidationException")
        stub.add_response("get_item", {"Item": {VERSION: {"N": "3"}}})
        table = table_on(dynamodb)
        assert table.update(UPDATE) is None
        assert table.update(Write("u", {}, ("email",), {VERSION: Opaque({"NULL": True})})) == Lost(
            {VERSION: 3}
        )
        assert isinstance(table.update(UPDATE), RowRefused)
        assert table.get("u") == {VERSION: 3}
        stub.assert_no_pending_responses()
