"""Refresh claims in memory, and what holds for them as for those of RunsTable."""

from collections.abc import Callable

from clerk_sync.profile.refresh_claims import Refreshes

NOW = 1_800_000_000_000
UNTIL = NOW + 6_000


class FakeRefreshes(Refreshes):
    """The same in memory. `told` is every claim that was tried, and whether it was granted."""

    def __init__(self) -> None:
        self.refreshed: dict[str, int] = {}
        self.claimed: dict[str, int] = {}
        self.told: list[tuple[str, bool]] = []

    def last(self, user_id: str) -> int:
        return self.refreshed.get(user_id, 0)

    def claim(self, user_id: str, now: int, until: int) -> bool:
        is_free = self.claimed.get(user_id, -1) < now
        if is_free:
            self.claimed[user_id] = until
        self.told.append((user_id, is_free))
        return is_free

    def done(self, user_id: str, until: int, at: int) -> None:
        if self.claimed.get(user_id) == until:
            del self.claimed[user_id]
            self.refreshed[user_id] = at

    def release(self, user_id: str, until: int) -> None:
        if self.claimed.get(user_id) == until:
            del self.claimed[user_id]


def no_refresh_is_recorded_at_first(refreshes: Refreshes) -> None:
    assert refreshes.last("user_1") == 0


def a_claim_can_be_taken_once(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    for now in (NOW, NOW + 1, UNTIL - 1, UNTIL):
        assert not refreshes.claim("user_1", now, now + 6_000)


def a_claim_expires(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    assert refreshes.claim("user_1", UNTIL + 1, UNTIL + 6_001)
    assert not refreshes.claim("user_1", UNTIL + 2, UNTIL + 6_002), "the next one holds it"


def a_refused_claim_does_not_extend_the_current_one(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    assert not refreshes.claim("user_1", NOW + 1, UNTIL + 60_000)
    assert refreshes.claim("user_1", UNTIL + 1, UNTIL + 6_001)


def a_finished_refresh_is_recorded_and_frees_the_claim(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    assert refreshes.last("user_1") == 0, "not before it is done"
    refreshes.done("user_1", UNTIL, NOW + 7)
    assert refreshes.last("user_1") == NOW + 7
    assert refreshes.claim("user_1", NOW + 8, UNTIL + 8)
    assert refreshes.last("user_1") == NOW + 7, "a claim forgets nothing"


def the_last_refresh_counts(refreshes: Refreshes) -> None:
    for at in (NOW, NOW + 5):
        assert refreshes.claim("user_1", at, at + 6_000)
        refreshes.done("user_1", at + 6_000, at)
    assert refreshes.last("user_1") == NOW + 5


def an_expired_claim_that_was_taken_over_stays_with_its_new_owner(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    assert refreshes.claim("user_1", UNTIL + 1, UNTIL + 6_001)
    refreshes.done("user_1", UNTIL, NOW)
    assert refreshes.last("user_1") == 0
    assert not refreshes.claim("user_1", UNTIL + 2, UNTIL + 6_002)


def a_released_claim_is_free_at_once_and_records_no_refresh(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    refreshes.release("user_1", UNTIL)
    assert refreshes.last("user_1") == 0
    assert refreshes.claim("user_1", NOW, UNTIL + 1)
    refreshes.done("user_1", UNTIL + 1, NOW)
    assert refreshes.claim("user_1", NOW + 1, UNTIL + 2)
    refreshes.release("user_1", UNTIL + 2)
    assert refreshes.last("user_1") == NOW, "what was done before stays done"


def only_ones_own_claim_is_released(refreshes: Refreshes) -> None:
    refreshes.release("user_1", UNTIL)
    assert refreshes.claim("user_1", NOW, UNTIL), "there was none, and now there is"
    assert refreshes.claim("user_1", UNTIL + 1, UNTIL + 6_001)
    assert refreshes.claim("user_2", NOW, UNTIL)
    refreshes.release("user_1", UNTIL)
    assert not refreshes.claim("user_1", UNTIL + 2, UNTIL + 6_002), "it is another's by now"
    assert not refreshes.claim("user_2", NOW, UNTIL)


def users_are_independent(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    assert refreshes.claim("user_2", NOW, UNTIL)
    refreshes.done("user_2", UNTIL, NOW)
    assert refreshes.last("user_1") == 0
    assert not refreshes.claim("user_1", NOW, UNTIL)
    assert refreshes.claim("user_2", NOW, UNTIL)


CONTRACT: list[Callable[[Refreshes], None]] = [
    no_refresh_is_recorded_at_first,
    a_claim_can_be_taken_once,
    a_claim_expires,
    a_refused_claim_does_not_extend_the_current_one,
    a_finished_refresh_is_recorded_and_frees_the_claim,
    the_last_refresh_counts,
    an_expired_claim_that_was_taken_over_stays_with_its_new_owner,
    a_released_claim_is_free_at_once_and_records_no_refresh,
    only_ones_own_claim_is_released,
    users_are_independent,
]
