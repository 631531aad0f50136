"""UsersTable checks that the table fits."""

from collections.abc import Callable
from typing import Any

import pytest

from clerk_sync.aws.items import attribute
from clerk_sync.errors import AwsError, SettingsError
from clerk_sync.users.user import User, parse_user
from clerk_sync.users.write_rule import DELETED
from tests.local.clerk.fake_users import make_user
from tests.support.scripted_dynamodb import Answer, FakeDynamoDb, NoTable, denied, table_on
from tests.support.strategies import stored_as


def described(*keys: tuple[str, str], **types: str) -> Callable[[Any], Answer]:
    return lambda _: {
        "Table": {
            "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": kind} for name, kind in types.items()
            ],
        }
    }


def test_check_accepts_the_expected_table() -> None:
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
def test_check_names_both_keys_if_they_differ(say: Callable[[Any], Answer]) -> None:
    found = say(None)["Table"]["KeySchema"]
    with pytest.raises(SettingsError) as error:
        table_on(FakeDynamoDb(say)).check()
    assert "UsersTableKey says 'clerkUserId'" in str(error.value)
    for key in found:
        assert key["AttributeName"] in str(error.value)


def test_check_rejects_an_index_of_another_type() -> None:
    fits = described(("clerkUserId", "HASH"), clerkUserId="S", email="S", createdAt="N", clerkUpdatedAt="N")
    table_on(FakeDynamoDb(fits)).check()
    iso = described(("clerkUserId", "HASH"), clerkUserId="S", email="S", createdAt="S")
    with pytest.raises(SettingsError, match=r"index with createdAt \(S\)"):
        table_on(FakeDynamoDb(iso)).check()


def test_check_accepts_only_the_type_that_is_written() -> None:
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


def test_check_names_the_parameter_if_there_is_no_table() -> None:
    def say(_: Any) -> Answer:
        raise NoTable

    with pytest.raises(SettingsError, match=r"'Users'.*ExistingUsersTable"):
        table_on(FakeDynamoDb(say)).check()


def test_check_that_is_denied_is_an_aws_error() -> None:
    with pytest.raises(AwsError):
        table_on(FakeDynamoDb(denied)).check()
