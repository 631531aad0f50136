"""When webhooks arrived, kept in one item of RunsTable: an endpoint that Clerk switched off is silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clerk_sync.aws.clients import translated
from clerk_sync.aws.dynamodb import from_item, to_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Webhooks:
    """When Clerk's first and its latest webhook arrived (ms)."""

    first_at: int
    last_at: int

    def hours_silent(self, now: int) -> float:
        """The hours since the latest one."""
        return round(max(0, now - self.last_at) / 3_600_000, 1)


class Arrivals:
    """The edge to that item. Every method raises AwsError."""

    EVERY_MS = 10 * 60 * 1000
    """A warm function records an arrival at most this often."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._noted_at = 0

    def note(self, now: int) -> None:
        """Record that a webhook arrived now (ms), unless that was last tried within `EVERY_MS`."""
        if now - self._noted_at >= self.EVERY_MS:
            self._noted_at = now
            self.record(now)

    def record(self, now: int) -> None:
        """Record that a webhook arrived now (ms)."""
        with translated(f"writing to {self._table}"):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_KEY,
                UpdateExpression="SET lastAt = :now, firstAt = if_not_exists(firstAt, :now)",
                ExpressionAttributeValues=to_item({":now": now}),
            )

    def read(self) -> Webhooks | None:
        """When webhooks arrived; None if none ever did."""
        with translated(f"reading from {self._table}"):
            answer = self._dynamodb.get_item(TableName=self._table, Key=_KEY, ConsistentRead=True)
        item = from_item(answer.get("Item", {}))
        return Webhooks(item["firstAt"], item["lastAt"]) if item else None


_KEY = to_item({"runId": "webhooks", "part": "webhooks"})
