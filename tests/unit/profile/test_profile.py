from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.errors import (
    AwsError,
    ClerkRefused,
    ClerkSyncError,
    ClerkUnavailable,
    OutOfTime,
    SettingsError,
    UserUnknown,
)
from clerk_sync.profile.profile import CLAIM_MS, DOWN_MS, Profile, Profiles
from clerk_sync.users.row import DELETED, VERSION, Opaque, Row
from clerk_sync.users.user import User
from clerk_sync.users.write_rule import DELETION_GRACE_MS
from tests.support.fake_users_table import FakeUsersTable
from tests.support.refreshes import FakeRefreshes
from tests.support.strategies import app_attributes, foreign_part, owned_part, rows, stored_as, users

ID = "user_1"
OTHER = "user_2"
START = 1_800_000_000_000
MAX_AGE = 300_000
LONG_AGO = START - 10 * MAX_AGE
TOO_MANY = 2_000

type Answer = Callable[[], Any]


def clerk_user(updated_at: int = LONG_AGO, **fields: Any) -> dict[str, Any]:
    return {"id": ID, "object": "user", "updated_at": updated_at, "first_name": "Ada"} | fields


def row_of(version: int | None, **attributes: Any) -> dict[str, Any]:
    return ({} if version is None else {VERSION: version}) | attributes


@dataclass
class World:
    """A table, Clerk and a clock that only pauses and Clerk's answers move. What is `due` happens in time."""

    table: FakeUsersTable = field(default_factory=FakeUsersTable)
    refreshes: FakeRefreshes = field(default_factory=FakeRefreshes)
    clerk: Answer = clerk_user
    now: int = START
    asked_at: list[int] = field(default_factory=list)
    due: dict[int, Callable[[], None]] = field(default_factory=dict)
    pauses: int = 0

    def profiles(self, *, max_age: int = MAX_AGE, create_missing: bool = True) -> Profiles:
        return Profiles(
            self.table,
            self.refreshes,
            self._ask_clerk,
            max_age_ms=max_age,
            create_missing=create_missing,
            sleep=self._sleep,
        )

    def ensure(self, **options: Any) -> Profile | None:
        return self.profiles(**options).ensure(ID)

    def row(self) -> Row:
        return owned_part(self.table.rows[ID])

    def pass_ms(self, ms: int) -> None:
        self.now += ms
        while self.due and min(self.due) <= self.now:
            self.due.pop(min(self.due))()

    def _sleep(self, seconds: float) -> None:
        self.pauses += 1
        assert self.pauses < TOO_MANY, "it waits for ever"
        assert seconds > 0
        self.pass_ms(round(seconds * 1000))

    def _ask_clerk(self, user_id: str) -> Any:
        assert user_id in (ID, OTHER)
        self.asked_at.append(self.now)
        self.pass_ms(20)
        return self.clerk()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr("clerk_sync.profile.profile.now_ms", lambda: world.now)
    return world


def world_with(monkeypatch: pytest.MonkeyPatch, row: Row | None) -> World:
    world = World(FakeUsersTable({} if row is None else {ID: row}))
    monkeypatch.setattr("clerk_sync.profile.profile.now_ms", lambda: world.now)
    return world


def failing(error: Exception) -> Answer:
    def fail() -> Any:
        raise error

    return fail


def stored(version: int = LONG_AGO, **fields: Any) -> dict[str, Any]:
    """The owned attributes of a row that holds `clerk_user`."""
    return stored_as(User(ID, version, {"firstName": "Ada"} | fields))


# Fresh rows


@pytest.mark.parametrize("version", [START - MAX_AGE + 1, START - 1, START])
def test_a_row_that_clerk_lately_told_of_is_fresh(version: int, world: World) -> None:
    world.table.rows[ID] = row_of(version, firstName="Ada", plan="pro")
    assert world.ensure() == Profile({VERSION: version, "firstName": "Ada"}, is_stale=False)
    assert (world.asked_at, world.table.written, world.refreshes.told) == ([], [], [])


@pytest.mark.parametrize("refreshed_at", [START - MAX_AGE + 1, START - 1])
def test_a_row_that_clerk_was_lately_asked_for_is_fresh(refreshed_at: int, world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Ada")
    world.refreshes.refreshed[ID] = refreshed_at
    assert world.ensure() == Profile({VERSION: LONG_AGO, "firstName": "Ada"}, is_stale=False)
    assert (world.asked_at, world.table.written, world.refreshes.told) == ([], [], [])


def test_what_was_refreshed_for_another_user_says_nothing_of_this_one(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO)
    world.refreshes.refreshed["user_2"] = START
    world.ensure()
    assert world.asked_at == [START]


# Rows that are not


@pytest.mark.parametrize("version", [0, LONG_AGO, START - MAX_AGE])
def test_a_stale_row_is_brought_up_to_date(version: int, world: World) -> None:
    world.table.rows[ID] = row_of(version, firstName="Old", email="old@mail.test", plan="pro")
    world.clerk = lambda: clerk_user(START - MAX_AGE)
    assert world.ensure() == Profile(stored(START - MAX_AGE), is_stale=False)
    assert world.row() == stored(START - MAX_AGE)
    assert foreign_part(world.table.rows[ID]) == {"plan": "pro"}
    assert world.asked_at == [START]


def test_once_refreshed_a_row_is_fresh_from_when_clerk_was_asked(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO)
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert world.refreshes.last(ID) == START
    world.now = START + MAX_AGE - 1
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert world.asked_at == [START]
    world.now = START + MAX_AGE
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert world.asked_at == [START, START + MAX_AGE]


def test_a_refresh_that_finds_nothing_new_writes_nothing(world: World) -> None:
    world.table.rows[ID] = stored()
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert (world.asked_at, world.table.written) == ([START], [])
    assert world.refreshes.last(ID) == START


def test_an_unknown_user_gets_a_row(world: World) -> None:
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert world.table.rows == {ID: stored()}
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert world.asked_at == [START]


@pytest.mark.parametrize(
    "attributes", [{}, {"plan": "pro"}, {"firstName": "Test", "email": "user@example.com"}]
)
@pytest.mark.parametrize("is_refreshed", [False, True])
@pytest.mark.parametrize("create_missing", [False, True])
def test_an_apps_placeholder_is_never_fresh(
    attributes: dict[str, str], is_refreshed: bool, create_missing: bool, world: World
) -> None:
    world.table.rows[ID] = row_of(None, **attributes)
    if is_refreshed:
        world.refreshes.refreshed[ID] = START - 1
    assert world.ensure(create_missing=create_missing) == Profile(stored(), is_stale=False)
    assert world.row() == stored()
    assert world.table.rows[ID].get("plan") == attributes.get("plan")


@pytest.mark.parametrize(
    "version", [str(START), *map(Opaque, ({"NULL": True}, {"N": "1.5"}, {"BOOL": True}))]
)
def test_a_version_that_is_none_is_not_fresh(version: Any, world: World) -> None:
    world.table.rows[ID] = {**row_of(None), VERSION: version}
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert world.asked_at == [START]


def test_a_row_that_the_app_deleted_is_made_again_though_refreshed_lately(world: World) -> None:
    world.ensure()
    world.table.rows.clear()
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert world.row() == stored()


def test_without_creating_an_unknown_user_costs_clerk_nothing(world: World) -> None:
    assert world.ensure(create_missing=False) is None
    assert (world.asked_at, world.table.rows, world.refreshes.told) == ([], {}, [])


def test_without_creating_a_row_that_goes_meanwhile_is_not_made_again(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    world.due[START + 10] = world.table.rows.clear
    assert world.ensure(create_missing=False) is None
    assert world.table.rows == {}


@pytest.mark.parametrize("age", [0, 1])
def test_without_a_tolerated_age_every_page_load_asks(age: int, world: World) -> None:
    world.table.rows[ID] = stored(START)
    world.clerk = lambda: clerk_user(START)
    world.now = START + age
    for n in range(1, 4):
        assert world.ensure(max_age=0) == Profile(stored(START), is_stale=False)
        assert len(world.asked_at) == n


# Deleted


def test_a_mark_is_kept_when_clerk_no_longer_has_the_user(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, clerkDeletedAt=LONG_AGO)
    world.clerk = failing(UserUnknown("Clerk has no such user"))
    before = dict(world.table.rows)
    assert world.ensure() is None
    assert world.table.rows == before
    assert world.refreshes.claimed == {}


def test_a_mark_comes_off_when_clerk_shows_the_user_long_after(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, clerkDeletedAt=START - DELETION_GRACE_MS - 1)
    profile = world.ensure()
    assert profile == Profile(stored(), is_stale=False)
    assert DELETED not in world.row()


def test_a_mark_stays_when_clerk_may_only_lag(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, clerkDeletedAt=START - DELETION_GRACE_MS)
    profile = world.ensure()
    assert profile is not None
    assert profile.row == world.row() == stored() | {DELETED: START - DELETION_GRACE_MS}


def test_a_user_unknown_to_clerk_gets_no_row(world: World) -> None:
    world.clerk = failing(UserUnknown("Clerk has no such user"))
    assert world.ensure() is None
    assert world.table.rows == {}
    assert world.refreshes.last(ID) == 0


def test_a_user_unknown_to_clerk_may_be_asked_for_again_at_once(world: World) -> None:
    world.clerk = failing(UserUnknown("Clerk has no such user"))
    profiles = world.profiles()
    assert profiles.ensure(ID) is None
    assert world.refreshes.claimed == {}
    world.clerk = clerk_user
    assert profiles.ensure(ID) == Profile(stored(), is_stale=False)
    assert world.pauses == 0


# Clerk can't be asked

ERRORS: list[ClerkSyncError] = [
    ClerkUnavailable("down"),
    ClerkRefused("the key"),
    SettingsError("no secret"),
    AwsError("SSM is down"),
    OutOfTime(),
]
TROUBLE: dict[str, Answer] = {
    **{type(error).__name__: failing(error) for error in ERRORS},
    "malformed": lambda: clerk_user(first_name=7),
    "no version": lambda: {"id": ID},
    "nothing": lambda: None,
    "a list": lambda: [clerk_user()],
}
in_trouble = pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE.keys())


@in_trouble
@pytest.mark.parametrize("version", [LONG_AGO, None])
def test_in_trouble_a_row_is_returned_as_it_is_and_called_stale(
    trouble: Answer, version: int | None, world: World
) -> None:
    world.table.rows[ID] = row_of(version, firstName="Old", plan="pro")
    world.clerk = trouble
    assert world.ensure() == Profile(row_of(version, firstName="Old"), is_stale=True)
    assert world.table.written == []
    assert world.refreshes.last(ID) == 0


@in_trouble
def test_in_trouble_a_row_of_the_apps_own_attributes_is_still_a_row(trouble: Answer, world: World) -> None:
    world.table.rows[ID] = row_of(None, plan="pro")
    world.clerk = trouble
    assert world.ensure() == Profile({}, is_stale=True)


@in_trouble
def test_in_trouble_without_a_row_there_is_nothing_to_return(trouble: Answer, world: World) -> None:
    world.clerk = trouble
    with pytest.raises(ClerkUnavailable) as error:
        world.ensure()
    assert str(error.value)
    assert world.table.rows == {}


@in_trouble
def test_after_a_failure_others_do_not_ask_at_once(trouble: Answer, world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    world.clerk = trouble
    for _ in range(100):
        assert world.ensure() == Profile({VERSION: LONG_AGO, "firstName": "Old"}, is_stale=True)
        world.pass_ms(500)
    assert len(world.asked_at) > 1, "it never asks again"
    pauses = [later - earlier for earlier, later in zip(world.asked_at, world.asked_at[1:], strict=False)]
    assert min(pauses) > CLAIM_MS


def test_after_a_failure_it_is_tried_again(world: World) -> None:
    world.clerk = failing(ClerkUnavailable("down"))
    with pytest.raises(ClerkUnavailable):
        world.ensure()
    world.clerk = clerk_user
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert len(world.asked_at) == 2


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_after_clerk_failed_it_is_not_asked_for_anybody_for_a_while(
    error: ClerkSyncError, world: World
) -> None:
    world.table.rows[OTHER] = row_of(LONG_AGO, firstName="Old")
    world.clerk = failing(error)
    profiles = world.profiles()
    with pytest.raises(ClerkUnavailable):
        profiles.ensure(ID)
    failed_at = world.now
    world.clerk = lambda: clerk_user(id=OTHER)
    for at in (failed_at, failed_at + 1, failed_at + DOWN_MS - 1):
        world.now = at
        old: Row = {VERSION: LONG_AGO, "firstName": "Old"}
        assert profiles.ensure(OTHER) == Profile(old, is_stale=True)
        with pytest.raises(ClerkUnavailable):
            profiles.ensure(ID)
    assert (world.asked_at, world.pauses) == ([START], 0)
    assert world.refreshes.told == [(ID, True)], "nobody else is kept from asking"
    world.now = failed_at + DOWN_MS
    assert profiles.ensure(OTHER) == Profile(stored(), is_stale=False)
    assert world.asked_at == [START, failed_at + DOWN_MS]


def test_after_clerk_failed_a_fresh_row_is_still_fresh(world: World) -> None:
    world.table.rows[OTHER] = row_of(START, firstName="Ada")
    world.clerk = failing(ClerkUnavailable("down"))
    profiles = world.profiles()
    with pytest.raises(ClerkUnavailable):
        profiles.ensure(ID)
    assert profiles.ensure(OTHER) == Profile({VERSION: START, "firstName": "Ada"}, is_stale=False)


@pytest.mark.parametrize("odd", [failing(UserUnknown("no such user")), lambda: clerk_user(first_name=7)])
def test_an_answer_that_is_no_user_does_not_mean_that_clerk_is_down(odd: Answer, world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    world.clerk = odd
    profiles = world.profiles()
    profiles.ensure(ID)
    world.clerk = lambda: clerk_user(id=OTHER)
    assert profiles.ensure(OTHER) == Profile(stored(), is_stale=False)


def test_a_table_that_fails_is_raised(world: World) -> None:
    def fail() -> None:
        raise AwsError("down")

    world.table.rivals = [fail]
    with pytest.raises(AwsError):
        world.ensure()
    assert world.refreshes.last(ID) == 0, "nothing was refreshed"


# Many page loads at once


def claimed(world: World) -> None:
    """Another page load has begun to ask Clerk."""
    assert world.refreshes.claim(ID, START, START + CLAIM_MS)


@pytest.mark.parametrize("ms", [0, 1, CLAIM_MS])
def test_whoever_comes_second_has_the_row_as_it_is(ms: int, world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    claimed(world)
    world.now += ms
    assert world.ensure() == Profile({VERSION: LONG_AGO, "firstName": "Old"}, is_stale=True)
    assert (world.asked_at, world.pauses) == ([], 0)


@pytest.mark.parametrize("row", [None, row_of(None, lastName="User"), row_of(None, plan="pro")])
@pytest.mark.parametrize("ms", [1, 150, 1_000, CLAIM_MS - 200])
def test_whoever_comes_second_waits_for_clerks_row_where_there_is_none(
    ms: int, row: dict[str, Any] | None, world: World
) -> None:
    if row:
        world.table.rows[ID] = row
    claimed(world)

    def finish() -> None:
        world.table.rows[ID] = stored()
        world.refreshes.refreshed[ID] = START

    world.due[START + ms] = finish
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert world.asked_at == []
    assert ms <= world.now - START <= ms + 200, "it waits on though the first is done"


def test_when_the_first_finds_no_user_the_second_asks_without_waiting_for_the_claims_end(
    world: World,
) -> None:
    claimed(world)
    world.due[START + 150] = lambda: world.refreshes.release(ID, START + CLAIM_MS)
    world.clerk = failing(UserUnknown("Clerk has no such user"))
    assert world.ensure() is None
    [asked_at] = world.asked_at
    assert 150 <= asked_at - START <= 350


def test_when_the_first_dies_the_next_page_load_after_its_claim_asks(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    claimed(world)
    world.now += CLAIM_MS + 1
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert world.asked_at == [START + CLAIM_MS + 1]


@pytest.mark.parametrize("after_ms", [0, 1, 3_000])
def test_when_the_first_dies_whoever_waits_asks(after_ms: int, world: World) -> None:
    claimed(world)
    world.now += after_ms
    assert world.ensure() == Profile(stored(), is_stale=False)
    [asked_at] = world.asked_at
    assert CLAIM_MS < asked_at - START <= CLAIM_MS + 200


def test_of_all_that_wait_for_the_dead_one_asks(world: World) -> None:
    claimed(world)
    profiles: list[Profile | None] = []
    for ms in (3_050, 3_080, 3_500, CLAIM_MS - 10):
        world.due[START + ms] = lambda: profiles.append(world.ensure())
    world.now += 3_000
    profiles.append(world.ensure())
    assert profiles == [Profile(stored(), is_stale=False)] * 5
    assert len(world.asked_at) == 1


def test_while_others_always_hold_the_claim_a_new_user_is_to_try_later(world: World) -> None:
    world.refreshes.claimed[ID] = START + 10 * CLAIM_MS
    with pytest.raises(ClerkUnavailable):
        world.ensure()
    assert world.asked_at == []
    assert CLAIM_MS <= world.now - START <= CLAIM_MS + 300


def test_a_webhook_that_brings_the_row_ends_the_wait(world: World) -> None:
    claimed(world)

    def webhook() -> None:
        world.table.rows[ID] = stored(START + 90)

    world.due[START + 100] = webhook
    assert world.ensure() == Profile(stored(START + 90), is_stale=False)
    assert world.asked_at == []


def test_clerk_is_never_asked_by_two_within_a_claim(world: World) -> None:
    """Page loads of every 70 ms, each begun while those before it are still waiting."""
    begun: list[int] = []

    def another() -> None:
        if len(begun) < 12:
            begun.append(world.now)
            world.due[world.now + 70] = another
            with suppress(ClerkUnavailable):
                world.ensure()

    world.clerk = failing(ClerkUnavailable("down"))
    world.due[START + 1] = another
    with pytest.raises(ClerkUnavailable):
        world.ensure()
    assert len(begun) == 12
    assert len(world.asked_at) > 1
    pauses = [later - earlier for earlier, later in zip(world.asked_at, world.asked_at[1:], strict=False)]
    assert all(pause > CLAIM_MS for pause in pauses)


def test_the_claim_is_taken_before_clerk_is_asked_and_free_when_the_row_is_written(world: World) -> None:
    def ask() -> Any:
        assert world.refreshes.claimed == {ID: START + CLAIM_MS}
        return clerk_user()

    world.clerk = ask
    world.ensure()
    assert world.refreshes.claimed == {}


# The row that is returned


def test_a_newer_row_of_the_webhooks_is_what_is_returned(world: World) -> None:
    newer = {**stored(START + 5, firstName="Newer"), "plan": "pro"}

    def webhook() -> None:
        world.table.rows[ID] = dict(newer)

    world.table.rivals = [webhook]
    assert world.ensure() == Profile(stored(START + 5, firstName="Newer"), is_stale=False)
    assert world.table.rows == {ID: newer}


def test_an_older_row_of_the_webhooks_loses(world: World) -> None:
    def webhook() -> None:
        world.table.rows[ID] = stored(LONG_AGO - 5, email="old@mail.test")

    world.table.rivals = [webhook]
    assert world.ensure() == Profile(stored(), is_stale=False)
    assert world.row() == stored()


synced = st.builds(
    lambda user, theirs: {**theirs, **stored_as(user)},
    users(st.just(ID), st.integers(10, 19)),
    app_attributes,
)
"""Rows as another writer of ours leaves them, of versions that those of `rows` are not at."""


@given(st.none() | rows, st.none() | synced, st.integers(0, 25), st.booleans())
def test_the_row_that_is_returned_is_the_one_that_is_stored(
    row: Any, rival: Any, version: int, create_missing: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = world_with(patch, row)

        def meddle() -> None:
            world.table.rows.pop(ID, None)
            if rival is not None:
                world.table.rows[ID] = dict(rival)

        world.table.rivals = [meddle]
        world.clerk = lambda: clerk_user(version, last_active_at=version)
        profile = world.ensure(create_missing=create_missing)
    if profile is None:
        assert ID not in world.table.rows
        assert not create_missing
    else:
        assert profile.row == world.row()
        assert not profile.is_stale


def test_getting_a_row_asks_nobody_and_writes_nothing(world: World) -> None:
    assert world.profiles().get(ID) is None
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old", plan="pro")
    assert world.profiles().get(ID) == {VERSION: LONG_AGO, "firstName": "Old"}
    assert (world.asked_at, world.table.written, world.refreshes.told) == ([], [], [])
