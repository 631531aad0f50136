"""Clerk's list of users, read from JSON. Apart from users/, as pydantic takes long to import."""

from functools import cache
from typing import Any

from pydantic_core import SchemaValidator, core_schema

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
    """It leaves out the other keys of each object in the list, and checks nothing else."""
    keys = ["id", "updated_at"]
    for source in (FIELDS[name].source for name in names):
        keys += [source.items, source.primary_id] if isinstance(source, Primary) else [source]
    anything = core_schema.any_schema()
    user = core_schema.typed_dict_schema(
        dict.fromkeys(keys, core_schema.typed_dict_field(anything, required=False))
    )
    return SchemaValidator(
        core_schema.list_schema(core_schema.union_schema([user, anything], mode="left_to_right"))
    )
