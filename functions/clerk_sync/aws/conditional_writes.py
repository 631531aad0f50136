"""Conditional writes to one table, one by one as UpdateItem or in batches of PartiQL statements."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any, cast

from botocore.exceptions import ClientError

from clerk_sync.aws.clients import translated
from clerk_sync.aws.dynamodb import Attribute, DynamoDB, Item, attribute
from clerk_sync.errors import AwsError, RowRefused, Throttled

WRITES_PER_REQUEST = 25
"""BatchExecuteStatement's limit."""

_THROTTLED = {
    "InternalServerError",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingError",
    "TransactionConflict",
}
_REFUSED = {"ItemCollectionSizeLimitExceeded", "Validation", "ValidationError"}
"""What can be the fault of one item alone. Requests have these codes with the suffix `Exception`."""


@dataclass(frozen=True, slots=True)
class ConditionalWrite:
    """Sets the attributes of `put` and removes those of `remove` in the item with this key.

    `expected` is what attributes must be for that (None: absent), or None where there must be no item yet.
    """

    key_value: str
    put: Mapping[str, Attribute]
    remove: tuple[str, ...]
    expected: Mapping[str, Attribute | None] | None


@dataclass(frozen=True, slots=True)
class ConditionFailed:
    """The item was not as expected. `item` is what it is, or None if that is unknown or there is none."""

    item: Item | None


type WriteResult = ConditionFailed | RowRefused | Throttled | None
"""What became of one write; None: it took effect."""


@dataclass(frozen=True, slots=True)
class ConditionalWriter:
    """Writes to the table that has this key. `attempts` loops over so many attempts, with pauses, while
    DynamoDB throttles. Errors that are not one item's are raised as AwsError."""

    dynamodb: DynamoDB
    table: str
    key: str
    attempts: Callable[[int], Iterator[None]]

    # Batches of PartiQL, as `python3 -m tests.local bench` compares the ways there are: 5,000 conditional
    # updates were 200 requests and 0.4 s of CPU from one thread, 2,800 a second on the local AWS. UpdateItem
    # from 16 threads was 5,000 requests and 5.8 s, 840 a second, for the same units and results.
    # Transactions of 25 or 100 rows were slower (1,800 a second at best) and cost two units a row, and one
    # failed condition fails the whole transaction. BatchWriteItem has no conditions.
    def write_all(self, writes: Sequence[ConditionalWrite]) -> list[WriteResult]:
        """Carry out writes of different items. One result for each, in order."""
        results: list[WriteResult] = []
        for batch in batched(writes, WRITES_PER_REQUEST, strict=False):
            results += self._write_batch(batch)
            if isinstance(results[-1], Throttled):
                break
        return results + [throttled(self.table)] * (len(writes) - len(results))

    def write(self, write: ConditionalWrite) -> ConditionFailed | None:
        """Carry out one write. Raises RowRefused if DynamoDB will never take the item."""
        errors = self.dynamodb.exceptions
        request = update_item_request(self.table, self.key, write)
        for _ in self.attempts(8):
            with translated(f"writing to table {self.table!r}"):
                try:
                    self.dynamodb.update_item(**request)
                except errors.ConditionalCheckFailedException as error:
                    return ConditionFailed(cast("Item | None", error.response.get("Item")))
                except errors.TransactionConflictException:
                    continue  # a transaction of the app's; the SDK does not retry this error
                except ClientError as error:
                    if _code(error) not in _REFUSED:
                        raise
                    reason = error.response["Error"]["Message"]
                    raise RowRefused(f"DynamoDB refuses the row: {reason}") from error
            return None
        raise throttled(self.table)

    def _write_batch(self, writes: Sequence[ConditionalWrite]) -> list[WriteResult]:
        results: dict[str, WriteResult] = {}
        todo = list(writes)
        for _ in self.attempts(30):  # the rows were read for these writes: better late than again
            for write, response in zip(todo, self._responses(todo), strict=True):
                error = response.get("Error")
                if error is None or error["Code"] not in _THROTTLED:
                    results[write.key_value] = self._result(write, error)
            todo = [write for write in todo if write.key_value not in results]
            if not todo:
                break
        return [results.get(write.key_value, throttled(self.table)) for write in writes]

    def _responses(self, writes: Sequence[ConditionalWrite]) -> Sequence[Mapping[str, Any]]:
        statements: Any = [_partiql_statement(self.table, self.key, write) for write in writes]
        with translated(f"writing to table {self.table!r}"):
            try:
                return self.dynamodb.batch_execute_statement(Statements=statements)["Responses"]
            except ClientError as error:
                if _code(error) not in _THROTTLED | _REFUSED:
                    raise
                return [{"Error": {"Code": _code(error)}}] * len(writes)

    def _result(self, write: ConditionalWrite, error: Mapping[str, Any] | None) -> WriteResult:
        if error is None:
            return None
        if error["Code"] in ("ConditionalCheckFailed", "DuplicateItem"):
            return ConditionFailed(error.get("Item"))
        if error["Code"] not in _REFUSED:
            raise AwsError(f"DynamoDB refuses writes: {error['Code']}: {error.get('Message', '')}")
        # PartiQL may refuse what UpdateItem takes: a difference in grammar must not cost a user.
        try:
            return self.write(write)
        except (RowRefused, Throttled) as failure:
            return failure


def throttled(table: str) -> Throttled:
    """The error for a table that has been throttled for too long."""
    return Throttled(
        f"DynamoDB kept throttling table {table!r}. If this goes on, raise the table's capacity or lower "
        "WorkerConcurrency."
    )


def is_throttling(error: ClientError) -> bool:
    """Whether DynamoDB throttled the whole request."""
    return _code(error) in _THROTTLED


def _code(error: ClientError) -> str:
    return error.response["Error"]["Code"].removesuffix("Exception")


def update_item_request(table: str, key: str, write: ConditionalWrite) -> dict[str, Any]:
    """A write as UpdateItem's arguments."""
    values = {f":{name}": value for name, value in write.put.items()}
    conditions = ["attribute_not_exists(#key)" if write.expected is None else "attribute_exists(#key)"]
    for name, value in (write.expected or {}).items():
        conditions.append(f"attribute_not_exists(#{name})" if value is None else f"#{name} = :was_{name}")
        values |= {} if value is None else {f":was_{name}": value}
    changes = []
    if write.put:
        changes.append("SET " + ", ".join(f"#{name} = :{name}" for name in write.put))
    if write.remove:
        changes.append("REMOVE " + ", ".join(f"#{name}" for name in write.remove))
    change, condition = " ".join(changes), " AND ".join(conditions)
    names = re.findall(r"#\w+", f"{change} {condition}")
    return {
        "TableName": table,
        "Key": {key: attribute(write.key_value)},
        "UpdateExpression": change,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {name: key if name == "#key" else name[1:] for name in names},
        "ExpressionAttributeValues": values,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _partiql_statement(table: str, key: str, write: ConditionalWrite) -> dict[str, Any]:
    """A write as an INSERT or UPDATE for BatchExecuteStatement."""
    key_value = attribute(write.key_value)
    if write.expected is None:
        names = ", ".join("'" + name.replace("'", "''") + "': ?" for name in (key, *write.put))
        values = [key_value, *write.put.values()]
        statement = f"INSERT INTO {_quoted(table)} VALUE {{{names}}}"
    else:
        values = [*write.put.values(), key_value]
        changes = [f"SET {_quoted(name)}=?" for name in write.put]
        changes += [f"REMOVE {_quoted(name)}" for name in write.remove]
        conditions = [f"{_quoted(key)}=?"]
        for name, value in write.expected.items():
            if value is None:
                conditions.append(f"{_quoted(name)} IS MISSING")
            elif "NULL" in value:
                conditions.append(f"{_quoted(name)} IS NULL")  # as in SQL, nothing equals NULL
            else:
                conditions.append(f"{_quoted(name)}=?")
                values.append(value)
        statement = f"UPDATE {_quoted(table)} {' '.join(changes)} WHERE {' AND '.join(conditions)}"
    return {
        "Statement": statement,
        "Parameters": values,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
