"""The edge to UsersTable: rows read and written in batches, DynamoDB's errors translated."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from botocore.exceptions import ClientError

from clerk_sync.aws.clients import attempts, translated
from clerk_sync.aws.conditional_writes import (
    ConditionalWrite,
    ConditionalWriter,
    ConditionFailed,
    WriteResult,
    is_throttling,
    throttled,
)
from clerk_sync.aws.dynamodb import Attribute, DynamoDB, Item, attribute
from clerk_sync.clock import DAY_MS
from clerk_sync.errors import RowRefused, SettingsError, Throttled
from clerk_sync.users.attributes import to_attribute, to_row, type_of
from clerk_sync.users.fields import DEFAULT_NAMES, Names
from clerk_sync.users.row import DELETED, VERSION, Row, owned
from clerk_sync.users.user import FIRST_VERSION
from clerk_sync.users.values import Value
from clerk_sync.users.write_rule import Write

KEYS_PER_READ = 100
"""BatchGetItem's limit."""


@dataclass(frozen=True, slots=True)
class Written:
    """The write took effect."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The row was not as expected. `row` is what it is, or None if it is unknown or there is none."""

    row: Row | None


type Result = Written | Lost | RowRefused | Throttled


class UsersTable:
    """Reads and writes the attributes that the sync owns, and no others: the fields of `names`, the version
    and the mark."""

    def __init__(
        self,
        dynamodb: DynamoDB,
        table: str,
        key: str,
        names: Names = DEFAULT_NAMES,
        *,
        is_out_of_time: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._key = key
        self.names = names
        self._attempts = partial(attempts, first=0.1, longest=5.0, sleep=sleep, is_out_of_time=is_out_of_time)
        self._writer = ConditionalWriter(dynamodb, table, key, self._attempts)

    def with_fields(self, names: Names) -> Self:
        """The same table for other fields."""
        table = copy(self)
        table.names = names
        return table

    def check(self) -> None:
        """Raise SettingsError unless the table exists, has the expected key, and has no index on an owned
        attribute with another type: DynamoDB would refuse every row."""
        with translated(f"looking at table {self._table!r}"):
            try:
                table = self._dynamodb.describe_table(TableName=self._table)["Table"]
            except self._dynamodb.exceptions.ResourceNotFoundException as error:
                raise SettingsError(
                    f"There is no DynamoDB table {self._table!r} here: correct ExistingUsersTable."
                ) from error
        key = [(k["AttributeName"], k["KeyType"]) for k in table["KeySchema"]]
        types = {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}
        if key != [(self._key, "HASH")] or types.get(self._key) != "S":
            found = ", ".join(f"{name} ({types.get(name)}, {kind})" for name, kind in key)
            raise SettingsError(
                f"The key of table {self._table!r} is {found}, but UsersTableKey says {self._key!r}: the "
                "table must have that one attribute, a string (S), as its whole key."
            )
        indexed = [name for name in owned(self.names) if name in types]
        if odd := [name for name in indexed if types[name] != type_of(name)]:
            described = ", ".join(f"{name} ({types[name]})" for name in odd)
            raise SettingsError(
                f"Table {self._table!r} has an index with {described} in its key. DynamoDB takes no other "
                "type there, but the sync writes times as numbers (N), texts as strings (S), and flags and "
                "metadata as types that fit no index. Remove the index, or put it on another attribute."
            )

    def read(self, user_ids: Iterable[str], *, consistent: bool = False) -> dict[str, Row]:
        """The owned attributes of the rows that exist, by user id. A read that is not consistent costs half:
        a write that was decided on an old row fails its condition, and is decided again."""
        rows, unread = self.read_available(user_ids, consistent=consistent)
        if unread:
            raise throttled(self._table)
        return rows

    def read_available(
        self, user_ids: Iterable[str], *, consistent: bool = False
    ) -> tuple[dict[str, Row], set[str]]:
        """The same, with the ids that could not be read because DynamoDB throttled or the time was over."""
        ids, rows = list(user_ids), dict[str, Row]()
        names = {f"#{n}": name for n, name in enumerate((self._key, *owned(self.names)))}
        request: Any = {
            "ProjectionExpression": ", ".join(names),
            "ExpressionAttributeNames": names,
            "ConsistentRead": consistent,
        }
        for start in range(0, len(ids), KEYS_PER_READ):
            unread = ids[start : start + KEYS_PER_READ]
            for _ in self._attempts(8):
                keys = [{self._key: attribute(user_id)} for user_id in unread]
                items, left = self._read_batch(request | {"Keys": keys}, keys)
                rows |= {item[self._key]["S"]: to_row(item, self.names) for item in items}
                unread = [key[self._key]["S"] for key in left]
                if not unread:
                    break
            if unread:  # the time that is left is for writing what was read
                return rows, {*unread, *ids[start + KEYS_PER_READ :]}
        return rows, set()

    def write(self, writes: Sequence[Write]) -> list[Result]:
        """Carry out writes of different users. Returns one result for each, in order."""
        results = self._writer.write_all([self._conditional(write) for write in writes])
        return [self._result(result) for result in results]

    def update(self, write: Write) -> Written | Lost:
        """Carry out one write. If it is lost, the row costs no read; None: there is no row.

        Raises RowRefused if DynamoDB will never take the row, and AwsError.
        """
        result = self._writer.write(self._conditional(write))
        return self._lost(result) if result else Written()

    def get(self, user_id: str) -> Row | None:
        """The owned attributes of one row as it is now, or None."""
        with translated(f"reading from table {self._table!r}"):
            answer = self._dynamodb.get_item(
                TableName=self._table,
                Key={self._key: attribute(user_id)},
                ProjectionExpression=", ".join(f"#{name}" for name in owned(self.names)),
                ExpressionAttributeNames={f"#{name}": name for name in owned(self.names)},
                ConsistentRead=True,
            )
        return to_row(answer["Item"], self.names) if "Item" in answer else None

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

    def _read_batch(self, request: Any, keys: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
        """The items there are of these keys, and the keys that are left."""
        with translated(f"reading from table {self._table!r}"):
            try:
                answer: Any = self._dynamodb.batch_get_item(RequestItems={self._table: request})
            except ClientError as error:
                if is_throttling(error):
                    return [], keys
                raise
        left = answer["UnprocessedKeys"].get(self._table, {"Keys": []})["Keys"]
        return answer["Responses"].get(self._table, []), left

    def _conditional(self, write: Write) -> ConditionalWrite:
        put = {name: to_attribute(value) for name, value in write.put.items()}
        expected = None if write.expected is None else _attributes(write.expected)
        return ConditionalWrite(write.user_id, put, write.remove, expected)

    def _result(self, result: WriteResult) -> Result:
        return self._lost(result) if isinstance(result, ConditionFailed) else result or Written()

    def _lost(self, failed: ConditionFailed) -> Lost:
        return Lost(None if failed.item is None else to_row(failed.item, self.names))


def _attributes(values: Mapping[str, Value | None]) -> dict[str, Attribute | None]:
    return {name: None if value is None else to_attribute(value) for name, value in values.items()}
