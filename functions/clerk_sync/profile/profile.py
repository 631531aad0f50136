"""Page loads: the caller's row, refreshed from Clerk if it is older than the app tolerates."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clerk_sync.clock import is_from_future, now_ms
from clerk_sync.errors import ClerkSyncError, ClerkUnavailable, RowRefused, UserUnknown
from clerk_sync.log import logger
from clerk_sync.profile.refresh_claims import RefreshClaims
from clerk_sync.users.fields import FIELDS, Names
from clerk_sync.users.table import UsersTable
from clerk_sync.users.upsert import Stored, store
from clerk_sync.users.user import User, UserProblem, parse_user
from clerk_sync.users.values import Json, Value
from clerk_sync.users.write_rule import DELETED, VERSION, Row, is_marked, snapshot_version

CLAIM_MS = 10_000
"""Longer than a page load takes to ask Clerk. Others wait that long for a row, and then ask themselves."""
DOWN_MS = 5_000
"""For this long after Clerk gave no answer, it is not asked for any user."""
_POLL_SECONDS = 0.1
_SIGN_UP_SECONDS = 0.5
"""Clerk's API may not know a user yet who signed up just now: it is asked once more after this."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What there is of a user. `is_stale`: it may be older than the app tolerates."""

    row: Row
    is_stale: bool = False

    def shown(self, user_id: str, names: Names) -> dict[str, Any]:
        """What the caller gets: those of these fields that a user may see, unless they are of other types
        than the sync writes."""
        values = {name: _plain(value) for name, value in self.row.items() if _is_shown(name, value, names)}
        return {"clerkUserId": user_id, **values, **({"stale": True} if self.is_stale else {})}


@dataclass(slots=True)
class Profiles:
    """Reads and refreshes the callers' rows.

    `ask_clerk` returns Clerk's user object for an id and raises what clerk_user does. `max_age_ms` is
    how old a row may be.
    """

    users_table: UsersTable
    claims: RefreshClaims
    ask_clerk: Callable[[str], Any]
    max_age_ms: int
    create_missing: bool
    sleep: Callable[[float], None] = time.sleep
    _down_until: int = 0

    def get(self, user_id: str) -> Profile | None:
        """The row as it is; None if there is none or it is marked as deleted. Raises AwsError."""
        return _profile(self.users_table.get(user_id))

    def ensure(self, user_id: str) -> Profile | None:
        """The row, created or refreshed first unless it is fresh. None if it stays marked as deleted, if
        Clerk does not know the user, or if there is no row and none is to be created.

        Of several page loads of a user at once, one asks Clerk. The others get the row as it is, or wait for
        it if it holds nothing of Clerk's yet. Raises AwsError, and ClerkUnavailable if there is no row to
        return and Clerk can't be asked, or does not know the user yet.
        """
        started_at = now_ms()
        has_waited = False
        while True:
            # In this order: a row that is read after a refresh was recorded has seen it.
            refreshed_at = self.claims.refreshed_at(user_id)
            row = self.users_table.get(user_id)
            if row is None and not self.create_missing:
                return None
            profile = _profile(row)
            version = snapshot_version(profile.row, started_at) if profile else None
            # A row that came while this waited is fresh, though its refresh may not be recorded yet.
            if version and (has_waited or self._is_fresh(version, refreshed_at or 0, started_at)):
                return profile
            now = now_ms()
            if now < self._down_until:
                return _unrefreshed(user_id, row, "Clerk gave no answer a moment ago")
            claim = now + CLAIM_MS
            is_granted = None if refreshed_at is None else self.claims.claim(user_id, now, claim)
            if is_granted:
                return self._refresh(user_id, row, claim)
            if is_granted is None:  # without claims, Clerk is asked only for users who have no row to return
                if profile:
                    return _unrefreshed(user_id, row, "RunsTable gave no answer")
                return self._refresh(user_id, row, None)
            if version or now > started_at + CLAIM_MS:
                return _unrefreshed(user_id, row, "another page load is asking Clerk")
            self.sleep(_POLL_SECONDS)
            has_waited = True

    def _is_fresh(self, version: int, refreshed_at: int, now: int) -> bool:
        # A snapshot that a webhook brought counts too: it was true when it was made.
        times = [at for at in (version, refreshed_at) if not is_from_future(at, now)]
        return max(times, default=0) > now - self.max_age_ms

    def _refresh(self, user_id: str, row: Row | None, claim: int | None) -> Profile | None:
        """Ask Clerk and store its answer. Without a claim, RunsTable is not asked to end one."""
        asked_at = now_ms()
        is_deleted = row is not None and is_marked(row, asked_at)
        try:
            user = parse_user(self._ask(user_id, is_deleted), now_ms(), self.users_table.names)
        except UserUnknown:
            logger.warning("profile_unknown", clerkUserId=user_id)
            self._end_claim(user_id, claim)
            if not is_deleted and snapshot_version(row, asked_at) is None:
                raise ClerkUnavailable("Clerk does not know the user yet") from None
            return None
        except ClerkSyncError as error:
            # The claim is left to lapse, so that Clerk is not asked for this user again at once.
            self._down_until = now_ms() + DOWN_MS
            return _unrefreshed(user_id, row, str(error) or "Clerk did not answer in time")
        if isinstance(user, UserProblem):
            return None if is_deleted else _unrefreshed(user_id, row, user.reason)
        return self._store(user, row, claim, asked_at)

    def _ask(self, user_id: str, is_deleted: bool) -> Any:
        if not is_deleted:
            with suppress(UserUnknown):
                return self.ask_clerk(user_id)
            self.sleep(_SIGN_UP_SECONDS)
        return self.ask_clerk(user_id)

    def _store(self, user: User, row: Row | None, claim: int | None, asked_at: int) -> Profile | None:
        times, refreshed_at = {"as_of": asked_at, "now": now_ms()}, None
        try:
            stored = store(self.users_table, user, row, **times, create_missing=self.create_missing)
            refreshed_at = asked_at
        except RowRefused as error:
            unstored = user.fields if row is None else row
            stored = Stored(unstored, is_written=False, problem=UserProblem(user.id, str(error)))
        finally:
            self._end_claim(user.id, claim, refreshed_at)
        if refreshed_at is not None:
            logger.info("profile_refreshed", clerkUserId=user.id, written=stored.is_written)
        if stored.problem:
            logger.warning("user_set_aside", clerkUserId=user.id, reason=stored.problem.reason)
        return _profile(stored.row, is_stale=stored.problem is not None)

    def _end_claim(self, user_id: str, claim: int | None, refreshed_at: int | None = None) -> None:
        if claim is not None:
            self.claims.end(user_id, claim, refreshed_at)


def _profile(row: Row | None, *, is_stale: bool = False) -> Profile | None:
    """None if there is no row, or it is marked as deleted."""
    return None if row is None or is_marked(row, now_ms()) else Profile(row, is_stale)


def _unrefreshed(user_id: str, row: Row | None, why: str) -> Profile:
    """The row as it is. Raises ClerkUnavailable if there is none, or it is marked as deleted."""
    logger.warning("profile_not_refreshed", clerkUserId=user_id, reason=why, hasRow=row is not None)
    if profile := _profile(row, is_stale=True):
        return profile
    raise ClerkUnavailable(why)


def _is_shown(name: str, value: Value, names: Names) -> bool:
    if name in (VERSION, DELETED):
        return isinstance(value, int)
    return name in names and FIELDS[name].is_shown and FIELDS[name].type.holds(value)


def _plain(value: Value) -> Any:
    return json.loads(value.text) if isinstance(value, Json) else value  # JSON has no Decimal
