"""The edge to UsersTable: rows read and written in batches, DynamoDB's errors translated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any

from clerk_sync.aws.clients import attempts, translated
from clerk_sync.aws.conditional_write import ConditionalWrite, partiql_statement, update_item_request
from clerk_sync.aws.dynamodb import Attribute, Item, attribute
from clerk_sync.clock import DAY_MS
from clerk_sync.errors import AwsError, SettingsError
from clerk_sync.users.row import DELETED, OWNED, VERSION, Opaque, Row, Value
from clerk_sync.users.user import FIRST_VERSION
from clerk_sync.users.write_rule import Write

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEYS_PER_READ = 100
"""BatchGetItem's limit."""
WRITES_PER_REQUEST = 25
"""BatchExecuteStatement's limit."""

_THROTTLED = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "ThrottlingError",
        "TransactionConflict",
    }
)

_OF_THE_ROW = frozenset({"ValidationError", "ItemCollectionSizeLimitExceeded"})
"""What can be one row's fault alone; anything else is the table's, or the role's."""


@dataclass(frozen=True, slots=True)
class Written:
    """The write took effect."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody else was quicker. `row` is theirs, or None if that takes another read to know."""

    row: Row | None


@dataclass(frozen=True, slots=True)
class Refused:
    """DynamoDB will never take this write."""

    reason: str


Result = Written | Lost | Refused


class UsersTable:
    """Reads and writes the attributes that the sync owns, and no others."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        table: str,
        key: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._key = key
        self._sleep = sleep

    def check(self) -> None:
        """Raise SettingsError unless the table exists and has the expected key, and no index is on a synced
        attribute of another type: DynamoDB would refuse every row."""
        with translated(f"looking at table {self._table!r}"):
            try:
                table = self._dynamodb.describe_table(TableName=self._table)["Table"]
            except self._dynamodb.exceptions.ResourceNotFoundException as error:
                raise SettingsError(
                    f"There is no DynamoDB table {self._table!r} here: correct ExistingUsersTable."
                ) from error
        found = [(k["AttributeName"], k["KeyType"]) for k in table["KeySchema"]]
        types = {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}
        if found != [(self._key, "HASH")] or types.get(self._key) != "S":
            names = ", ".join(f"{name} ({types.get(name)}, {kind})" for name, kind in found)
            raise SettingsError(
                f"The key of table {self._table!r} is {names}, but UsersTableKey says {self._key!r}: the "
                "table must have that one attribute, a string (S), as its whole key."
            )
        odd = [f"{name} ({types[name]})" for name in OWNED if name in types and types[name] != _type_of(name)]
        if odd:
            raise SettingsError(
                f"Table {self._table!r} has an index with {', '.join(odd)} in its key, and DynamoDB takes no "
                "other type there. The sync writes times as numbers (N) and all else as text (S): remove the "
                "index, or have it on another attribute."
            )

    def read(self, user_ids: Iterable[str], *, consistent: bool = False) -> dict[str, Row]:
        """The owned attributes of the rows there are, by user id. Eventually consistent is half the price,
        and a write that was decided on an old row fails its condition and is decided again."""
        rows: dict[str, Row] = {}
        with translated(f"reading from table {self._table!r}"):
            for ids in batched(user_ids, KEYS_PER_READ, strict=False):
                for item in self._read_batch([{self._key: attribute(i)} for i in ids], consistent):
                    rows[item[self._key]["S"]] = _row(item)
        return rows

    # Batches of PartiQL, as `python3 -m tests.local bench` compares the ways there are: 5,000 conditional
    # updates were 200 requests and 0.4 s of CPU from one thread, 2,800 a second on the local AWS. UpdateItem
    # from 16 threads was 5,000 requests and 5.8 s, 840 a second, for the same units and results.
    # Transactions, of 25 or 100 rows, were slower (1,800 a second at best) and cost two units a row, and one
    # row that somebody else was quicker with fails all of its call; here that one alone gets an error.
    # BatchWriteItem has no conditions.
    def write(self, writes: Sequence[Write]) -> list[Result]:
        """Carry the writes out; one result for each, in order. No user may occur twice in one call."""
        results: list[Result] = []
        with translated(f"writing to table {self._table!r}"):
            for batch in batched(writes, WRITES_PER_REQUEST, strict=False):
                results += self._write_batch(batch)
        return results

    def get(self, user_id: str) -> Row | None:
        """The owned attributes of one row as it is now, or None."""
        with translated(f"reading from table {self._table!r}"):
            answer = self._dynamodb.get_item(
                TableName=self._table,
                Key={self._key: attribute(user_id)},
                ProjectionExpression=", ".join(f"#{name}" for name in OWNED),
                ExpressionAttributeNames={f"#{name}": name for name in OWNED},
                ConsistentRead=True,
            )
        return _row(answer["Item"]) if "Item" in answer else None

    def unmarked(self, after: str | None, now: int) -> Iterator[tuple[list[str], str | None]]:
        """The ids of the rows that hold a snapshot and are not marked as deleted, from anywhere after a key.

        Each batch comes with the key to go on after, which is None at the end. A version or a mark that is
        more than a day ahead of `now` (ms) counts as absent.
        """
        scan: Any = {
            "TableName": self._table,
            "ProjectionExpression": "#key",
            "FilterExpression": "#version BETWEEN :first AND :latest AND NOT #deleted <= :latest",
            "ExpressionAttributeNames": {"#key": self._key, "#version": VERSION, "#deleted": DELETED},
            "ExpressionAttributeValues": {
                ":first": attribute(FIRST_VERSION),
                ":latest": attribute(now + DAY_MS),
            },
        }
        while True:
            if after is not None:
                scan["ExclusiveStartKey"] = {self._key: attribute(after)}
            with translated(f"scanning table {self._table!r}"):
                answer = self._dynamodb.scan(**scan)
            after = answer["LastEvaluatedKey"][self._key]["S"] if "LastEvaluatedKey" in answer else None
            yield [item[self._key]["S"] for item in answer["Items"]], after
            if after is None:
                return

    def update(self, write: Write) -> Written | Lost:
        """Carry out one write by itself. A lost one hands over the row as it is, at no cost; None: there is
        no row."""
        request = update_item_request(self._conditional(write))
        errors = self._dynamodb.exceptions
        for _ in self._attempts():
            with translated(f"writing to table {self._table!r}"):
                try:
                    self._dynamodb.update_item(**request)
                except errors.ConditionalCheckFailedException as error:
                    return _lost(error.response)
                except errors.TransactionConflictException:
                    continue  # a transaction of the app's; the SDK doesn't try again by itself
            return Written()
        raise self._throttled()

    def _read_batch(self, keys: list[dict[str, Any]], consistent: bool) -> Iterator[Item]:
        names = {f"#{n}": name for n, name in enumerate((self._key, *OWNED))}
        for _ in self._attempts():
            answer = self._dynamodb.batch_get_item(
                RequestItems={
                    self._table: {
                        "Keys": keys,
                        "ProjectionExpression": ", ".join(names),
                        "ExpressionAttributeNames": names,
                        "ConsistentRead": consistent,
                    }
                }
            )
            yield from answer["Responses"].get(self._table, [])
            left = answer["UnprocessedKeys"].get(self._table)
            if not left:
                return
            keys = [dict(key) for key in left["Keys"]]
        raise self._throttled()

    def _write_batch(self, writes: Sequence[Write]) -> list[Result]:
        results: dict[str, Result] = {}
        todo = list(writes)
        for _ in self._attempts():
            answer = self._dynamodb.batch_execute_statement(
                Statements=[partiql_statement(self._conditional(write)) for write in todo]  # type: ignore[misc]
            )
            for write, response in zip(todo, answer["Responses"], strict=True):
                result = _result(response)
                if result is not None:
                    results[write.user_id] = result
            todo = [write for write in todo if write.user_id not in results]
            if not todo:
                return [results[write.user_id] for write in writes]
        raise self._throttled()

    def _conditional(self, write: Write) -> ConditionalWrite:
        put = {name: _attribute(value) for name, value in write.put.items()}
        return ConditionalWrite(self._table, self._key, write.user_id, put, write.remove, _expected(write))

    def _attempts(self) -> Iterator[None]:
        return attempts(8, first=0.1, longest=5.0, sleep=self._sleep)

    def _throttled(self) -> AwsError:
        return AwsError(
            f"DynamoDB kept throttling table {self._table!r}. If this goes on, raise the table's capacity "
            "or lower WorkerConcurrency."
        )


def _lost(answer: Mapping[str, Any]) -> Lost:
    return Lost(_row(answer["Item"]) if "Item" in answer else None)


def _row(item: Item) -> Row:
    return {name: _value(item[name]) for name in OWNED if name in item}


def _value(typed: Attribute) -> Value:
    match typed:
        case {"S": str(text)}:
            return text
        case {"N": str(digits)} if digits.removeprefix("-").isdecimal():
            return int(digits)
    return Opaque(typed)


def _expected(write: Write) -> dict[str, Attribute | None] | None:
    if write.expected is None:
        return None
    return {name: None if value is None else _attribute(value) for name, value in write.expected.items()}


def _attribute(value: Value) -> Attribute:
    return value.stored if isinstance(value, Opaque) else attribute(value)


def _type_of(name: str) -> str:
    """The DynamoDB type of an owned attribute: those whose names end so are times (ms)."""
    return "N" if name.endswith("At") else "S"


def _result(response: Mapping[str, Any]) -> Result | None:
    """What became of one statement; None if it is to be tried again."""
    error = response.get("Error")
    if error is None:
        return Written()
    code = error["Code"]
    if code in _THROTTLED:
        return None
    if code in ("ConditionalCheckFailed", "DuplicateItem"):
        return _lost(error)
    if code in _OF_THE_ROW:
        return Refused(f"DynamoDB refused the write: {code}")
    raise AwsError(f"DynamoDB refuses writes: {code}: {error.get('Message', '')}")
