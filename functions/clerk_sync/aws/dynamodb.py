"""DynamoDB attribute values, for the few types that are stored here."""

from collections.abc import Mapping
from typing import Any

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
    """A whole item; None is left out, as an absent attribute is how DynamoDB says it best."""
    return {name: attribute(value) for name, value in values.items() if value is not None}


def from_item(item: Item) -> dict[str, Any]:
    """The reverse of `to_item`; attributes of any other type come back as DynamoDB has them."""
    return {name: _value(typed) for name, typed in item.items()}


def _value(typed: Attribute) -> Any:
    kind, value = next(iter(typed.items()))
    return int(value) if kind == "N" else value
