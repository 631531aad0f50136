"""The edge to UsersTable: the attributes of its rows that the sync owns, and the Clerk instance it is for."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from botocore.exceptions import ClientError

from clerk_sync.aws.clients import translated
from clerk_sync.aws.items import Item, Items, attribute, put, to_item
from clerk_sync.clock import DAY_MS
from clerk_sync.errors import SettingsError
from clerk_sync.users.fields import FIELDS, Names
from clerk_sync.users.table_writes import THROTTLED, TableWriter, code_of, to_row
from clerk_sync.users.user import FIRST_VERSION
from clerk_sync.users.write_rule import DELETED, GUARDS, VERSION, Row, owned

_KEYS_PER_READ = 100
"""BatchGetItem's limit."""


@dataclass
class UsersTable(TableWriter):
    """The table named `table`, whose key is the attribute `key`. `names` are the fields that are synced."""

    def with_fields(self, names: Names) -> Self:
        return replace(self, names=names)

    def check(self) -> None:
        """Raise SettingsError unless the table exists, has the expected key, and has no index on an owned
        attribute with another type: DynamoDB would refuse every row."""
        with translated(f"looking at table {self.table!r}"):
            try:
                table = self.dynamodb.describe_table(TableName=self.table)["Table"]
            except self.dynamodb.exceptions.ResourceNotFoundException as error:
                raise SettingsError(
                    f"There is no DynamoDB table {self.table!r} here: correct ExistingUsersTable."
                ) from error
        key = [(k["AttributeName"], k["KeyType"]) for k in table["KeySchema"]]
        types = {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}
        if key != [(self.key, "HASH")] or types.get(self.key) != "S":
            found = ", ".join(f"{name} ({types.get(name)}, {kind})" for name, kind in key)
            raise SettingsError(
                f"The key of table {self.table!r} is {found}, but UsersTableKey says {self.key!r}: the "
                "table must have that one attribute, a string (S), as its whole key."
            )
        kinds = dict.fromkeys(GUARDS, "N") | {name: FIELDS[name].type.attribute_type for name in self.names}
        if odd := [name for name in owned(self.names) if types.get(name, kinds[name]) != kinds[name]]:
            described = ", ".join(f"{name} ({types[name]})" for name in odd)
            raise SettingsError(
                f"Table {self.table!r} has an index with {described} in its key. DynamoDB takes no other "
                "type there, but the sync writes times as numbers (N), texts as strings (S), and flags and "
                "metadata as types that fit no index. Remove the index, or put it on another attribute."
            )

    def read(self, user_ids: Iterable[str], *, consistent: bool = False) -> dict[str, Row]:
        """The owned attributes of the rows that exist, by user id. A read that is not consistent costs half:
        a write that was decided on an old row fails its condition, and is decided again."""
        rows, unread = self.read_available(user_ids, consistent=consistent)
        if unread:
            raise self._throttled()
        return rows

    def read_available(
        self, user_ids: Iterable[str], *, consistent: bool = False
    ) -> tuple[dict[str, Row], set[str]]:
        """The same, with the ids that could not be read because DynamoDB throttled or the time was over."""
        request: Any = {"ConsistentRead": consistent, **_projection(self.key, *owned(self.names))}
        keys: Sequence[Item] = [{self.key: attribute(user_id)} for user_id in user_ids]
        rows: dict[str, Row] = {}
        for start in range(0, len(keys), _KEYS_PER_READ):
            unread = keys[start : start + _KEYS_PER_READ]
            for _ in self._attempts(8):
                items, unread = self._read_batch(request | {"Keys": unread})
                rows |= {item[self.key]["S"]: to_row(item, self.names) for item in items}
                if not unread:
                    break
            if unread:  # the time that is left is for writing what was read
                return rows, {key[self.key]["S"] for key in (*unread, *keys[start + _KEYS_PER_READ :])}
        return rows, set()

    def get(self, user_id: str) -> Row | None:
        """The owned attributes of one row as it is now, or None."""
        with translated(f"reading from table {self.table!r}"):
            answer = self.dynamodb.get_item(
                TableName=self.table,
                Key={self.key: attribute(user_id)},
                ConsistentRead=True,
                **_projection(*owned(self.names)),
            )
        return self._row(answer)

    def unmarked(self, after: str | None, now: int) -> Iterator[tuple[list[str], str | None]]:
        """The ids of the rows that hold a snapshot and are not marked as deleted, from anywhere after a key.

        Each batch comes with the key to go on after, which is None at the end. A version or a mark that is
        more than a day ahead of `now` (ms) counts as absent.
        """
        start: Any = {} if after is None else {"ExclusiveStartKey": {self.key: attribute(after)}}
        with translated(f"scanning table {self.table!r}"):
            for answer in self.dynamodb.get_paginator("scan").paginate(
                TableName=self.table,
                ProjectionExpression="#key",
                FilterExpression="#version BETWEEN :first AND :latest AND NOT #deleted <= :latest",
                ExpressionAttributeNames={"#key": self.key, "#version": VERSION, "#deleted": DELETED},
                ExpressionAttributeValues=to_item({":first": FIRST_VERSION, ":latest": now + DAY_MS}),
                **start,
            ):
                last = answer.get("LastEvaluatedKey")
                yield [item[self.key]["S"] for item in answer["Items"]], last[self.key]["S"] if last else None

    def _read_batch(self, request: Any) -> tuple[Sequence[Item], Sequence[Item]]:
        """The items there are, and the keys that are left."""
        with translated(f"reading from table {self.table!r}"):
            try:
                answer: Any = self.dynamodb.batch_get_item(RequestItems={self.table: request})
            except ClientError as error:
                if code_of(error) in THROTTLED:
                    return [], request["Keys"]
                raise
        left = answer["UnprocessedKeys"].get(self.table, {"Keys": []})["Keys"]
        return answer["Responses"].get(self.table, []), left


@dataclass(frozen=True, slots=True)
class TableInstance:
    """Which Clerk instance a users table belongs to, kept in one item of RunsTable. Raises AwsError."""

    items: Items
    users_table: str

    def remember(self, instance_id: str) -> str:
        """The instance that the table belongs to: this one, if none was remembered before."""
        item = {"runId": "instance", "part": self.users_table, "instanceId": instance_id}
        return instance_id if self.items.transact(put(item)) else self.read() or instance_id

    def read(self) -> str | None:
        """The instance that the table belongs to; None if none was remembered yet."""
        item = self.items.get("instance", self.users_table)
        return item["instanceId"] if item else None


def _projection(*names: str) -> dict[str, Any]:
    placeholders = {f"#{n}": name for n, name in enumerate(names)}
    return {"ProjectionExpression": ", ".join(placeholders), "ExpressionAttributeNames": placeholders}
