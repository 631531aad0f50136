"""The edge to RunsTable where page loads agree on who asks Clerk for a user, and record when that was."""

from collections.abc import Iterator
from contextlib import contextmanager

from clerk_sync.aws.dynamodb import DynamoDB, SingleItem
from clerk_sync.clock import DAY_MS
from clerk_sync.errors import AwsError, ClaimsUnavailable

KEPT_SECONDS = 24 * 60 * 60
_IS_FREE = "attribute_not_exists(claimedUntil) OR claimedUntil < :now OR claimedUntil > :latest"
"""A claim over a day ahead was made by a wrong clock, and would never end."""


class RefreshClaims:
    """One short-lived item for each user who has the app open. Times in ms.

    Every method raises ClaimsUnavailable.
    """

    def __init__(self, dynamodb: DynamoDB, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def refreshed_at(self, user_id: str) -> int:
        """When Clerk was last asked for the user and the row brought up to date; 0 if not lately."""
        with self._item(user_id) as item:
            at: int = item.read().get("refreshedAt", 0)
            return at

    def claim(self, user_id: str, now: int, until: int) -> bool:
        """Claim to ask Clerk for the user; False while another page load holds the claim."""
        times = {"until": until, "now": now, "latest": now + DAY_MS, "expires": now // 1000 + KEPT_SECONDS}
        with self._item(user_id) as item:
            return item.update("SET claimedUntil = :until, expiresAt = :expires", _IS_FREE, **times)

    def complete(self, user_id: str, until: int, refreshed_at: int) -> None:
        """End the claim until then: the row is as Clerk had the user at `refreshed_at`. Does nothing if the
        claim has lapsed and another page load holds it."""
        change = "SET refreshedAt = :at REMOVE claimedUntil"
        with self._item(user_id) as item:
            item.update(change, "claimedUntil = :until", until=until, at=refreshed_at)

    def release(self, user_id: str, until: int) -> None:
        """End the claim until then without a refresh, so that the next page load can ask Clerk at once."""
        with self._item(user_id) as item:
            item.update("REMOVE claimedUntil", "claimedUntil = :until", until=until)

    @contextmanager
    def _item(self, user_id: str) -> Iterator[SingleItem]:
        try:
            yield SingleItem(self._dynamodb, self._table, {"runId": f"user#{user_id}", "part": "refresh"})
        except AwsError as error:
            raise ClaimsUnavailable(str(error)) from error
