"""Plain values and the typed attribute values of DynamoDB's API, such as `{"S": "Ada"}`."""

from collections.abc import Callable
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from clerk_sync.aws.dynamodb import Attribute, Item, attribute
from clerk_sync.users.fields import FIELDS, Names
from clerk_sync.users.row import Row, owned
from clerk_sync.users.values import Json, Opaque, Value, plain

_to_python: Callable[[Any], Any] = TypeDeserializer().deserialize
_from_python: Callable[[Any], Attribute] = TypeSerializer().serialize


def to_attribute(value: Value) -> Attribute:
    """A value as DynamoDB has it."""
    match value:
        case Opaque(stored):
            typed: Attribute = stored
            return typed
        case Json():
            return _from_python(plain(value))
    return attribute(value)


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
                return Json.of(_to_python(typed))
            except ValueError:  # the sync never writes such a value
                pass
    return Opaque(typed)
