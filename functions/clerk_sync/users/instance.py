"""Which Clerk instance a users table belongs to, kept in one item of RunsTable."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from clerk_sync.aws.clients import translated
from clerk_sync.aws.dynamodb import from_item, to_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class TableInstance:
    """The edge to that item. Every method raises AwsError."""

    def __init__(self, dynamodb: DynamoDBClient, runs_table: str, users_table: str) -> None:
        self._dynamodb = dynamodb
        self._table = runs_table
        self._key = {"runId": "instance", "part": users_table}

    def remember(self, instance_id: str) -> str:
        """The instance that the table belongs to: this one, if none was remembered before."""
        with (
            translated(f"writing to {self._table}"),
            suppress(self._dynamodb.exceptions.ConditionalCheckFailedException),
        ):
            self._dynamodb.put_item(
                TableName=self._table,
                Item=to_item({**self._key, "instanceId": instance_id}),
                ConditionExpression="attribute_not_exists(runId)",
            )
            return instance_id
        return self.read() or instance_id

    def read(self) -> str | None:
        """The instance that the table belongs to; None if none was remembered yet."""
        with translated(f"reading from {self._table}"):
            answer = self._dynamodb.get_item(
                TableName=self._table, Key=to_item(self._key), ConsistentRead=True
            )
        instance_id: str | None = from_item(answer.get("Item", {})).get("instanceId")
        return instance_id
