"""Plain values and the typed attribute values of DynamoDB's API, such as `{"S": "Ada"}`."""

from decimal import Decimal
from typing import Any

from clerk_sync.aws.dynamodb import Attribute, Item, attribute
from clerk_sync.users.fields import FIELDS, Names
from clerk_sync.users.row import Row, owned
from clerk_sync.users.values import Json, Opaque, Value, plain


def to_attribute(value: Value) -> Attribute:
    """A value as DynamoDB has it."""
    if isinstance(value, Opaque):
        typed: Attribute = value.stored
        return typed
    return _typed(plain(value))


def to_row(item: Item, names: Names) -> Row:
    """What an item has of these fields, and its version and mark."""
    return {name: _value(item[name]) for name in owned(names) if name in item}


def type_of(name: str) -> str:
    """The type with which an owned attribute is written, such as `S`."""
    return FIELDS[name].type.attribute_type if name in FIELDS else "N"


def _value(typed: Attribute) -> Value:
    match typed:
        case {"S": str(text)}:
            return text
        case {"N": str(digits)} if digits.removeprefix("-").isdecimal():
            return int(digits)
        case {"BOOL": _} | {"M": _}:
            try:
                return Json.of(_untyped(typed))
            except ValueError:  # the sync never writes such a value
                pass
    return Opaque(typed)


def _typed(value: Any) -> Attribute:
    match value:
        case dict():
            return {"M": {key: _typed(item) for key, item in value.items()}}
        case list():
            return {"L": [_typed(item) for item in value]}
        case Decimal():
            return {"N": str(value)}
        case None:
            return {"NULL": True}
    return attribute(value)


def _untyped(typed: Attribute) -> Any:
    match typed:
        case {"M": items}:
            return {key: _untyped(item) for key, item in items.items()}
        case {"L": items}:
            return [_untyped(item) for item in items]
        case {"N": digits}:
            return Decimal(digits)
        case {"NULL": _}:
            return None
        case {"S": value} | {"BOOL": value}:
            return value
    raise ValueError("JSON has no such type")
