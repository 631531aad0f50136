"""UsersTable writes one row with UpdateItem."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.aws.items import attribute
from clerk_sync.errors import AwsError, RowRefused, Throttled
from clerk_sync.users.table_writes import Lost
from clerk_sync.users.user import Change
from clerk_sync.users.values import Opaque
from clerk_sync.users.write_rule import DELETED, VERSION, Row, Write, decide, owned
from tests.support.scripted_dynamodb import (
    KEYS,
    OK,
    REASON,
    UPDATE,
    Answer,
    ConditionFailed,
    Conflict,
    FakeDynamoDb,
    Pauses,
    table_on,
    update_of,
)
from tests.support.strategies import ALL_NAMES, changes, rows


def spelled_out(request: Any, expression: str) -> str:
    """With its names and values in place of what stands for them."""
    given_names = request["ExpressionAttributeNames"] | request["ExpressionAttributeValues"]
    return re.sub(r"[#:]\w+", lambda found: str(given_names[found[0]]), request[expression])


maybe_rows = st.none() | rows


@given(changes, maybe_rows, st.booleans(), st.sampled_from(KEYS))
def test_update_item_defines_every_placeholder_that_it_uses(
    change: Change, row: Row | None, create: bool, key: str
) -> None:
    write = decide(change, row, as_of=0, now=0, create_missing=create)
    if isinstance(write, Write):
        request = update_of(write, key)
        used = re.findall(r"[#:][^\s,()]+", f"{request['UpdateExpression']} {request['ConditionExpression']}")
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        assert set(used) == {*names, *values}
        assert all(re.fullmatch(r"[#:]\w+", placeholder) for placeholder in used), "DynamoDB takes no others"
        assert set(names.values()) <= {key, *owned(ALL_NAMES)}
        assert request["Key"] == {key: attribute(write.user_id)}
        assert request["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"


def test_update_item_for_a_new_row_fails_if_there_is_a_row() -> None:
    request = update_of(Write("u", {"firstName": "Ada", VERSION: 5}, (), None))
    assert (
        spelled_out(request, "UpdateExpression")
        == "SET firstName = {'S': 'Ada'}, clerkUpdatedAt = {'N': '5'}"
    )
    assert spelled_out(request, "ConditionExpression") == "attribute_not_exists(clerkUserId)"


def test_update_item_requires_the_row_as_it_was_read() -> None:
    expected: Row = {VERSION: 5, "lastSignInAt": Opaque({"NULL": True}), "lastActiveAt": "x"}
    request = update_of(Write("u", {VERSION: 6}, ("email", "username"), {**expected, DELETED: None}))
    assert (
        spelled_out(request, "UpdateExpression") == "SET clerkUpdatedAt = {'N': '6'} REMOVE email, username"
    )
    assert spelled_out(request, "ConditionExpression").split(" AND ") == [
        "attribute_exists(clerkUserId)",
        "clerkUpdatedAt = {'N': '5'}",
        "lastSignInAt = {'NULL': True}",
        "lastActiveAt = {'S': 'x'}",
        "attribute_not_exists(clerkDeletedAt)",
    ]


def test_update_item_may_only_remove_attributes() -> None:
    request = update_of(Write("u", {}, ("email",), {VERSION: 5}))
    assert spelled_out(request, "UpdateExpression") == "REMOVE email"


def raising(*errors: Exception | None) -> Callable[[Any], Answer]:
    """These one after the other, the last one without end; None: it works."""
    left = list(errors)

    def say(_: Any) -> Answer:
        error = left.pop(0) if len(left) > 1 else left[0]
        if error:
            raise error
        return OK

    return say


def test_lost_update_item_returns_only_owned_attributes() -> None:
    row = {"clerkUserId": {"S": "u"}, VERSION: {"N": "9"}, "email": {"S": "a@b.c"}, "plan": {"S": "pro"}}
    lost = table_on(FakeDynamoDb(raising(ConditionFailed(Item=row)))).update(UPDATE)
    assert lost == Lost({VERSION: 9, "email": "a@b.c"})


def test_lost_update_item_distinguishes_an_empty_row_from_no_row() -> None:
    row = {"clerkUserId": {"S": "u"}, "plan": {"S": "pro"}}
    assert table_on(FakeDynamoDb(raising(ConditionFailed(Item=row)))).update(UPDATE) == Lost({})
    assert table_on(FakeDynamoDb(raising(ConditionFailed()))).update(UPDATE) == Lost(None)


def test_update_item_is_retried_after_a_transaction_conflict() -> None:
    pauses = Pauses()
    dynamodb = FakeDynamoDb(raising(Conflict(), Conflict(), None))
    assert table_on(dynamodb, sleep=pauses).update(UPDATE) is None
    assert len(dynamodb.asked) == 3
    assert len(pauses) == 2


def test_transaction_conflict_that_stays_is_an_error_after_a_bounded_time() -> None:
    pauses = Pauses()
    dynamodb = FakeDynamoDb(raising(Conflict()))
    result = table_on(dynamodb, sleep=pauses).update(UPDATE)
    assert isinstance(result, Throttled)
    assert "'Users'" in str(result)
    assert 5 <= len(dynamodb.asked) <= 20
    assert sum(pauses) < 60


@pytest.mark.parametrize("code", ["ValidationException", "ItemCollectionSizeLimitExceededException"])
def test_invalid_update_item_is_refused_with_dynamodbs_reason(code: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": REASON}}, "UpdateItem")
    dynamodb = FakeDynamoDb(raising(error))
    result = table_on(dynamodb).update(UPDATE)
    assert isinstance(result, RowRefused)
    assert str(result) == f"DynamoDB refuses the row: {REASON}"
    assert len(dynamodb.asked) == 1


@pytest.mark.parametrize(
    "error",
    [
        *(
            ClientError({"Error": {"Code": code, "Message": "no"}}, "UpdateItem")
            for code in ("AccessDeniedException", "ThrottlingException")
        ),
        EndpointConnectionError(endpoint_url="https://dynamodb.test"),
    ],
)
def test_other_errors_are_aws_errors_and_not_retried(error: Exception) -> None:
    dynamodb = FakeDynamoDb(raising(error))
    with pytest.raises(AwsError, match="writing to table 'Users'") as raised:
        table_on(dynamodb).update(UPDATE)
    assert not isinstance(raised.value, RowRefused)
    with pytest.raises(AwsError, match="reading from table 'Users'"):
        table_on(dynamodb).get("u")
    assert len(dynamodb.asked) == 2
