"""One conditional write of an item, as a PartiQL statement or as a request of UpdateItem."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clerk_sync.aws.dynamodb import Attribute, attribute


@dataclass(frozen=True, slots=True)
class ConditionalWrite:
    """Sets the attributes of `put` and removes those of `remove`, in the item with this key.

    `expected` is what attributes must be for that (None: absent), or None where there must be no item yet.
    """

    table: str
    key: str
    key_value: str
    put: Mapping[str, Attribute]
    remove: tuple[str, ...]
    expected: Mapping[str, Attribute | None] | None


def partiql_statement(write: ConditionalWrite) -> dict[str, Any]:
    """An INSERT or UPDATE for BatchExecuteStatement."""
    statement, parameters = _insert(write) if write.expected is None else _update(write, write.expected)
    return {
        "Statement": statement,
        "Parameters": parameters,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def update_item_request(write: ConditionalWrite) -> dict[str, Any]:
    """The same write as UpdateItem's arguments."""
    conditions, values = _conditions(write)
    changes = []
    if write.put:
        changes.append("SET " + ", ".join(f"#{name} = :{name}" for name in write.put))
    if write.remove:
        changes.append("REMOVE " + ", ".join(f"#{name}" for name in write.remove))
    change, condition = " ".join(changes), " AND ".join(conditions)
    names = re.findall(r"#\w+", f"{change} {condition}")
    return {
        "TableName": write.table,
        "Key": {write.key: attribute(write.key_value)},
        "UpdateExpression": change,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {name: write.key if name == "#key" else name[1:] for name in names},
        "ExpressionAttributeValues": {f":{name}": value for name, value in write.put.items()} | values,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _insert(write: ConditionalWrite) -> tuple[str, list[Any]]:
    pairs = {write.key: attribute(write.key_value), **write.put}
    names = ", ".join("'" + name.replace("'", "''") + "': ?" for name in pairs)
    return f"INSERT INTO {_quoted(write.table)} VALUE {{{names}}}", list(pairs.values())


def _update(write: ConditionalWrite, expected: Mapping[str, Attribute | None]) -> tuple[str, list[Any]]:
    clauses = [f"SET {_quoted(name)}=?" for name in write.put]
    clauses += [f"REMOVE {_quoted(name)}" for name in write.remove]
    conditions = [f"{_quoted(write.key)}=?"]
    parameters = [*write.put.values(), attribute(write.key_value)]
    for name, value in expected.items():
        if value is None:
            conditions.append(f"{_quoted(name)} IS MISSING")
        elif "NULL" in value:
            conditions.append(f"{_quoted(name)} IS NULL")  # as in SQL, nothing equals NULL
        else:
            conditions.append(f"{_quoted(name)}=?")
            parameters.append(value)
    changes = " ".join(clauses)
    return f"UPDATE {_quoted(write.table)} {changes} WHERE {' AND '.join(conditions)}", parameters


def _conditions(write: ConditionalWrite) -> tuple[list[str], dict[str, Attribute]]:
    if write.expected is None:
        return ["attribute_not_exists(#key)"], {}
    conditions = ["attribute_exists(#key)"]
    for name, value in write.expected.items():
        conditions.append(f"attribute_not_exists(#{name})" if value is None else f"#{name} = :was_{name}")
    present = {name: value for name, value in write.expected.items() if value is not None}
    return conditions, {f":was_{name}": value for name, value in present.items()}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
