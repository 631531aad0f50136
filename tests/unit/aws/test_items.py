from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from clerk_sync.aws.items import Items, attribute, delete, from_attribute
from clerk_sync.errors import AwsError
from tests.support.fake_dynamodb import ConditionalCheckFailed, TransactionCanceled, TransactionConflict

JSON = {"text": "a", "whole": -7, "part": Decimal("1.5"), "list": [True, None, {"b": []}]}


@pytest.mark.parametrize("value", ["", "7", 0, -17, Decimal("1.5"), True, False, None, b"\x00", [], JSON])
def test_values_are_read_as_they_were_stored(value: Any) -> None:
    read = from_attribute(attribute(value))
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize("stored", [{"SS": ["a"]}, {"NS": ["1"]}, {"BS": [b"a"]}])
def test_set_is_not_read_as_a_list(stored: Any) -> None:
    [values] = stored.values()
    assert from_attribute(stored) == set(values)


class ScriptedDynamoDB:
    """Raises these errors one after the other, and then carries writes out; `asked` counts the requests."""

    def __init__(self, *errors: Exception) -> None:
        self._errors: Iterator[Exception] = iter(errors)
        self.asked = 0

    def update_item(self, **_: Any) -> dict[str, Any]:
        self.asked += 1
        for error in self._errors:
            raise error
        return {"Attributes": {"n": {"N": "1"}}}

    transact_write_items = update_item


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clerk_sync.aws.items.time.sleep", lambda _: None)


def update(dynamodb: Any) -> dict[str, Any] | None:
    return Items(dynamodb, "Runs").update("full-1", "run", set_={"n": 1})


def transact(dynamodb: Any) -> bool:
    return Items(dynamodb, "Runs").transact(delete("full-1", "run", "n = :n", {":n": 1}))


def test_write_is_retried_while_a_transaction_is_in_its_way() -> None:
    dynamodb = ScriptedDynamoDB(TransactionConflict(), TransactionConflict())
    assert update(dynamodb) == {"n": 1}
    assert dynamodb.asked == 3


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_transaction_is_retried_on_a_conflict_or_throttling_of_a_write(code: str) -> None:
    dynamodb = ScriptedDynamoDB(TransactionCanceled(["None", code]))
    assert transact(dynamodb)
    assert dynamodb.asked == 2


def test_failed_condition_is_an_answer_and_not_retried() -> None:
    one, many = (
        ScriptedDynamoDB(ConditionalCheckFailed()),
        ScriptedDynamoDB(TransactionCanceled(["TransactionConflict", "ConditionalCheckFailed"])),
    )
    assert update(one) is None
    assert transact(many) is False
    assert (one.asked, many.asked) == (1, 1)


def test_contention_that_stays_is_an_error_after_a_bounded_number_of_attempts() -> None:
    dynamodb = ScriptedDynamoDB(*[TransactionConflict() for _ in range(99)])
    with pytest.raises(AwsError, match="Runs: too many at once"):
        update(dynamodb)
    assert 5 <= dynamodb.asked <= 20


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "AccessDeniedException"])
def test_other_errors_are_aws_errors_and_not_retried(code: str) -> None:
    dynamodb = ScriptedDynamoDB(ClientError({"Error": {"Code": code, "Message": "no"}}, "UpdateItem"))
    with pytest.raises(AwsError, match="writing to Runs"):
        update(dynamodb)
    assert dynamodb.asked == 1


def test_transaction_with_an_invalid_write_is_an_error() -> None:
    dynamodb = ScriptedDynamoDB(TransactionCanceled(["None", "ValidationError"]))
    with pytest.raises(AwsError, match="writing to Runs"):
        transact(dynamodb)
    assert dynamodb.asked == 1
