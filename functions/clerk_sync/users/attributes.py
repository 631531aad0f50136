"""Rows and their values as DynamoDB's API has them, such as `{"S": "Ada"}`."""

from clerk_sync.aws.items import Attribute, Item, attribute, from_attribute
from clerk_sync.users.fields import Names
from clerk_sync.users.row import Row, owned
from clerk_sync.users.values import Json, Opaque, Value, plain


def to_attribute(value: Value) -> Attribute:
    """A value as DynamoDB has it."""
    return value.stored if isinstance(value, Opaque) else attribute(plain(value))


def to_row(item: Item, names: Names) -> Row:
    """What an item has of these fields, and its version and mark."""
    return {name: _value(item[name]) for name in owned(names) if name in item}


def _value(stored: Attribute) -> Value:
    match from_attribute(stored):
        case bool() | dict() as value:
            try:
                return Json.of(value)
            except ValueError:  # the sync never writes such an object
                return Opaque(stored)
        case str() | int() as value:
            return value
    return Opaque(stored)
