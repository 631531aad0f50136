"""Plain values and the typed attribute values of DynamoDB's API, such as `{"S": "Ada"}`."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from clerk_sync.aws.dynamodb import Attribute, Item, attribute
from clerk_sync.users.fields import FIELDS, Names
from clerk_sync.users.row import Row, owned
from clerk_sync.users.values import Json, Opaque, Value


def to_attribute(value: Value) -> Attribute:
    """The reverse of `_value`."""
    match value:
        case Opaque(stored):
            typed: Attribute = stored
            return typed
        case Json():
            return _typed(value.value)
    return attribute(value)


def to_row(item: Item, names: Names) -> Row:
    """What an item has of these fields, and its version and mark."""
    return {name: _value(item[name]) for name in owned(names) if name in item}


def type_of(name: str) -> str:
    """The type with which an owned attribute is written, such as `S`."""
    return FIELDS[name].type.value if name in FIELDS else "N"


def _value(typed: Attribute) -> Value:
    match typed:
        case {"S": str(text)}:
            return text
        case {"N": str(digits)} if digits.removeprefix("-").isdecimal():
            return int(digits)
        case {"BOOL": _} | {"M": _}:
            try:
                return Json.of(_plain(typed))
            except ValueError:  # the sync never writes such a value
                pass
    return Opaque(typed)


def _plain(typed: Attribute) -> Any:
    """Raises ValueError for what JSON does not have, such as a set."""
    match typed:
        case {"S": value} | {"BOOL": value}:
            return value
        case {"N": digits}:
            return Decimal(digits)
        case {"NULL": _}:
            return None
        case {"L": items}:
            return [_plain(item) for item in items]
        case {"M": items}:
            return {name: _plain(item) for name, item in items.items()}
    raise ValueError("not JSON")


def _typed(value: Any) -> Mapping[str, Any]:
    match value:
        case dict():
            return {"M": {name: _typed(item) for name, item in value.items()}}
        case list():
            return {"L": [_typed(item) for item in value]}
        case Decimal():
            return {"N": str(value)}
        case None:
            return {"NULL": True}
    return attribute(value)
