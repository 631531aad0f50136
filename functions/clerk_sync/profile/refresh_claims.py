"""Claims in RunsTable: page loads agree on who asks Clerk for a user, and record when that was."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clerk_sync.aws.items import Items
from clerk_sync.clock import DAY_MS
from clerk_sync.errors import AwsError
from clerk_sync.log import logger

KEPT_SECONDS = 24 * 60 * 60
_IS_FREE = "attribute_not_exists(claimedUntil) OR claimedUntil < :now OR claimedUntil > :latest"
"""A claim over a day ahead was made by a wrong clock, and would never end."""


@contextmanager
def _tolerated() -> Iterator[None]:
    try:
        yield
    except AwsError as error:
        logger.warning("claims_unavailable", reason=str(error))


@dataclass
class RefreshClaims:
    """One short-lived item for each user who has the app open. Times in ms.

    Page loads can do without them: if RunsTable fails, every method logs why and returns None.
    """

    items: Items

    @_tolerated()
    def refreshed_at(self, user_id: str) -> int | None:
        """When Clerk was last asked for the user and the row brought up to date; 0 if not lately."""
        item = self.items.get(*_key(user_id)) or {}
        return int(item.get("refreshedAt", 0))

    @_tolerated()
    def claim(self, user_id: str, now: int, until: int) -> bool | None:
        """Claim to ask Clerk for the user; False while another page load holds the claim."""
        values = {":now": now, ":latest": now + DAY_MS}
        times = {"claimedUntil": until, "expiresAt": now // 1000 + KEPT_SECONDS}
        return self.items.update(*_key(user_id), _IS_FREE, values, set_=times) is not None

    @_tolerated()
    def end(self, user_id: str, until: int, refreshed_at: int | None = None) -> None:
        """End the claim until then, so that the next page load can ask Clerk at once. The row is as Clerk had
        the user at `refreshed_at`; None: it was not refreshed. Does nothing if the claim has lapsed and
        another page load holds it."""
        refreshed = {} if refreshed_at is None else {"refreshedAt": refreshed_at}
        times = {"claimedUntil": 0, **refreshed}
        self.items.update(*_key(user_id), "claimedUntil = :until", {":until": until}, set_=times)


def _key(user_id: str) -> tuple[str, str]:
    return f"user#{user_id}", "refresh"
