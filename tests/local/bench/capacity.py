"""What DynamoDB would bill for a request, by its documented rules: arithmetic alone.

Reads are counted by the items that come back, up to 4 KB each a unit, half of one if eventually consistent; a
key without an item costs as much as the smallest. Writes are what the local AWS answers to
ReturnConsumedCapacity, which goes by the row's size before and after, twice in a transaction; a PartiQL
statement it takes for one unit, which is right for rows of up to 1 KB. What it does not tell is added here: a
condition that fails costs what the write would have.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

READ_BYTES = 4096
WRITE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Units:
    """Read and write request units."""

    read: float = 0.0
    write: float = 0.0

    def __add__(self, other: "Units") -> "Units":
        return Units(self.read + other.read, self.write + other.write)

    def times(self, factor: float) -> "Units":
        return Units(self.read * factor, self.write * factor)


NO_UNITS = Units()


def units(operation: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Units]:
    """By table, what one request that got that answer, an error too, is billed."""
    match operation:
        case "GetItem":
            sizes = [item_size(answer.get("Item", {}))]
            return {request["TableName"]: Units(read=read_units(sizes, request))}
        case "BatchGetItem":
            return {
                table: Units(read=_batch_read(wanted, answer, table))
                for table, wanted in request["RequestItems"].items()
            }
        case "Query" | "Scan":
            together = sum(map(item_size, answer.get("Items", [])))
            return {request["TableName"]: Units(read=read_units([together], request))}
        case "PutItem" | "UpdateItem" | "DeleteItem" if _failed(answer, "ConditionalCheckFailed"):
            return {request["TableName"]: Units(write=write_units(item_size(answer.get("Item", {}))))}
        case "TransactWriteItems" if _failed(answer, "TransactionCanceled"):
            return _sum(
                (action["TableName"], Units(write=2.0))
                for item in request["TransactItems"]
                for action in item.values()
            )
    consumed = answer.get("ConsumedCapacity", [])
    every = [consumed] if isinstance(consumed, dict) else consumed
    return _sum((one["TableName"], Units(write=one["CapacityUnits"])) for one in every)


def read_units(sizes: Iterable[int], request: Mapping[str, Any]) -> float:
    """What items of these sizes cost, each rounded by itself."""
    each = 1.0 if request.get("ConsistentRead") else 0.5
    return each * sum(max(1, ceil(size / READ_BYTES)) for size in sizes)


def write_units(size: int) -> float:
    """What a write costs that is no transaction's, by the row's size before or after: the bigger one."""
    return float(max(1, ceil(size / WRITE_BYTES)))


def item_size(item: Mapping[str, Any]) -> int:
    """An item's size in bytes: names and values."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(typed: Mapping[str, Any]) -> int:
    kind, value = next(iter(typed.items()))
    match kind:
        case "N":
            return ceil(len(value.strip("-").rstrip("0")) / 2) + 1
        case "S":
            return len(value.encode())
        case "B":
            return len(value) * 3 // 4  # base64 on the wire
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_size(part) for name, part in value.items())
        case "L":
            return 3 + sum(1 + _value_size(part) for part in value)
    return 1


def _batch_read(wanted: Mapping[str, Any], answer: Mapping[str, Any], table: str) -> float:
    if "Responses" not in answer:
        return 0.0
    found = [item_size(item) for item in answer["Responses"].get(table, [])]
    unread = len(answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", []))
    missing = len(wanted["Keys"]) - unread - len(found)
    return read_units([*found, *[0] * missing], wanted)


def _failed(answer: Mapping[str, Any], error: str) -> bool:
    return error in answer.get("__type", "")


def _sum(parts: Iterable[tuple[str, Units]]) -> dict[str, Units]:
    totals: dict[str, Units] = {}
    for table, part in parts:
        totals[table] = totals.get(table, NO_UNITS) + part
    return totals
