"""DynamoDB that answers a UsersTable as a test says, and what a test reads from its requests."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from clerk_sync.users.table import UsersTable
from clerk_sync.users.write_rule import DELETED, VERSION, Write

type Answer = dict[str, Any]
OK: Answer = {}


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


REASON = "Item size has exceeded the maximum allowed size"


def denied(_: Any) -> Answer:
    raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not allowed"}}, "Op")


KEYS = ("clerkUserId", "user-id", "a.b", "key")
UPDATE = Write("u", {VERSION: 2}, ("email",), {VERSION: 1, DELETED: None})


def update_of(write: Write, key: str = "clerkUserId") -> Any:
    dynamodb = FakeDynamoDb(lambda _: OK)
    assert table_on(dynamodb, key=key).update(write) is None
    [request] = dynamodb.asked
    return request
