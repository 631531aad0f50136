"""The PartiQL statements of UsersTable."""

from typing import Any

import pytest

from clerk_sync.users.values import Opaque
from clerk_sync.users.write_rule import DELETED, VERSION, Write
from tests.support.scripted_dynamodb import OK, FakeDynamoDb, insert, table_on


def statement_of(write: Write, **table: str) -> tuple[str, list[Any]]:
    dynamodb = FakeDynamoDb(lambda _: {"Responses": [OK]})
    table_on(dynamodb, **table).write([write])  # type: ignore[arg-type]
    [[statement]] = dynamodb.asked
    assert statement["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
    return statement["Statement"], statement["Parameters"]


def test_new_row_is_an_insert_that_fails_if_there_is_a_row() -> None:
    write = Write("user_1", {"firstName": "Ada", VERSION: 5}, (), None)
    assert statement_of(write) == (
        "INSERT INTO \"Users\" VALUE {'clerkUserId': ?, 'firstName': ?, 'clerkUpdatedAt': ?}",
        [{"S": "user_1"}, {"S": "Ada"}, {"N": "5"}],
    )


def test_update_statement_has_its_changes_and_conditions() -> None:
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


def test_update_statement_may_only_remove_attributes() -> None:
    write = Write("user_1", {}, ("email",), dict.fromkeys([VERSION, DELETED]))
    statement, parameters = statement_of(write)
    assert statement.startswith('UPDATE "Users" REMOVE "email" WHERE')
    assert parameters == [{"S": "user_1"}]


@pytest.mark.parametrize(
    "write",
    [insert("u"), Write("u", {VERSION: 2}, ("email",), {VERSION: 1, DELETED: None})],
)
def test_statement_has_a_parameter_for_each_question_mark(write: Write) -> None:
    statement, parameters = statement_of(write)
    assert statement.count("?") == len(parameters)


def test_quotes_in_the_table_name_are_escaped() -> None:
    write = Write("u", {}, ("email",), {VERSION: None})
    for each in (write, insert("u")):
        statement, _ = statement_of(each, name='my "own" table')
        assert '"my ""own"" table"' in statement


def test_statements_use_the_key_of_the_table() -> None:
    statement, parameters = statement_of(insert("u"), key="pk")
    assert "{'pk': ?" in statement
    assert parameters[0] == {"S": "u"}
    assert 'WHERE "pk"=?' in statement_of(Write("u", {}, ("email",), {VERSION: None}), key="pk")[0]


def test_quotes_in_the_key_name_are_escaped() -> None:
    assert "{'the user''s id': ?" in statement_of(insert("u"), key="the user's id")[0]


def test_null_is_compared_with_is_null() -> None:
    write = Write("u", {}, ("email",), {VERSION: Opaque({"NULL": True}), DELETED: 1})
    statement, parameters = statement_of(write)
    assert statement.endswith('WHERE "clerkUserId"=? AND "clerkUpdatedAt" IS NULL AND "clerkDeletedAt"=?')
    assert parameters == [{"S": "u"}, {"N": "1"}]
