"""DynamoDB's items as plain values, and RunsTable's: reading them, and writing them under conditions.

Every item of RunsTable has the keys `runId` and `part`. In an expression, `#name` stands for the attribute
`name`, as many names are reserved words.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from clerk_sync.aws.clients import attempts, translated
from clerk_sync.errors import AwsError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

type DynamoDB = DynamoDBClient
Attribute = Mapping[str, Any]
"""A typed value as DynamoDB's API has it, such as `{"S": "Ada"}` or `{"N": "17"}`."""
Item = Mapping[str, Attribute]
Value = str | int | bool | bytes
Values = Mapping[str, Value | None]
Changes = Mapping[str, Value]
Write = Mapping[str, Mapping[str, Any]]
"""One write of a transaction, without its table: `{"Put": {…}}`, `{"Update": {…}}` or `{"Delete": {…}}`."""

IS_NEW = "attribute_not_exists(runId)"

# The codes of a transaction's writes, and those of a single write: the SDK itself retries its throttling.
_CONDITION_FAILED = {"ConditionalCheckFailed", "ConditionalCheckFailedException"}
_TRANSIENT = {
    "TransactionConflict",
    "TransactionConflictException",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
}


def attribute(value: Any) -> dict[str, Any]:
    """`"Ada"` → `{"S": "Ada"}`, `17` → `{"N": "17"}`, and so on for all of JSON and for bytes."""
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int() | Decimal():
            return {"N": str(value)}
        case dict():
            return {"M": {key: attribute(item) for key, item in value.items()}}
        case list():
            return {"L": [attribute(item) for item in value]}
        case None:
            return {"NULL": True}
    return {"B": value}


def from_attribute(stored: Attribute) -> Any:
    """The reverse of `attribute`. Numbers are int, or Decimal if they are not whole. The members of a set
    stay as DynamoDB's API has them."""
    [(kind, value)] = stored.items()
    match kind:
        case "N":
            return int(value) if value.removeprefix("-").isdecimal() else Decimal(value)
        case "M":
            return from_item(value)
        case "L":
            return [from_attribute(item) for item in value]
        case "NULL":
            return None
        case "SS" | "NS" | "BS":
            return set(value)
    return value


def to_item(values: Mapping[str, Value | None]) -> dict[str, dict[str, Any]]:
    """A whole item. A value that is None is left out: in DynamoDB, the attribute is absent."""
    return {name: attribute(value) for name, value in values.items() if value is not None}


def from_item(item: Item) -> dict[str, Any]:
    """The reverse of `to_item`."""
    return {name: from_attribute(stored) for name, stored in item.items()}


def put(item: Values, only_if: str = IS_NEW, values: Values | None = None) -> Write:
    """Write the whole item."""
    return {"Put": {"Item": to_item(item), **_expressions(only_if, values or {})}}


def update(
    run_id: str,
    part: str,
    only_if: str,
    values: Values,
    *,
    set_: Changes | None = None,
    set_once: Changes | None = None,
    add: Changes | None = None,
) -> Write:
    """Set attributes of an item, those in `set_once` if the item does not have them, or add to numbers."""
    sets = [f"#{name} = :{name}" for name in set_ or ()]
    sets += [f"#{name} = if_not_exists(#{name}, :{name})" for name in set_once or ()]
    clauses = [f"SET {', '.join(sets)}"] if sets else []
    if add:
        clauses.append("ADD " + ", ".join(f"#{name} :{name}" for name in add))
    changed = {f":{name}": value for more in (set_, set_once, add) for name, value in (more or {}).items()}
    return {
        "Update": {
            "Key": _key(run_id, part),
            "UpdateExpression": " ".join(clauses),
            **_expressions(only_if, {**changed, **values}, *clauses),
        }
    }


def delete(run_id: str, part: str, only_if: str, values: Values) -> Write:
    """Delete an item."""
    return {"Delete": {"Key": _key(run_id, part), **_expressions(only_if, values)}}


@dataclass(frozen=True, slots=True)
class Items:
    """The edge to RunsTable. Every method raises AwsError when DynamoDB refuses or throttles a call."""

    dynamodb: DynamoDB
    table: str

    def get(self, run_id: str, part: str) -> dict[str, Any] | None:
        """The item, or None if there is none."""
        with translated(f"reading from {self.table}"):
            answer = self.dynamodb.get_item(TableName=self.table, Key=_key(run_id, part), ConsistentRead=True)
        return from_item(answer["Item"]) if "Item" in answer else None

    def query(self, run_id: str, prefix: str, only_if: str, value: Value) -> Iterator[dict[str, Any]]:
        """The run's items whose part has this prefix, in order. `only_if` compares an attribute with
        `:value`."""
        with translated(f"reading from {self.table}"):
            for answer in self.dynamodb.get_paginator("query").paginate(
                TableName=self.table,
                ConsistentRead=True,
                KeyConditionExpression="runId = :run AND begins_with(part, :prefix)",
                FilterExpression=only_if,
                **_expressions("", {":run": run_id, ":prefix": prefix, ":value": value}, only_if),
            ):
                yield from map(from_item, answer["Items"])

    def update(
        self, run_id: str, part: str, only_if: str = "", values: Values | None = None, **changes: Changes
    ) -> dict[str, Any] | None:
        """Update an item and return it; None if the condition does not hold."""
        request = update(run_id, part, only_if, values or {}, **changes)["Update"]
        answer = self._try(self.dynamodb.update_item, TableName=self.table, ReturnValues="ALL_NEW", **request)
        return from_item(answer["Attributes"]) if answer else None

    def transact(self, *writes: Write) -> bool:
        """All of the writes or none; False if a condition does not hold."""
        items = [
            {kind: {"TableName": self.table, **request}}
            for write in writes
            for kind, request in write.items()
        ]
        return self._try(self.dynamodb.transact_write_items, TransactItems=items) is not None

    def _try(self, operation: Callable[..., Any], **request: Any) -> Any:
        """The operation's answer; None if a condition does not hold."""
        for _ in attempts(10, first=0.04, longest=1.0, sleep=time.sleep):
            with translated(f"writing to {self.table}"):
                try:
                    return operation(**request)
                except ClientError as error:
                    answer: Any = error.response
                    codes = {one.get("Code") for one in answer.get("CancellationReasons", [answer["Error"]])}
                    if codes & _CONDITION_FAILED:
                        return None
                    if not codes & _TRANSIENT:
                        raise
        raise AwsError(f"DynamoDB kept refusing writes to {self.table}: too many at once")


def _key(run_id: str, part: str) -> dict[str, dict[str, Any]]:
    return to_item({"runId": run_id, "part": part})


def _expressions(only_if: str, values: Values, *clauses: str) -> dict[str, Any]:
    """The condition, and just the names and values that it and the other clauses use: DynamoDB takes neither
    others nor an empty map of them."""
    expressions: dict[str, Any] = {"ConditionExpression": only_if} if only_if else {}
    if names := names_in(only_if, *clauses):
        expressions["ExpressionAttributeNames"] = names
    if values:
        expressions["ExpressionAttributeValues"] = to_item(values)
    return expressions


def names_in(*clauses: str) -> dict[str, str]:
    """`#name` → `name` for each that the clauses use."""
    return {f"#{name}": name for name in re.findall(r"#(\w+)", " ".join(clauses))}
