import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.aws.dynamodb import attribute
from clerk_sync.errors import AwsError, RowRefused, SettingsError, Throttled
from clerk_sync.users.fields import DEFAULT_NAMES
from clerk_sync.users.row import DELETED, VERSION, Row, owned
from clerk_sync.users.table import Lost, UsersTable, Written
from clerk_sync.users.user import Change, User, parse_user
from clerk_sync.users.values import Json, Opaque
from clerk_sync.users.write_rule import Write, decide
from tests.local.clerk.fake_users import make_user
from tests.support.strategies import ALL_NAMES, changes, rows, stored_as

type Answer = dict[str, Any]

OK: Answer = {}
THROTTLED: Answer = {"Error": {"Code": "ThrottlingError", "Message": "slow down"}}


class NoTable(Exception):
    pass


class ConditionFailed(ClientError):
    def __init__(self, **response: Any) -> None:
        error: Any = {"Error": {"Code": "ConditionalCheckFailedException", "Message": "no"}, **response}
        super().__init__(error, "UpdateItem")


class Conflict(ClientError):
    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "TransactionConflictException", "Message": "no"}}, "UpdateItem")


class FakeDynamoDb:
    """Answers as `say` says; everything it was asked is in `asked`."""

    class exceptions:  # noqa: N801 - the SDK's own name
        ResourceNotFoundException = NoTable
        ConditionalCheckFailedException = ConditionFailed
        TransactionConflictException = Conflict

    def __init__(self, say: Callable[[Any], Answer]) -> None:
        self._say = say
        self.asked: list[Any] = []

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> Answer:  # noqa: N803
        self.asked.append(RequestItems)
        return self._say(RequestItems)

    def batch_execute_statement(self, *, Statements: list[Any]) -> Answer:  # noqa: N803
        self.asked.append(Statements)
        return self._say(Statements)

    def update_item(self, **request: Any) -> Answer:
        self.asked.append(request)
        return self._say(request)

    def get_item(self, **request: Any) -> Answer:
        self.asked.append(request)
        return self._say(request)

    def describe_table(self, *, TableName: str) -> Answer:  # noqa: N803
        self.asked.append(TableName)
        return self._say(TableName)


class Pauses(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def table_on(
    dynamodb: Any,
    *,
    name: str = "Users",
    key: str = "clerkUserId",
    sleep: Callable[[float], None] | None = None,
) -> UsersTable:
    return UsersTable(dynamodb, name, key, sleep=Pauses() if sleep is None else sleep)


def insert(user_id: str) -> Write:
    return Write(user_id, {VERSION: 1}, (), None)


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


def statement_of(write: Write, **table: str) -> tuple[str, list[Any]]:
    dynamodb = FakeDynamoDb(lambda _: {"Responses": [OK]})
    table_on(dynamodb, **table).write([write])  # type: ignore[arg-type]
    [[statement]] = dynamodb.asked
    assert statement["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
    return statement["Statement"], statement["Parameters"]


# Statements


def test_a_new_row_is_an_insert_which_fails_where_there_is_one() -> None:
    write = Write("user_1", {"firstName": "Ada", VERSION: 5}, (), None)
    assert statement_of(write) == (
        "INSERT INTO \"Users\" VALUE {'clerkUserId': ?, 'firstName': ?, 'clerkUpdatedAt': ?}",
        [{"S": "user_1"}, {"S": "Ada"}, {"N": "5"}],
    )


def test_an_update_changes_what_is_told_if_the_row_is_what_was_expected() -> None:
    write = Write(
        "user_1",
        {"firstName": "Ada", VERSION: 6},
        ("email", DELETED),
        {VERSION: 5, DELETED: 9, "lastSignInAt": None, "lastActiveAt": "x"},
    )
    statement, parameters = statement_of(write)
    assert statement == (
        'UPDATE "Users" SET "firstName"=? SET "clerkUpdatedAt"=? REMOVE "email" REMOVE "clerkDeletedAt" '
        'WHERE "clerkUserId"=? AND "clerkUpdatedAt"=? AND "clerkDeletedAt"=? '
        'AND "lastSignInAt" IS MISSING AND "lastActiveAt"=?'
    )
    assert parameters == [
        *({"S": "Ada"}, {"N": "6"}),
        {"S": "user_1"},
        *({"N": "5"}, {"N": "9"}, {"S": "x"}),
    ]


def test_an_update_may_only_remove() -> None:
    write = Write("user_1", {}, ("email",), dict.fromkeys([VERSION, DELETED]))
    statement, parameters = statement_of(write)
    assert statement.startswith('UPDATE "Users" REMOVE "email" WHERE')
    assert parameters == [{"S": "user_1"}]


@pytest.mark.parametrize(
    "write",
    [insert("u"), Write("u", {VERSION: 2}, ("email",), {VERSION: 1, DELETED: None})],
)
def test_there_is_a_parameter_for_each_question_mark(write: Write) -> None:
    statement, parameters = statement_of(write)
    assert statement.count("?") == len(parameters)


def test_quotes_in_a_tables_name_cannot_end_it() -> None:
    write = Write("u", {}, ("email",), {VERSION: None})
    for each in (write, insert("u")):
        statement, _ = statement_of(each, name='my "own" table')
        assert '"my ""own"" table"' in statement


def test_the_key_is_the_tables_own() -> None:
    statement, parameters = statement_of(insert("u"), key="pk")
    assert "{'pk': ?" in statement
    assert parameters[0] == {"S": "u"}
    assert 'WHERE "pk"=?' in statement_of(Write("u", {}, ("email",), {VERSION: None}), key="pk")[0]


def test_quotes_in_the_keys_name_cannot_end_it() -> None:
    assert "{'the user''s id': ?" in statement_of(insert("u"), key="the user's id")[0]


def test_nothing_equals_null_so_it_is_asked_for_by_name() -> None:
    write = Write("u", {}, ("email",), {VERSION: Opaque({"NULL": True}), DELETED: 1})
    statement, parameters = statement_of(write)
    assert statement.endswith('WHERE "clerkUserId"=? AND "clerkUpdatedAt" IS NULL AND "clerkDeletedAt"=?')
    assert parameters == [{"S": "u"}, {"N": "1"}]


# Writing


def test_writes_go_in_batches_of_25_and_results_keep_the_order() -> None:
    lost = {"Error": {"Code": "DuplicateItem"}}
    dynamodb = FakeDynamoDb(Scripted(user_0=[lost], user_30=[lost], user_59=[lost]))
    results = table_on(dynamodb).write(inserts(60))
    assert [len(batch) for batch in batches(dynamodb)] == [25, 25, 10]
    assert [n for n, result in enumerate(results) if result == Lost(None)] == [0, 30, 59]
    assert results.count(Written()) == 57


def test_nothing_to_write_asks_nothing() -> None:
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
def test_only_what_was_throttled_is_tried_again(code: str) -> None:
    again = {"Error": {"Code": code}}
    pauses = Pauses()
    dynamodb = FakeDynamoDb(
        Scripted(user_1=[again, again], user_3=[again, {"Error": {"Code": "DuplicateItem"}}])
    )
    results = table_on(dynamodb, sleep=pauses).write(inserts(5))
    assert batches(dynamodb) == [[f"user_{n}" for n in range(5)], ["user_1", "user_3"], ["user_1"]]
    assert results == [Written(), Written(), Written(), Lost(None), Written()]
    assert len(pauses) == 2


def test_writes_that_are_throttled_without_end_are_left_after_a_bounded_time() -> None:
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


def test_pauses_grow_but_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clerk_sync.aws.clients.random.uniform", lambda _, high: high)
    pauses = Pauses()
    dynamodb = FakeDynamoDb(lambda statements: {"Responses": [THROTTLED for _ in statements]})
    table_on(dynamodb, sleep=pauses).write(inserts(1))
    assert pauses == sorted(pauses)
    assert pauses[0] <= 0.1
    assert pauses[-1] <= 5


def test_a_lost_update_hands_over_the_row_that_won() -> None:
    won = {"clerkUserId": {"S": "user_0"}, VERSION: {"N": "9"}}
    failed = {"Error": {"Code": "ConditionalCheckFailed", "Message": "no", "Item": won}}
    gone = {"Error": {"Code": "ConditionalCheckFailed", "Message": "no"}}
    dynamodb = FakeDynamoDb(Scripted(user_0=[failed], user_1=[gone]))
    assert table_on(dynamodb).write(inserts(2)) == [Lost({VERSION: 9}), Lost(None)]


REASON = "Item size has exceeded the maximum allowed size"
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
def test_row_that_dynamodb_will_never_take_is_refused_alone_with_its_reason(code: str) -> None:
    dynamodb = FakeDynamoDb(Grammar(refuse, user_1=[{"Error": {"Code": code}}]))
    results = table_on(dynamodb).write(inserts(3))
    assert [type(result) for result in results] == [Written, RowRefused, Written]
    assert str(results[1]) == f"DynamoDB refuses the row: {REASON}"
    assert len(dynamodb.asked) == 2, "once as a statement and once as UpdateItem"


def test_statement_that_partiql_refuses_is_tried_as_update_item_with_the_same_condition() -> None:
    dynamodb = FakeDynamoDb(Grammar(lambda _: OK, user_1=[INVALID]))
    assert table_on(dynamodb).write(inserts(3)) == [Written()] * 3
    statements, update = dynamodb.asked
    assert len(statements) == 3
    assert update == update_of(insert("user_1"))


@pytest.mark.parametrize("item", [None, {VERSION: {"N": "9"}}])
def test_lost_race_as_update_item_hands_over_the_row_that_won(item: Any) -> None:
    def lose(_: Any) -> Answer:
        raise ConditionFailed(**({"Item": item} if item else {}))

    dynamodb = FakeDynamoDb(Grammar(lose, user_1=[INVALID]))
    assert table_on(dynamodb).write(inserts(2)) == [Written(), Lost({VERSION: 9} if item else None)]


def test_batch_that_is_refused_as_a_whole_is_tried_one_by_one() -> None:
    def say(request: Any) -> Answer:
        if isinstance(request, list) or request["Key"]["clerkUserId"] == {"S": "user_1"}:
            refuse()
        return OK

    dynamodb = FakeDynamoDb(say)
    results = table_on(dynamodb).write(inserts(30))
    assert [type(result) for result in results] == [Written, RowRefused, *[Written] * 28]
    assert len(dynamodb.asked) == 2 + 30


def test_update_item_that_the_role_forbids_is_no_fault_of_the_row() -> None:
    dynamodb = FakeDynamoDb(Grammar(denied, user_1=[INVALID]))
    with pytest.raises(AwsError) as raised:
        table_on(dynamodb).write(inserts(2))
    assert not isinstance(raised.value, RowRefused)


@pytest.mark.parametrize("code", ["AccessDenied", "ResourceNotFound"])
def test_a_table_that_may_not_be_written_is_an_error(code: str) -> None:
    dynamodb = FakeDynamoDb(lambda statements: {"Responses": [{"Error": {"Code": code}} for _ in statements]})
    with pytest.raises(AwsError):
        table_on(dynamodb).write(inserts(2))


def denied(_: Any) -> Answer:
    raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not allowed"}}, "Op")


def unreachable(_: Any) -> Answer:
    raise EndpointConnectionError(endpoint_url="https://dynamodb.test")


@pytest.mark.parametrize("say", [denied, unreachable])
def test_the_sdks_errors_say_what_was_being_done_to_which_table(say: Callable[[Any], Answer]) -> None:
    table = table_on(FakeDynamoDb(say))
    with pytest.raises(AwsError, match="writing to table 'Users'"):
        table.write(inserts(1))
    with pytest.raises(AwsError, match="reading from table 'Users'"):
        table.read(["user_1"])


# One write by itself


KEYS = ("clerkUserId", "user-id", "a.b", "key")
UPDATE = Write("u", {VERSION: 2}, ("email",), {VERSION: 1, DELETED: None})


def update_of(write: Write, key: str = "clerkUserId") -> Any:
    dynamodb = FakeDynamoDb(lambda _: OK)
    assert table_on(dynamodb, key=key).update(write) == Written()
    [request] = dynamodb.asked
    return request


def spelled_out(request: Any, expression: str) -> str:
    """With its names and values in place of what stands for them."""
    given_names = request["ExpressionAttributeNames"] | request["ExpressionAttributeValues"]
    return re.sub(r"[#:]\w+", lambda found: str(given_names[found[0]]), request[expression])


maybe_rows = st.none() | rows


@given(changes, maybe_rows, st.booleans(), st.sampled_from(KEYS))
def test_an_updates_expressions_use_just_what_is_given_for_them(
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


def test_an_update_for_a_new_row_fails_where_there_is_one() -> None:
    request = update_of(Write("u", {"firstName": "Ada", VERSION: 5}, (), None))
    assert (
        spelled_out(request, "UpdateExpression")
        == "SET firstName = {'S': 'Ada'}, clerkUpdatedAt = {'N': '5'}"
    )
    assert spelled_out(request, "ConditionExpression") == "attribute_not_exists(clerkUserId)"


def test_an_update_by_itself_expects_what_the_row_was() -> None:
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


def test_an_update_by_itself_may_only_remove() -> None:
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


def test_a_lost_update_by_itself_hands_over_only_what_the_sync_owns() -> None:
    row = {"clerkUserId": {"S": "u"}, VERSION: {"N": "9"}, "email": {"S": "a@b.c"}, "plan": {"S": "pro"}}
    lost = table_on(FakeDynamoDb(raising(ConditionFailed(Item=row)))).update(UPDATE)
    assert lost == Lost({VERSION: 9, "email": "a@b.c"})


def test_a_row_without_any_of_ours_is_not_no_row() -> None:
    row = {"clerkUserId": {"S": "u"}, "plan": {"S": "pro"}}
    assert table_on(FakeDynamoDb(raising(ConditionFailed(Item=row)))).update(UPDATE) == Lost({})
    assert table_on(FakeDynamoDb(raising(ConditionFailed()))).update(UPDATE) == Lost(None)


def test_a_transaction_in_the_way_is_waited_for() -> None:
    pauses = Pauses()
    dynamodb = FakeDynamoDb(raising(Conflict(), Conflict(), None))
    assert table_on(dynamodb, sleep=pauses).update(UPDATE) == Written()
    assert len(dynamodb.asked) == 3
    assert len(pauses) == 2


def test_a_transaction_that_is_in_the_way_without_end_is_an_error_after_a_bounded_time() -> None:
    pauses = Pauses()
    dynamodb = FakeDynamoDb(raising(Conflict()))
    with pytest.raises(AwsError, match="'Users'"):
        table_on(dynamodb, sleep=pauses).update(UPDATE)
    assert 5 <= len(dynamodb.asked) <= 20
    assert sum(pauses) < 60


@pytest.mark.parametrize("code", ["ValidationException", "ItemCollectionSizeLimitExceededException"])
def test_update_that_dynamodb_will_never_take_is_refused_with_its_reason(code: str) -> None:
    error = ClientError({"Error": {"Code": code, "Message": REASON}}, "UpdateItem")
    dynamodb = FakeDynamoDb(raising(error))
    with pytest.raises(RowRefused, match=f"^DynamoDB refuses the row: {REASON}$"):
        table_on(dynamodb).update(UPDATE)
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
def test_any_other_error_is_ours_and_not_tried_again(error: Exception) -> None:
    dynamodb = FakeDynamoDb(raising(error))
    with pytest.raises(AwsError, match="writing to table 'Users'") as raised:
        table_on(dynamodb).update(UPDATE)
    assert not isinstance(raised.value, RowRefused)
    with pytest.raises(AwsError, match="reading from table 'Users'"):
        table_on(dynamodb).get("u")
    assert len(dynamodb.asked) == 2


# Reading


@pytest.mark.parametrize("key", KEYS)
def test_one_row_is_read_as_it_is_now_and_only_what_the_sync_owns_of_it(key: str) -> None:
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
def test_a_row_that_has_none_of_ours_is_told_from_no_row(answer: Answer, row: Row | None) -> None:
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


def test_reads_go_in_batches_of_100() -> None:
    dynamodb = FakeDynamoDb(rows_for)
    ids = [f"user_{n}" for n in range(230)]
    rows = table_on(dynamodb).read(ids)
    assert [keys_of(request) for request in dynamodb.asked] == [ids[:100], ids[100:200], ids[200:]]
    assert list(rows) == ids


def test_nothing_to_read_asks_nothing() -> None:
    dynamodb = FakeDynamoDb(rows_for)
    assert table_on(dynamodb).read([]) == {}
    assert dynamodb.asked == []


def test_only_keys_that_were_left_are_asked_for_again() -> None:
    pauses = Pauses()
    dynamodb = FakeDynamoDb(lambda request: rows_for(request, at_most=2))
    rows = table_on(dynamodb, sleep=pauses).read(["a", "b", "c", "d", "e"])
    assert [keys_of(request) for request in dynamodb.asked] == [list("abcde"), list("cde"), ["e"]]
    assert set(rows) == set("abcde")
    assert len(pauses) == 2


def test_keys_that_are_left_without_end_are_an_error_after_a_bounded_time() -> None:
    pauses = Pauses()
    dynamodb = FakeDynamoDb(lambda request: rows_for(request, at_most=0))
    with pytest.raises(AwsError, match="'Users'"):
        table_on(dynamodb, sleep=pauses).read(["a"])
    assert 5 <= len(dynamodb.asked) <= 20
    assert sum(pauses) < 60


def test_users_without_a_row_are_left_out() -> None:
    dynamodb = FakeDynamoDb(lambda _: {"Responses": {}, "UnprocessedKeys": {}})
    assert table_on(dynamodb).read(["a"]) == {}


@pytest.mark.parametrize("consistent", [False, True])
def test_a_consistent_read_is_asked_for_where_it_is_needed(consistent: bool) -> None:
    dynamodb = FakeDynamoDb(lambda request: rows_for(request, at_most=1))
    table_on(dynamodb).read(["a", "b"], consistent=consistent)
    assert [request["Users"]["ConsistentRead"] for request in dynamodb.asked] == [consistent] * 2


def test_only_the_key_and_what_the_sync_owns_is_read() -> None:
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
def test_stored_value_is_read_as_a_plain_one_and_asked_for_as_it_was_stored(typed: Any, value: Any) -> None:
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


def test_no_two_stored_values_of_different_types_are_read_as_equal() -> None:
    items = [{}, *({VERSION: typed} for typed in ({"S": "1"}, {"N": "1"}, *JSON, *ODD))]
    read = [table_on(FakeDynamoDb(lambda _, item=item: {"Item": item})).get("u") for item in items]  # type: ignore[misc]
    assert all(read.count(row) == 1 for row in read)


def test_requests_are_what_the_sdk_takes() -> None:
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
        assert table.write([insert("a"), update]) == [Written(), Written()]
        with pytest.raises(SettingsError, match="ExistingUsersTable"):
            table.check()
        stub.assert_no_pending_responses()


def test_requests_for_one_row_are_what_the_sdk_takes() -> None:
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
        assert table.update(UPDATE) == Written()
        assert table.update(Write("u", {}, ("email",), {VERSION: Opaque({"NULL": True})})) == Lost(
            {VERSION: 3}
        )
        with pytest.raises(AwsError):
            table.update(UPDATE)
        assert table.get("u") == {VERSION: 3}
        stub.assert_no_pending_responses()


# Checking


def described(*keys: tuple[str, str], **types: str) -> Callable[[Any], Answer]:
    return lambda _: {
        "Table": {
            "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": kind} for name, kind in types.items()
            ],
        }
    }


def test_the_expected_table_will_do() -> None:
    say = described(("clerkUserId", "HASH"), clerkUserId="S", indexed="N")
    dynamodb = FakeDynamoDb(say)
    table_on(dynamodb).check()
    assert dynamodb.asked == ["Users"]


@pytest.mark.parametrize(
    "say",
    [
        described(("id", "HASH"), id="S"),
        described(("clerkUserId", "HASH"), clerkUserId="N"),
        described(("clerkUserId", "HASH"), ("sort", "RANGE"), clerkUserId="S", sort="S"),
    ],
)
def test_another_key_is_an_error_that_names_both(say: Callable[[Any], Answer]) -> None:
    found = say(None)["Table"]["KeySchema"]
    with pytest.raises(SettingsError) as error:
        table_on(FakeDynamoDb(say)).check()
    assert "UsersTableKey says 'clerkUserId'" in str(error.value)
    for key in found:
        assert key["AttributeName"] in str(error.value)


def test_an_index_on_a_synced_attribute_must_be_of_its_type() -> None:
    fits = described(("clerkUserId", "HASH"), clerkUserId="S", email="S", createdAt="N", clerkUpdatedAt="N")
    table_on(FakeDynamoDb(fits)).check()
    iso = described(("clerkUserId", "HASH"), clerkUserId="S", email="S", createdAt="S")
    with pytest.raises(SettingsError, match=r"index with createdAt \(S\)"):
        table_on(FakeDynamoDb(iso)).check()


def test_each_owned_attribute_is_written_with_the_type_that_an_index_on_it_must_have() -> None:
    user = parse_user(make_user(0), 2_000_000_000_000)
    assert isinstance(user, User)
    for name, value in {**stored_as(user), DELETED: 1}.items():
        typed = attribute(value)
        for letter in ("S", "N"):
            table = table_on(FakeDynamoDb(described(("id", "HASH"), id="S", **{name: letter})), key="id")
            if letter in typed:
                table.check()
            else:
                with pytest.raises(SettingsError, match=name):
                    table.check()


def test_a_table_that_is_not_there_is_an_error_that_says_what_to_correct() -> None:
    def say(_: Any) -> Answer:
        raise NoTable

    with pytest.raises(SettingsError, match=r"'Users'.*ExistingUsersTable"):
        table_on(FakeDynamoDb(say)).check()


def test_a_table_that_may_not_be_looked_at_is_an_error_of_ours() -> None:
    with pytest.raises(AwsError):
        table_on(FakeDynamoDb(denied)).check()
