"""DynamoDB's items as plain values, for the few types that are stored here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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
