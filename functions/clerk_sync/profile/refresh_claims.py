"""The edge to RunsTable where page loads agree on who asks Clerk for a user, and record when that was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from clerk_sync.aws.clients import translated
from clerk_sync.aws.dynamodb import Value, from_item, to_item
from clerk_sync.clock import DAY_MS
from clerk_sync.errors import AwsError, ClaimsUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_SECONDS = 24 * 60 * 60


class RefreshClaims:
    """One short-lived item for each user who has the app open. Times in ms.

    Every method raises ClaimsUnavailable.
    """

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def refreshed_at(self, user_id: str) -> int:
        """When Clerk was last asked for the user and the row brought up to date; 0 if not lately."""
        with _claims(f"reading from {self._table}"):
            answer = self._dynamodb.get_item(TableName=self._table, Key=_key(user_id), ConsistentRead=True)
        at: int = from_item(answer.get("Item", {})).get("refreshedAt", 0)
        return at

    def claim(self, user_id: str, now: int, until: int) -> bool:
        """Claim to ask Clerk for the user; False while another page load holds the claim."""
        with _claims(f"writing to {self._table}"):
            try:
                self._dynamodb.update_item(
                    TableName=self._table,
                    Key=_key(user_id),
                    UpdateExpression="SET claimedUntil = :until, expiresAt = :expires",
                    # A claim over a day ahead was made by a wrong clock, and would never end.
                    ConditionExpression="attribute_not_exists(claimedUntil) OR claimedUntil < :now "
                    "OR claimedUntil > :latest",
                    ExpressionAttributeValues=_values(
                        until=until, now=now, latest=now + DAY_MS, expires=now // 1000 + KEPT_SECONDS
                    ),
                )
            except self._dynamodb.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def complete(self, user_id: str, until: int, refreshed_at: int) -> None:
        """End the claim until then: the row is as Clerk had the user at `refreshed_at`. Does nothing if the
        claim has lapsed and is another page load's by now."""
        self._end(user_id, "SET refreshedAt = :at REMOVE claimedUntil", until=until, at=refreshed_at)

    def release(self, user_id: str, until: int) -> None:
        """End the claim until then without a refresh, so that the next page load can ask Clerk at once."""
        self._end(user_id, "REMOVE claimedUntil", until=until)

    def _end(self, user_id: str, change: str, **values: Value) -> None:
        with (
            _claims(f"writing to {self._table}"),
            suppress(self._dynamodb.exceptions.ConditionalCheckFailedException),
        ):
            self._dynamodb.update_item(
                TableName=self._table,
                Key=_key(user_id),
                UpdateExpression=change,
                ConditionExpression="claimedUntil = :until",
                ExpressionAttributeValues=_values(**values),
            )


@contextmanager
def _claims(what: str) -> Iterator[None]:
    try:
        with translated(what):
            yield
    except AwsError as error:
        raise ClaimsUnavailable(str(error)) from error


def _key(user_id: str) -> dict[str, dict[str, str]]:
    return to_item({"runId": f"user#{user_id}", "part": "refresh"})


def _values(**values: Value) -> dict[str, dict[str, str]]:
    return to_item({f":{name}": value for name, value in values.items()})
