"""Conditional writes to UsersTable: one by one as UpdateItem, or in batches of PartiQL statements. It
turns rows and writes into what DynamoDB's API takes."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any

from botocore.exceptions import ClientError

from clerk_sync.aws.clients import attempts, translated
from clerk_sync.aws.items import Attribute, DynamoDB, Item, attribute, from_attribute, names_in
from clerk_sync.errors import AwsError, RowRefused, Throttled
from clerk_sync.users.fields import DEFAULT_NAMES, Names
from clerk_sync.users.values import Json, Opaque, Value, plain
from clerk_sync.users.write_rule import Row, Write, owned

_WRITES_PER_REQUEST = 25
"""BatchExecuteStatement's limit."""

THROTTLED = {
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
class Lost:
    """The row was not as expected. `row` is what it is, or None if it is unknown or there is none."""

    row: Row | None


type Result = Lost | RowRefused | Throttled | None
"""What became of one write; None: it took effect."""


@dataclass
class TableWriter:
    """Writes rows, and tries again while DynamoDB throttles and there is time. Errors that are not one row's
    are raised as AwsError."""

    dynamodb: DynamoDB
    table: str
    key: str
    names: Names = DEFAULT_NAMES
    is_out_of_time: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep

    # Batches of PartiQL, as `python3 -m tests.local bench` compares the ways there are: 5,000 conditional
    # updates were 200 requests and 0.4 s of CPU from one thread, 2,800 a second on the local AWS. UpdateItem
    # from 16 threads was 5,000 requests and 5.8 s, 840 a second, for the same units and results.
    # Transactions of 25 or 100 rows were slower (1,800 a second at best) and cost two units a row, and one
    # failed condition fails the whole transaction. BatchWriteItem has no conditions.
    def write(self, writes: Sequence[Write]) -> list[Result]:
        """Carry out writes of different users. One result for each, in order."""
        results: list[Result] = []
        for batch in batched(writes, _WRITES_PER_REQUEST, strict=False):
            results += self._write_batch(batch)
            if isinstance(results[-1], Throttled):
                break
        return results + [self._throttled()] * (len(writes) - len(results))

    def update(self, write: Write) -> Result:
        """Carry out one write. If it is lost, the row costs no read; `Lost(None)`: there is no row."""
        errors = self.dynamodb.exceptions
        request = update_item_request(self.table, self.key, write)
        for _ in self._attempts(8):
            with translated(f"writing to table {self.table!r}"):
                try:
                    self.dynamodb.update_item(**request)
                except errors.ConditionalCheckFailedException as error:
                    return Lost(self._row(error.response))
                except errors.TransactionConflictException:
                    continue  # a transaction of the app's; the SDK does not retry this error
                except ClientError as error:
                    if code_of(error) not in _REFUSED:
                        raise
                    return RowRefused(f"DynamoDB refuses the row: {error.response['Error']['Message']}")
            return None
        return self._throttled()

    def _attempts(self, number: int) -> Iterator[None]:
        return attempts(number, first=0.1, longest=5.0, sleep=self.sleep, is_out_of_time=self.is_out_of_time)

    def _write_batch(self, writes: Sequence[Write]) -> list[Result]:
        results: dict[str, Result] = dict.fromkeys((write.user_id for write in writes), self._throttled())
        for _ in self._attempts(30):  # the rows were read for these writes: better late than again
            answered = zip(writes, self._responses(writes), strict=True)
            writes = []
            for write, response in answered:
                error = response.get("Error")
                if error and error["Code"] in THROTTLED:
                    writes.append(write)
                else:
                    results[write.user_id] = self._result(write, error)
            if not writes:
                break
        return list(results.values())

    def _responses(self, writes: Sequence[Write]) -> Sequence[Mapping[str, Any]]:
        statements: Any = [_partiql_statement(self.table, self.key, write) for write in writes]
        with translated(f"writing to table {self.table!r}"):
            try:
                return self.dynamodb.batch_execute_statement(Statements=statements)["Responses"]
            except ClientError as error:
                if code_of(error) not in THROTTLED | _REFUSED:
                    raise
                return [{"Error": {"Code": code_of(error)}}] * len(writes)

    def _result(self, write: Write, error: Mapping[str, Any] | None) -> Result:
        if error is None:
            return None
        if error["Code"] in ("ConditionalCheckFailed", "DuplicateItem"):
            return Lost(self._row(error))
        if error["Code"] in _REFUSED:
            # PartiQL may refuse what UpdateItem takes: a difference in grammar must not cost a user.
            return self.update(write)
        raise AwsError(f"DynamoDB refuses writes: {error['Code']}: {error.get('Message', '')}")

    def _row(self, answer: Mapping[str, Any]) -> Row | None:
        """The row that an answer or an error holds."""
        return to_row(answer["Item"], self.names) if "Item" in answer else None

    def _throttled(self) -> Throttled:
        return Throttled(
            f"DynamoDB kept throttling table {self.table!r}. If this goes on, raise the table's capacity or "
            "lower WorkerConcurrency."
        )


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


def code_of(error: ClientError) -> str:
    """A request's error code, such as `Throttling`, as the errors in a batch's answer have it."""
    return error.response["Error"]["Code"].removesuffix("Exception")


def update_item_request(table: str, key: str, write: Write) -> dict[str, Any]:
    """A write as UpdateItem's arguments."""
    values = {f":{name}": to_attribute(value) for name, value in write.put.items()}
    conditions = ["attribute_not_exists(#key)" if write.creates else "attribute_exists(#key)"]
    for name, value in (write.expected or {}).items():
        conditions.append(f"attribute_not_exists(#{name})" if value is None else f"#{name} = :was_{name}")
        values |= {} if value is None else {f":was_{name}": to_attribute(value)}
    changes = []
    if write.put:
        changes.append("SET " + ", ".join(f"#{name} = :{name}" for name in write.put))
    if write.remove:
        changes.append("REMOVE " + ", ".join(f"#{name}" for name in write.remove))
    change, condition = " ".join(changes), " AND ".join(conditions)
    return {
        "TableName": table,
        "Key": {key: attribute(write.user_id)},
        "UpdateExpression": change,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": names_in(change, condition) | {"#key": key},
        "ExpressionAttributeValues": values,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _partiql_statement(table: str, key: str, write: Write) -> dict[str, Any]:
    """A write as an INSERT or UPDATE for BatchExecuteStatement."""
    values = [*map(to_attribute, write.put.values())]
    if write.expected is None:
        names = ", ".join("'" + name.replace("'", "''") + "': ?" for name in (key, *write.put))
        values = [attribute(write.user_id), *values]
        statement = f"INSERT INTO {_quoted(table)} VALUE {{{names}}}"
    else:
        values.append(attribute(write.user_id))
        changes = [f"SET {_quoted(name)}=?" for name in write.put]
        changes += [f"REMOVE {_quoted(name)}" for name in write.remove]
        conditions = [f"{_quoted(key)}=?"]
        for name, value in write.expected.items():
            if value is None:
                conditions.append(f"{_quoted(name)} IS MISSING")
            elif value == Opaque({"NULL": True}):
                conditions.append(f"{_quoted(name)} IS NULL")  # as in SQL, nothing equals NULL
            else:
                conditions.append(f"{_quoted(name)}=?")
                values.append(to_attribute(value))
        statement = f"UPDATE {_quoted(table)} {' '.join(changes)} WHERE {' AND '.join(conditions)}"
    return {
        "Statement": statement,
        "Parameters": values,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
