"""The edge to RunsTable where page loads agree on who asks Clerk for a user, and know who lately did."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from clerk_sync.aws.clients import translated
from clerk_sync.aws.dynamodb import Value, from_item, to_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_SECONDS = 24 * 60 * 60


class Refreshes:
    """One short-lived item a user who has the app open. Every method raises AwsError. Times in ms."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def last(self, user_id: str) -> int:
        """When Clerk was asked for the user whose row was then brought up to that; 0: not lately."""
        with translated(f"reading from {self._table}"):
            answer = self._dynamodb.get_item(TableName=self._table, Key=_key(user_id), ConsistentRead=True)
        at: int = from_item(answer.get("Item", {})).get("refreshedAt", 0)
        return at

    def claim(self, user_id: str, now: int, until: int) -> bool:
        """Take it on to ask Clerk; False if somebody else has, and may still be at it."""
        with translated(f"writing to {self._table}"):
            try:
                self._dynamodb.update_item(
                    TableName=self._table,
                    Key=_key(user_id),
                    UpdateExpression="SET claimedUntil = :until, expiresAt = :expires",
                    ConditionExpression="attribute_not_exists(claimedUntil) OR claimedUntil < :now",
                    ExpressionAttributeValues=_values(
                        until=until, now=now, expires=now // 1000 + KEPT_SECONDS
                    ),
                )
            except self._dynamodb.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def done(self, user_id: str, until: int, at: int) -> None:
        """The row is as Clerk had the user at that time, thanks to the claim until then; one that has lapsed
        and is another's by now stays theirs."""
        self._give_back(user_id, "SET refreshedAt = :at REMOVE claimedUntil", until=until, at=at)

    def release(self, user_id: str, until: int) -> None:
        """Give the claim until then back, as there is nothing to ask for."""
        self._give_back(user_id, "REMOVE claimedUntil", until=until)

    def _give_back(self, user_id: str, change: str, **values: Value) -> None:
        with (
            translated(f"writing to {self._table}"),
            suppress(self._dynamodb.exceptions.ConditionalCheckFailedException),
        ):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key(user_id),
                UpdateExpression=change,
                ConditionExpression="claimedUntil = :until",
                ExpressionAttributeValues=_values(**values),
            )


def _key(user_id: str) -> dict[str, dict[str, str]]:
    return to_item({"runId": f"user#{user_id}", "part": "refresh"})


def _values(**values: Value) -> dict[str, dict[str, str]]:
    return to_item({f":{name}": value for name, value in values.items()})
