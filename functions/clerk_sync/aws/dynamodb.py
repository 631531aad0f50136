"""DynamoDB's items as plain values, for the few types that are stored here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from clerk_sync.aws.clients import translated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type DynamoDB = DynamoDBClient
Value = str | int | bool | bytes
Attribute = Mapping[str, Any]
"""A typed value as DynamoDB's API has it, such as `{"S": "Ada"}` or `{"N": "17"}`."""
Item = Mapping[str, Attribute]


def attribute(value: Value) -> dict[str, Any]:
    """`"Ada"` → `{"S": "Ada"}`, `17` → `{"N": "17"}`, `True` → `{"BOOL": True}`."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"S": value} if isinstance(value, str) else {"B": value}


def to_item(values: Mapping[str, Value | None]) -> dict[str, dict[str, Any]]:
    """A whole item. None is left out, as DynamoDB's way to say it is an absent attribute."""
    return {name: attribute(value) for name, value in values.items() if value is not None}


def from_item(item: Item) -> dict[str, Any]:
    """The reverse of `to_item`; attributes of any other type come back as DynamoDB has them."""
    typed = ((name, *next(iter(value.items()))) for name, value in item.items())
    return {name: int(value) if kind == "N" else value for name, kind, value in typed}


class SingleItem:
    """The item of a table that has this key. Every method raises AwsError."""

    def __init__(self, dynamodb: DynamoDB, table: str, key: Mapping[str, str]) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._key = to_item(key)

    def read(self) -> dict[str, Any]:
        """The item as it is now; empty if there is none."""
        with translated(f"reading from {self._table}"):
            answer = self._dynamodb.get_item(TableName=self._table, Key=self._key, ConsistentRead=True)
        return from_item(answer.get("Item", {}))

    def update(self, change: str, condition: str | None = None, **values: Value) -> bool:
        """Carry out an update expression, in which `:name` is the value of that name. False: the condition
        does not hold."""
        only_if = {"ConditionExpression": condition} if condition else {}
        with translated(f"writing to {self._table}"):
            try:
                self._dynamodb.update_item(
                    TableName=self._table,
                    Key=self._key,
                    UpdateExpression=change,
                    ExpressionAttributeValues=to_item({f":{name}": value for name, value in values.items()}),
                    **only_if,  # type: ignore[arg-type]
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                    raise
                return False
        return True
