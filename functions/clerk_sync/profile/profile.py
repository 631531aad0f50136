"""Page loads: the row of whoever is signed in, as fresh as it is wanted."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clerk_sync.clock import now_ms
from clerk_sync.errors import ClerkSyncError, ClerkUnavailable, UserUnknown
from clerk_sync.log import logger
from clerk_sync.profile.refresh_claims import Refreshes
from clerk_sync.users.row import Row, snapshot_version
from clerk_sync.users.table import UsersTable
from clerk_sync.users.upsert import store
from clerk_sync.users.user import UserProblem, parse_user

CLAIM_MS = 10_000
"""Longer than a page load takes to ask Clerk; others wait that long for a row, and then ask themselves."""
DOWN_MS = 5_000
"""For how long Clerk is not asked again for anybody after it gave no answer."""
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Profile:
    """A row, and whether it may be older than was wanted because Clerk could not be asked."""

    row: Row
    is_stale: bool


class Profiles:
    """Keeps the rows of those fresh who have the app open.

    `ask_clerk` gives Clerk's user object for an id and raises what ClerkClient does.
    """

    def __init__(
        self,
        users_table: UsersTable,
        refreshes: Refreshes,
        ask_clerk: Callable[[str], Any],
        *,
        max_age_ms: int,
        create_missing: bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._users_table = users_table
        self._refreshes = refreshes
        self._ask_clerk = ask_clerk
        self._max_age_ms = max_age_ms
        self._create_missing = create_missing
        self._sleep = sleep
        self._down_until = 0

    def get(self, user_id: str) -> Row | None:
        """The row as it is. Raises AwsError."""
        return self._users_table.get(user_id)

    def ensure(self, user_id: str) -> Profile | None:
        """The row, made or brought up to date first unless it is fresh; None if there is no such user, or no
        row and none is to be made.

        Of many page loads at once one asks Clerk; the others have the row as it is, or wait for it where
        there is none of Clerk's yet. Raises ClerkUnavailable when there is no row and Clerk can't be asked,
        and AwsError.
        """
        started_at = now_ms()
        has_waited = False
        while True:
            # In this order: a refresh that is known of is one that the row has seen.
            refreshed_at = self._refreshes.last(user_id)
            row = self._users_table.get(user_id)
            if row is None and not self._create_missing:
                return None
            # A row that came while we waited for it is fresh, though that may not have been noted yet.
            is_synced = snapshot_version(row, started_at) is not None
            if row and ((has_waited and is_synced) or self._is_fresh(row, refreshed_at, started_at)):
                return Profile(row, is_stale=False)
            now = now_ms()
            if now < self._down_until:
                return _stale_profile(user_id, row, "Clerk gave no answer a moment ago")
            claim = now + CLAIM_MS
            if self._refreshes.claim(user_id, now, claim):
                return self._refresh(user_id, row, claim)
            if is_synced or now > started_at + CLAIM_MS:
                return _stale_profile(user_id, row, "another page load is asking Clerk")
            self._sleep(_PAUSE_SECONDS)
            has_waited = True

    def _is_fresh(self, row: Row, refreshed_at: int, started_at: int) -> bool:
        version = snapshot_version(row, started_at)
        if version is None:
            return False
        # What Clerk told of its own accord counts too: a version is true at least when it was made.
        return max(version, refreshed_at) > started_at - self._max_age_ms

    def _refresh(self, user_id: str, row: Row | None, claim: int) -> Profile | None:
        asked_at = now_ms()
        try:
            user = parse_user(self._ask_clerk(user_id), now_ms())
        except UserUnknown:
            logger.warning("profile_unknown", clerkUserId=user_id)
            self._refreshes.release(user_id, claim)
            return None
        except ClerkSyncError as error:
            self._down_until = now_ms() + DOWN_MS
            return _stale_profile(user_id, row, str(error) or "Clerk did not answer in time")
        if isinstance(user, UserProblem):
            return _stale_profile(user_id, row, user.reason)
        stored = store(
            self._users_table,
            user,
            row,
            as_of=asked_at,
            now=now_ms(),
            create_missing=self._create_missing,
        )
        self._refreshes.done(user_id, claim, asked_at)
        logger.info("profile_refreshed", clerkUserId=user_id, written=stored.is_written)
        return Profile(stored.row, is_stale=False) if stored.row else None


def _stale_profile(user_id: str, row: Row | None, why: str) -> Profile:
    """What there is, where Clerk is not asked; a claim that came to nothing is left to lapse."""
    logger.warning("profile_not_refreshed", clerkUserId=user_id, reason=why, hasRow=row is not None)
    if row is None:
        raise ClerkUnavailable(why)
    return Profile(row, is_stale=True)
