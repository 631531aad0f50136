"""Clerk's list of users, read from JSON. Apart from users/, as pydantic takes long to import."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic_core import CoreSchema, SchemaValidator, core_schema

from clerk_sync.users.fields import DEFAULT_NAMES, FIELDS, FieldType, Names, Primary
from clerk_sync.users.values import read_json


def read_users(body: bytes, names: Names = DEFAULT_NAMES) -> list[Any]:
    """The user objects of a JSON list, each with what `parse_user` needs for these fields. Raises ValueError
    or RecursionError if it is no list."""
    users: list[Any]
    validator = _users_validator(names)
    try:
        if any(FIELDS[name].type is FieldType.METADATA for name in names):
            raise ValueError("it would read fractions as float")
        users = validator.validate_json(body)  # takes half of the time of json.loads
    except ValueError:
        # It also refuses half of a surrogate pair and long numbers, which must not affect the other users.
        users = validator.validate_python(read_json(body))
    return users


@cache
def _users_validator(names: Names) -> SchemaValidator:
    keys: dict[str, CoreSchema] = dict.fromkeys(("id", "updated_at"), core_schema.any_schema())
    for source in (FIELDS[name].source for name in names):
        if isinstance(source, Primary):
            keys[source.primary_id] = core_schema.any_schema()
            inner = dict.fromkeys(("id", source.value), core_schema.any_schema())
            keys[source.items] = _or_anything(_objects(inner))
        else:
            keys[source] = core_schema.any_schema()
    return SchemaValidator(_objects(keys))


def _objects(keys: Mapping[str, CoreSchema]) -> CoreSchema:
    """A list of objects with only these keys; anything else in it stays as it is."""
    fields = {name: core_schema.typed_dict_field(schema, required=False) for name, schema in keys.items()}
    return core_schema.list_schema(_or_anything(core_schema.typed_dict_schema(fields)))


def _or_anything(schema: CoreSchema) -> CoreSchema:
    return core_schema.union_schema([schema, core_schema.any_schema()], mode="left_to_right")
