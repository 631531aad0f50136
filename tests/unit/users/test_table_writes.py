"""UsersTable writes in batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import NoneType
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from clerk_sync.errors import AwsError, RowRefused, Throttled
from clerk_sync.users.table import UsersTable
from clerk_sync.users.table_writes import Lost
from clerk_sync.users.write_rule import VERSION, Write
from tests.support.scripted_dynamodb import (
    OK,
    REASON,
    Answer,
    ConditionFailed,
    FakeDynamoDb,
    Pauses,
    denied,
    insert,
    table_on,
    update_of,
)

THROTTLED: Answer = {"Error": {"Code": "ThrottlingError", "Message": "slow down"}}


def inserts(count: int) -> list[Write]:
    return [insert(f"user_{n}") for n in range(count)]


def user_of(statement: Mapping[str, Any]) -> str:
    """Whom an INSERT is about."""
    found = statement["Parameters"][0]["S"]
    assert isinstance(found, str)
    return found


class Scripted:
    """What each INSERT is answered, time after time; OK when the script is over."""

    def __init__(self, **script: Sequence[Answer]) -> None:
        self._script = {user_id: iter(answers) for user_id, answers in script.items()}

    def __call__(self, statements: list[Any]) -> Answer:
        nothing: Iterator[Answer] = iter(())
        return {"Responses": [next(self._script.get(user_of(one), nothing), OK) for one in statements]}


def batches(dynamodb: FakeDynamoDb) -> list[list[str]]:
    return [[user_of(statement) for statement in statements] for statements in dynamodb.asked]


def test_writes_are_sent_in_batches_of_25_with_results_in_order() -> None:
    lost = {"Error": {"Code": "DuplicateItem"}}
    dynamodb = FakeDynamoDb(Scripted(user_0=[lost], user_30=[lost], user_59=[lost]))
    results = table_on(dynamodb).write(inserts(60))
    assert [len(batch) for batch in batches(dynamodb)] == [25, 25, 10]
    assert [n for n, result in enumerate(results) if result == Lost(None)] == [0, 30, 59]
    assert results.count(None) == 57


def test_write_of_nothing_sends_no_request() -> None:
    dynamodb = FakeDynamoDb(Scripted())
    assert table_on(dynamodb).write([]) == []
    assert dynamodb.asked == []


@pytest.mark.parametrize(
    "code",
    [
        "InternalServerError",
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "ThrottlingError",
        "TransactionConflict",
    ],
)
def test_only_throttled_writes_are_retried(code: str) -> None:
    again = {"Error": {"Code": code}}
    pauses = Pauses()
    dynamodb = FakeDynamoDb(
        Scripted(user_1=[again, again], user_3=[again, {"Error": {"Code": "DuplicateItem"}}])
    )
    results = table_on(dynamodb, sleep=pauses).write(inserts(5))
    assert batches(dynamodb) == [[f"user_{n}" for n in range(5)], ["user_1", "user_3"], ["user_1"]]
    assert results == [None, None, None, Lost(None), None]
    assert len(pauses) == 2


def test_writes_that_stay_throttled_are_left_after_a_bounded_time() -> None:
    pauses = Pauses()
    dynamodb = FakeDynamoDb(lambda statements: {"Responses": [THROTTLED for _ in statements]})
    results = table_on(dynamodb, sleep=pauses).write(inserts(30))
    assert [type(result) for result in results] == [Throttled] * 30
    assert "'Users'" in str(results[0])
    assert batches(dynamodb)[0] == batches(dynamodb)[-1], "the second batch is not tried"
    assert sum(pauses) < 150


def test_writes_are_left_when_the_time_is_over() -> None:
    dynamodb: Any = FakeDynamoDb(lambda statements: {"Responses": [THROTTLED for _ in statements]})
    checks = iter([False, False, True])
    table = UsersTable(dynamodb, "Users", "clerkUserId", is_out_of_time=lambda: next(checks), sleep=Pauses())
    assert [type(result) for result in table.write(inserts(2))] == [Throttled] * 2
    assert len(dynamodb.asked) == 2


def test_pauses_grow_up_to_a_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clerk_sync.aws.clients.random.uniform", lambda _, high: high)
    pauses = Pauses()
    dynamodb = FakeDynamoDb(lambda statements: {"Responses": [THROTTLED for _ in statements]})
    table_on(dynamodb, sleep=pauses).write(inserts(1))
    assert pauses == sorted(pauses)
    assert pauses[0] <= 0.1
    assert pauses[-1] <= 5


def test_lost_update_returns_the_row_that_won() -> None:
    won = {"clerkUserId": {"S": "user_0"}, VERSION: {"N": "9"}}
    failed = {"Error": {"Code": "ConditionalCheckFailed", "Message": "no", "Item": won}}
    gone = {"Error": {"Code": "ConditionalCheckFailed", "Message": "no"}}
    dynamodb = FakeDynamoDb(Scripted(user_0=[failed], user_1=[gone]))
    assert table_on(dynamodb).write(inserts(2)) == [Lost({VERSION: 9}), Lost(None)]


INVALID: Answer = {"Error": {"Code": "ValidationError", "Message": "by PartiQL"}}


class Grammar(Scripted):
    """PartiQL refuses some users' statements. `update_item` answers or raises what UpdateItem does."""

    def __init__(self, update_item: Callable[[Any], Answer], **script: Sequence[Answer]) -> None:
        super().__init__(**script)
        self._update_item = update_item

    def __call__(self, request: Any) -> Answer:
        return super().__call__(request) if isinstance(request, list) else self._update_item(request)


def refuse(_: Any = None) -> Answer:
    raise ClientError({"Error": {"Code": "ValidationException", "Message": REASON}}, "UpdateItem")


@pytest.mark.parametrize("code", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
def test_invalid_row_alone_is_refused_with_dynamodbs_reason(code: str) -> None:
    dynamodb = FakeDynamoDb(Grammar(refuse, user_1=[{"Error": {"Code": code}}]))
    results = table_on(dynamodb).write(inserts(3))
    assert [type(result) for result in results] == [NoneType, RowRefused, NoneType]
    assert str(results[1]) == f"DynamoDB refuses the row: {REASON}"
    assert len(dynamodb.asked) == 2, "once as a statement and once as UpdateItem"


def test_statement_that_partiql_refuses_is_retried_as_update_item() -> None:
    dynamodb = FakeDynamoDb(Grammar(lambda _: OK, user_1=[INVALID]))
    assert table_on(dynamodb).write(inserts(3)) == [None] * 3
    statements, update = dynamodb.asked
    assert len(statements) == 3
    assert update == update_of(insert("user_1"))


@pytest.mark.parametrize("item", [None, {VERSION: {"N": "9"}}])
def test_lost_update_item_returns_the_row_that_won(item: Any) -> None:
    def lose(_: Any) -> Answer:
        raise ConditionFailed(**({"Item": item} if item else {}))

    dynamodb = FakeDynamoDb(Grammar(lose, user_1=[INVALID]))
    assert table_on(dynamodb).write(inserts(2)) == [None, Lost({VERSION: 9} if item else None)]


def test_refused_batch_is_retried_one_by_one() -> None:
    def say(request: Any) -> Answer:
        if isinstance(request, list) or request["Key"]["clerkUserId"] == {"S": "user_1"}:
            refuse()
        return OK

    dynamodb = FakeDynamoDb(say)
    results = table_on(dynamodb).write(inserts(30))
    assert [type(result) for result in results] == [NoneType, RowRefused, *[NoneType] * 28]
    assert len(dynamodb.asked) == 2 + 30


def test_denied_update_item_is_an_error_and_not_a_refused_row() -> None:
    dynamodb = FakeDynamoDb(Grammar(denied, user_1=[INVALID]))
    with pytest.raises(AwsError) as raised:
        table_on(dynamodb).write(inserts(2))
    assert not isinstance(raised.value, RowRefused)


@pytest.mark.parametrize("code", ["AccessDenied", "ResourceNotFound"])
def test_denied_batch_is_an_error(code: str) -> None:
    dynamodb = FakeDynamoDb(lambda statements: {"Responses": [{"Error": {"Code": code}} for _ in statements]})
    with pytest.raises(AwsError):
        table_on(dynamodb).write(inserts(2))


def unreachable(_: Any) -> Answer:
    raise EndpointConnectionError(endpoint_url="https://dynamodb.test")


@pytest.mark.parametrize("say", [denied, unreachable])
def test_errors_name_the_action_and_the_table(say: Callable[[Any], Answer]) -> None:
    table = table_on(FakeDynamoDb(say))
    with pytest.raises(AwsError, match="writing to table 'Users'"):
        table.write(inserts(1))
    with pytest.raises(AwsError, match="reading from table 'Users'"):
        table.read(["user_1"])
