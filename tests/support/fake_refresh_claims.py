"""RefreshClaims in memory, and the facts that are true of it and of the real one."""

from collections.abc import Callable

from clerk_sync.clock import DAY_MS
from clerk_sync.profile.refresh_claims import RefreshClaims

NOW = 1_800_000_000_000
UNTIL = NOW + 6_000


class FakeRefreshClaims(RefreshClaims):
    """`asked` holds the user of every claim that was asked for, and whether it was granted. While `is_down`,
    every call returns None, as it does when RunsTable is throttled."""

    def __init__(self) -> None:
        self.refreshed: dict[str, int] = {}
        self.claimed: dict[str, int] = {}
        self.asked: list[tuple[str, bool]] = []
        self.is_down = False

    def refreshed_at(self, user_id: str) -> int | None:
        return None if self.is_down else self.refreshed.get(user_id, 0)

    def claim(self, user_id: str, now: int, until: int) -> bool | None:
        if self.is_down:
            return None
        is_free = not now <= self.claimed.get(user_id, -1) <= now + DAY_MS
        if is_free:
            self.claimed[user_id] = until
        self.asked.append((user_id, is_free))
        return is_free

    def end(self, user_id: str, until: int, refreshed_at: int | None = None) -> None:
        if not self.is_down and self.claimed.get(user_id) == until:
            del self.claimed[user_id]
            if refreshed_at is not None:
                self.refreshed[user_id] = refreshed_at


def user_is_not_refreshed_at_first(claims: RefreshClaims) -> None:
    assert claims.refreshed_at("user_1") == 0


def claim_is_granted_once(claims: RefreshClaims) -> None:
    assert claims.claim("user_1", NOW, UNTIL)
    for now in (NOW, NOW + 1, UNTIL - 1, UNTIL):
        assert not claims.claim("user_1", now, now + 6_000)


def claim_lapses(claims: RefreshClaims) -> None:
    assert claims.claim("user_1", NOW, UNTIL)
    assert claims.claim("user_1", UNTIL + 1, UNTIL + 6_001)
    assert not claims.claim("user_1", UNTIL + 2, UNTIL + 6_002), "the next one has it"


def refused_claim_does_not_extend_the_other(claims: RefreshClaims) -> None:
    assert claims.claim("user_1", NOW, UNTIL)
    assert not claims.claim("user_1", NOW + 1, UNTIL + 60_000)
    assert claims.claim("user_1", UNTIL + 1, UNTIL + 6_001)


def completed_refresh_is_recorded_and_ends_the_claim(claims: RefreshClaims) -> None:
    assert claims.claim("user_1", NOW, UNTIL)
    assert claims.refreshed_at("user_1") == 0, "not before it is completed"
    claims.end("user_1", UNTIL, NOW + 7)
    assert claims.refreshed_at("user_1") == NOW + 7
    assert claims.claim("user_1", NOW + 8, UNTIL + 8)
    assert claims.refreshed_at("user_1") == NOW + 7, "a claim keeps the refresh"


def latest_refresh_is_recorded(claims: RefreshClaims) -> None:
    for at in (NOW, NOW + 5):
        assert claims.claim("user_1", at, at + 6_000)
        claims.end("user_1", at + 6_000, at)
    assert claims.refreshed_at("user_1") == NOW + 5


def lapsed_claim_does_not_end_the_next_one(claims: RefreshClaims) -> None:
    assert claims.claim("user_1", NOW, UNTIL)
    assert claims.claim("user_1", UNTIL + 1, UNTIL + 6_001)
    claims.end("user_1", UNTIL, NOW)
    assert claims.refreshed_at("user_1") == 0
    assert not claims.claim("user_1", UNTIL + 2, UNTIL + 6_002)


def released_claim_is_free_at_once_and_not_a_refresh(claims: RefreshClaims) -> None:
    assert claims.claim("user_1", NOW, UNTIL)
    claims.end("user_1", UNTIL)
    assert claims.refreshed_at("user_1") == 0
    assert claims.claim("user_1", NOW, UNTIL + 1)
    claims.end("user_1", UNTIL + 1, NOW)
    assert claims.claim("user_1", NOW + 1, UNTIL + 2)
    claims.end("user_1", UNTIL + 2)
    assert claims.refreshed_at("user_1") == NOW, "a release keeps the refresh"


def only_the_own_claim_is_released(claims: RefreshClaims) -> None:
    claims.end("user_1", UNTIL)
    assert claims.claim("user_1", NOW, UNTIL), "there was none to release"
    assert claims.claim("user_1", UNTIL + 1, UNTIL + 6_001)
    assert claims.claim("user_2", NOW, UNTIL)
    claims.end("user_1", UNTIL)
    assert not claims.claim("user_1", UNTIL + 2, UNTIL + 6_002), "another page load has it by now"
    assert not claims.claim("user_2", NOW, UNTIL)


def claim_over_a_day_ahead_is_free(claims: RefreshClaims) -> None:
    """A wrong clock made it."""
    assert claims.claim("user_1", NOW + 400 * DAY_MS, UNTIL + 400 * DAY_MS)
    assert claims.claim("user_1", NOW, UNTIL)
    assert not claims.claim("user_1", NOW + 1, UNTIL + 1)


def users_are_independent(claims: RefreshClaims) -> None:
    assert claims.claim("user_1", NOW, UNTIL)
    assert claims.claim("user_2", NOW, UNTIL)
    claims.end("user_2", UNTIL, NOW)
    assert claims.refreshed_at("user_1") == 0
    assert not claims.claim("user_1", NOW, UNTIL)
    assert claims.claim("user_2", NOW, UNTIL)


CONTRACT: list[Callable[[RefreshClaims], None]] = [
    user_is_not_refreshed_at_first,
    claim_is_granted_once,
    claim_lapses,
    refused_claim_does_not_extend_the_other,
    completed_refresh_is_recorded_and_ends_the_claim,
    latest_refresh_is_recorded,
    lapsed_claim_does_not_end_the_next_one,
    released_claim_is_free_at_once_and_not_a_refresh,
    only_the_own_claim_is_released,
    claim_over_a_day_ahead_is_free,
    users_are_independent,
]
