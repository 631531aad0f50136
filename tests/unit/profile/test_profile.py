from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.clock import DAY_MS
from clerk_sync.errors import (
    AwsError,
    ClerkRefused,
    ClerkSyncError,
    ClerkUnavailable,
    OutOfTime,
    RowRefused,
    SettingsError,
    UserUnknown,
)
from clerk_sync.profile.profile import CLAIM_MS, DOWN_MS, Profile, Profiles
from clerk_sync.users.user import User
from clerk_sync.users.values import Opaque
from clerk_sync.users.write_rule import DELETED, DELETION_GRACE_MS, VERSION, Row
from tests.support.fake_refresh_claims import FakeRefreshClaims
from tests.support.fake_users_table import FakeUsersTable
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
    """A table, Clerk, and a clock that only pauses and Clerk's answers move. `due` happens at its time."""

    table: FakeUsersTable = field(default_factory=FakeUsersTable)
    claims: FakeRefreshClaims = field(default_factory=FakeRefreshClaims)
    clerk: Answer = clerk_user
    now: int = START
    asked_at: list[int] = field(default_factory=list)
    due: dict[int, Callable[[], None]] = field(default_factory=dict)
    pauses: int = 0

    def profiles(self, *, max_age: int = MAX_AGE, create_missing: bool = True) -> Profiles:
        return Profiles(
            self.table,
            self.claims,
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
def test_row_with_a_recent_version_is_fresh(version: int, world: World) -> None:
    world.table.rows[ID] = row_of(version, firstName="Ada", plan="pro")
    assert world.ensure() == Profile({VERSION: version, "firstName": "Ada"})
    assert (world.asked_at, world.table.written, world.claims.asked) == ([], [], [])


@pytest.mark.parametrize("version", [START + 2 * DAY_MS, START * 1000])
def test_version_over_a_day_ahead_is_not_fresh(version: int, world: World) -> None:
    world.table.rows[ID] = row_of(version, firstName="Old")
    assert world.ensure() == Profile(stored())
    assert world.asked_at == [START]


@pytest.mark.parametrize("refreshed_at", [START + 2 * DAY_MS, START * 1000])
def test_refresh_over_a_day_ahead_is_not_fresh(refreshed_at: int, world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    world.claims.refreshed[ID] = refreshed_at
    assert world.ensure() == Profile(stored())
    assert world.asked_at == [START]


@pytest.mark.parametrize("refreshed_at", [0, START - 1])
def test_row_of_a_sign_in_alone_is_not_fresh(refreshed_at: int, world: World) -> None:
    world.table.rows[ID] = row_of(0, lastSignInAt=START - 1)
    world.claims.refreshed[ID] = refreshed_at
    assert world.ensure() == Profile(stored())
    assert world.asked_at == [START]


def test_page_load_that_waits_does_not_return_the_row_of_a_sign_in_alone(world: World) -> None:
    claimed(world)

    def sign_in() -> None:
        world.table.rows[ID] = row_of(0, lastSignInAt=START)

    def finish() -> None:
        world.table.rows[ID] = stored()
        world.claims.end(ID, START + CLAIM_MS, START)

    world.due = {START + 100: sign_in, START + 700: finish}
    assert world.ensure() == Profile(stored())
    assert world.asked_at == []
    assert world.now - START >= 700


def test_page_load_that_waited_too_long_returns_the_row_of_a_sign_in_as_stale(world: World) -> None:
    world.table.rows[ID] = row_of(0, lastSignInAt=START - 1)
    world.claims.claimed[ID] = START + 3 * CLAIM_MS
    assert world.ensure() == Profile(row_of(0, lastSignInAt=START - 1), is_stale=True)


@pytest.mark.parametrize("refreshed_at", [START - MAX_AGE + 1, START - 1])
def test_row_that_was_refreshed_recently_is_fresh(refreshed_at: int, world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Ada")
    world.claims.refreshed[ID] = refreshed_at
    assert world.ensure() == Profile({VERSION: LONG_AGO, "firstName": "Ada"})
    assert (world.asked_at, world.table.written, world.claims.asked) == ([], [], [])


def test_refresh_of_another_user_does_not_count(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO)
    world.claims.refreshed["user_2"] = START
    world.ensure()
    assert world.asked_at == [START]


# Rows that are not


@pytest.mark.parametrize("version", [0, LONG_AGO, START - MAX_AGE])
def test_old_row_is_refreshed(version: int, world: World) -> None:
    world.table.rows[ID] = row_of(version, firstName="Old", email="old@mail.test", plan="pro")
    world.clerk = lambda: clerk_user(START - MAX_AGE)
    assert world.ensure() == Profile(stored(START - MAX_AGE))
    assert world.row() == stored(START - MAX_AGE)
    assert foreign_part(world.table.rows[ID]) == {"plan": "pro"}
    assert world.asked_at == [START]


def test_refreshed_row_is_fresh_from_when_clerk_was_asked(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO)
    assert world.ensure() == Profile(stored())
    assert world.claims.refreshed_at(ID) == START
    world.now = START + MAX_AGE - 1
    assert world.ensure() == Profile(stored())
    assert world.asked_at == [START]
    world.now = START + MAX_AGE
    assert world.ensure() == Profile(stored())
    assert world.asked_at == [START, START + MAX_AGE]


def test_refresh_that_finds_nothing_new_writes_nothing(world: World) -> None:
    world.table.rows[ID] = stored()
    assert world.ensure() == Profile(stored())
    assert (world.asked_at, world.table.written) == ([START], [])
    assert world.claims.refreshed_at(ID) == START


def test_user_without_a_row_gets_one(world: World) -> None:
    assert world.ensure() == Profile(stored())
    assert world.table.rows == {ID: stored()}
    assert world.ensure() == Profile(stored())
    assert world.asked_at == [START]


@pytest.mark.parametrize(
    "attributes", [{}, {"plan": "pro"}, {"firstName": "Test", "email": "user@example.com"}]
)
@pytest.mark.parametrize("is_refreshed", [False, True])
@pytest.mark.parametrize("create_missing", [False, True])
def test_row_that_the_app_made_is_never_fresh(
    attributes: dict[str, str], is_refreshed: bool, create_missing: bool, world: World
) -> None:
    world.table.rows[ID] = row_of(None, **attributes)
    if is_refreshed:
        world.claims.refreshed[ID] = START - 1
    assert world.ensure(create_missing=create_missing) == Profile(stored())
    assert world.row() == stored()
    assert world.table.rows[ID].get("plan") == attributes.get("plan")


@pytest.mark.parametrize(
    "version", [str(START), *map(Opaque, ({"NULL": True}, {"N": "1.5"}, {"BOOL": True}))]
)
def test_version_of_another_type_is_not_fresh(version: Any, world: World) -> None:
    world.table.rows[ID] = {**row_of(None), VERSION: version}
    assert world.ensure() == Profile(stored())
    assert world.asked_at == [START]


def test_row_that_the_app_deleted_is_created_again_though_refreshed_recently(world: World) -> None:
    world.ensure()
    world.table.rows.clear()
    assert world.ensure() == Profile(stored())
    assert world.row() == stored()


def test_unknown_user_without_create_missing_causes_no_request(world: World) -> None:
    assert world.ensure(create_missing=False) is None
    assert (world.asked_at, world.table.rows, world.claims.asked) == ([], {}, [])


def test_row_that_disappears_meanwhile_is_not_created_without_create_missing(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    world.due[START + 10] = world.table.rows.clear
    assert world.ensure(create_missing=False) is None
    assert world.table.rows == {}


@pytest.mark.parametrize("age", [0, 1])
def test_every_page_load_asks_with_a_max_age_of_zero(age: int, world: World) -> None:
    world.table.rows[ID] = stored(START)
    world.clerk = lambda: clerk_user(START)
    world.now = START + age
    for n in range(1, 4):
        assert world.ensure(max_age=0) == Profile(stored(START))
        assert len(world.asked_at) == n


# Deleted users

UNKNOWN = failing(UserUnknown("Clerk has no such user"))
marked = pytest.mark.parametrize("version", [LONG_AGO, START, 0, None])


@marked
def test_marked_row_is_not_returned_by_get(version: int | None, world: World) -> None:
    world.table.rows[ID] = row_of(version, clerkDeletedAt=START - 1, firstName="Ada")
    assert world.profiles().get(ID) is None
    assert world.asked_at == []


@marked
@pytest.mark.parametrize("is_refreshed", [False, True])
def test_marked_user_who_is_not_in_clerk_is_not_returned_even_if_fresh(
    version: int | None, is_refreshed: bool, world: World
) -> None:
    world.table.rows[ID] = row_of(version, clerkDeletedAt=START - 1, firstName="Ada")
    if is_refreshed:
        world.claims.refreshed[ID] = START - 1
    world.clerk = UNKNOWN
    before = dict(world.table.rows)
    for n in range(1, 3):
        assert world.ensure() is None
        assert len(world.asked_at) == n, "each page load asks, once"
    assert world.table.rows == before
    assert world.claims.claimed == {}


def test_mark_is_removed_when_clerk_shows_the_user_after_the_grace(world: World) -> None:
    world.table.rows[ID] = row_of(START, clerkDeletedAt=START - DELETION_GRACE_MS - 1)
    world.clerk = lambda: clerk_user(START)
    assert world.ensure() == Profile(stored(START))
    assert DELETED not in world.row()
    assert world.asked_at == [START]


def test_mark_stays_when_clerk_shows_the_user_within_the_grace(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, clerkDeletedAt=START - DELETION_GRACE_MS)
    for _ in range(2):
        assert world.ensure() is None
        assert world.row() == stored() | {DELETED: START - DELETION_GRACE_MS}
        world.now = START
    assert world.profiles().get(ID) is None


def test_mark_from_the_future_counts_as_none(world: World) -> None:
    world.table.rows[ID] = row_of(START, clerkDeletedAt=START * 1000, firstName="Ada")
    row: Row = {VERSION: START, DELETED: START * 1000, "firstName": "Ada"}
    assert world.profiles().get(ID) == world.ensure() == Profile(row)


def test_page_load_that_waits_does_not_return_a_row_that_is_marked_meanwhile(world: World) -> None:
    claimed(world)

    def deleted() -> None:
        world.table.rows[ID] = stored() | {DELETED: START}
        world.claims.end(ID, START + CLAIM_MS)

    world.due[START + 150] = deleted
    world.clerk = UNKNOWN
    assert world.ensure() is None


def test_marked_user_is_a_404_when_clerks_user_is_malformed(world: World) -> None:
    world.table.rows[ID] = row_of(START, clerkDeletedAt=START - 1)
    world.clerk = lambda: clerk_user(first_name=7)
    assert world.ensure() is None


# Users whom Clerk does not know


def test_unknown_user_is_asked_for_once_more_after_half_a_second(world: World) -> None:
    answers = [UNKNOWN, clerk_user]
    world.clerk = lambda: answers.pop(0)()
    assert world.ensure() == Profile(stored())
    first, second = world.asked_at
    assert 500 <= second - first <= 600


@pytest.mark.parametrize(
    "row",
    [None, {}, {"plan": "pro"}, {"firstName": "Ada"}, row_of(0, lastSignInAt=START), row_of(START * 1000)],
)
def test_unknown_user_without_a_snapshot_raises_clerk_unavailable(
    row: dict[str, Any] | None, world: World
) -> None:
    """The user signed up just now: the app or the first sign-in may have made the row already."""
    world.table.rows |= {} if row is None else {ID: dict(row)}
    world.clerk = UNKNOWN
    with pytest.raises(ClerkUnavailable, match="does not know"):
        world.ensure()
    assert len(world.asked_at) == 2
    assert world.table.rows == ({} if row is None else {ID: row})
    assert world.claims.refreshed_at(ID) == 0
    assert world.claims.claimed == {}


def test_unknown_user_with_a_snapshot_is_not_returned(world: World) -> None:
    world.table.rows[ID] = row = row_of(LONG_AGO, firstName="Ada")
    world.clerk = UNKNOWN
    assert world.ensure() is None
    assert len(world.asked_at) == 2
    assert world.table.rows == {ID: row}


def test_unknown_user_can_be_asked_for_again_at_once(world: World) -> None:
    world.clerk = UNKNOWN
    profiles = world.profiles()
    with pytest.raises(ClerkUnavailable):
        profiles.ensure(ID)
    assert world.claims.claimed == {}
    world.clerk = clerk_user
    began = world.now
    assert profiles.ensure(ID) == Profile(stored())
    assert world.asked_at[-1] == began


def test_clerk_that_fails_the_second_time_raises_clerk_unavailable(world: World) -> None:
    answers = [UNKNOWN, failing(ClerkUnavailable("down"))]
    world.clerk = lambda: answers.pop(0)()
    with pytest.raises(ClerkUnavailable, match="down"):
        world.ensure()


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
def test_row_is_returned_as_it_is_and_stale_when_clerk_fails(
    trouble: Answer, version: int | None, world: World
) -> None:
    world.table.rows[ID] = row_of(version, firstName="Old", plan="pro")
    world.clerk = trouble
    assert world.ensure() == Profile(row_of(version, firstName="Old"), is_stale=True)
    assert world.table.written == []
    assert world.claims.refreshed_at(ID) == 0


@in_trouble
def test_row_with_only_the_apps_attributes_is_returned_as_stale_when_clerk_fails(
    trouble: Answer, world: World
) -> None:
    world.table.rows[ID] = row_of(None, plan="pro")
    world.clerk = trouble
    assert world.ensure() == Profile({}, is_stale=True)


@in_trouble
def test_user_without_a_row_raises_clerk_unavailable_when_clerk_fails(trouble: Answer, world: World) -> None:
    world.clerk = trouble
    with pytest.raises(ClerkUnavailable) as error:
        world.ensure()
    assert str(error.value)
    assert world.table.rows == {}


@in_trouble
def test_failure_keeps_the_user_from_being_asked_for_again_at_once(trouble: Answer, world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    world.clerk = trouble
    for _ in range(100):
        assert world.ensure() == Profile({VERSION: LONG_AGO, "firstName": "Old"}, is_stale=True)
        world.pass_ms(500)
    assert len(world.asked_at) > 1, "it never asks again"
    pauses = [later - earlier for earlier, later in zip(world.asked_at, world.asked_at[1:], strict=False)]
    assert min(pauses) > CLAIM_MS


def test_user_can_be_asked_for_by_another_function_after_a_failure(world: World) -> None:
    world.clerk = failing(ClerkUnavailable("down"))
    with pytest.raises(ClerkUnavailable):
        world.ensure()
    world.clerk = clerk_user
    assert world.ensure() == Profile(stored())
    assert len(world.asked_at) == 2


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_failure_keeps_a_function_from_asking_for_any_user_for_five_seconds(
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
    assert world.claims.asked == [(ID, True)], "nobody else is kept from asking"
    world.now = failed_at + DOWN_MS
    assert profiles.ensure(OTHER) == Profile(stored())
    assert world.asked_at == [START, failed_at + DOWN_MS]


def test_fresh_row_is_returned_after_clerk_failed(world: World) -> None:
    world.table.rows[OTHER] = row_of(START, firstName="Ada")
    world.clerk = failing(ClerkUnavailable("down"))
    profiles = world.profiles()
    with pytest.raises(ClerkUnavailable):
        profiles.ensure(ID)
    assert profiles.ensure(OTHER) == Profile({VERSION: START, "firstName": "Ada"})


@pytest.mark.parametrize("odd", [failing(UserUnknown("no such user")), lambda: clerk_user(first_name=7)])
def test_unknown_or_malformed_user_does_not_count_as_a_failure_of_clerk(odd: Answer, world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    world.clerk = odd
    profiles = world.profiles()
    profiles.ensure(ID)
    world.clerk = lambda: clerk_user(id=OTHER)
    assert profiles.ensure(OTHER) == Profile(stored())


@in_trouble
def test_marked_row_is_not_returned_when_clerk_fails(trouble: Answer, world: World) -> None:
    world.table.rows[ID] = row_of(START, firstName="Ada", clerkDeletedAt=START - 1)
    world.clerk = trouble
    with suppress(ClerkUnavailable):
        assert world.ensure() is None
    world.pass_ms(1)
    if trouble in [TROUBLE[type(error).__name__] for error in ERRORS]:
        with pytest.raises(ClerkUnavailable):
            world.ensure()


def fail() -> None:
    raise AwsError("down")


def test_failing_users_table_is_raised_and_ends_the_claim(world: World) -> None:
    world.table.rivals = [fail]
    with pytest.raises(AwsError):
        world.ensure()
    assert world.claims.refreshed_at(ID) == 0, "nothing was refreshed"
    assert world.claims.claimed == {}, "the next page load asks at once"


# A row that DynamoDB refuses


def refuse() -> None:
    raise RowRefused("Item size has exceeded the maximum allowed size")


def test_refused_row_is_returned_as_it_is_and_stale(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old", plan="pro")
    for _ in range(2):
        world.table.rivals = [refuse]
        assert world.ensure() == Profile(row_of(LONG_AGO, firstName="Old"), is_stale=True)
    assert len(world.asked_at) == 2
    assert "user_set_aside" in caplog.messages


def test_refused_user_without_a_row_gets_clerks_fields_and_stale(world: World) -> None:
    for _ in range(2):
        world.table.rivals = [refuse]
        assert world.ensure() == Profile({"firstName": "Ada"}, is_stale=True)
    assert world.table.rows == {}
    assert len(world.asked_at) == 2
    assert world.ensure() == Profile(stored()), "it is tried again"


def test_refused_row_that_is_marked_is_not_returned(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, clerkDeletedAt=START - DELETION_GRACE_MS - 1)
    world.table.rivals = [refuse]
    assert world.ensure() is None


# RunsTable fails


@pytest.fixture
def without_runs_table(world: World) -> World:
    world.claims.is_down = True
    return world


def test_row_that_is_fresh_by_its_version_is_returned_while_runs_table_fails(
    without_runs_table: World,
) -> None:
    without_runs_table.table.rows[ID] = row_of(START - 1, firstName="Ada")
    assert without_runs_table.ensure() == Profile(row_of(START - 1, firstName="Ada"))
    assert without_runs_table.asked_at == []


@pytest.mark.parametrize("version", [LONG_AGO, START - MAX_AGE, 0, None, START * 1000])
def test_any_other_row_is_returned_and_stale_while_runs_table_fails(
    version: int | None, without_runs_table: World
) -> None:
    without_runs_table.table.rows[ID] = row_of(version, firstName="Ada")
    assert without_runs_table.ensure() == Profile(row_of(version, firstName="Ada"), is_stale=True)
    assert without_runs_table.asked_at == []


def test_new_user_gets_a_row_while_runs_table_fails(without_runs_table: World) -> None:
    assert without_runs_table.ensure() == Profile(stored())
    assert without_runs_table.row() == stored()


def test_marked_user_is_asked_for_while_runs_table_fails(without_runs_table: World) -> None:
    without_runs_table.table.rows[ID] = row_of(START, clerkDeletedAt=START - 1)
    without_runs_table.clerk = UNKNOWN
    assert without_runs_table.ensure() is None
    assert len(without_runs_table.asked_at) == 1
    without_runs_table.clerk = failing(ClerkUnavailable("down"))
    with pytest.raises(ClerkUnavailable):
        without_runs_table.ensure()


def test_no_row_is_created_without_create_missing_while_runs_table_fails(without_runs_table: World) -> None:
    assert without_runs_table.ensure(create_missing=False) is None
    assert without_runs_table.table.rows == {}


def test_clerk_is_not_asked_again_after_a_failure_while_runs_table_fails(without_runs_table: World) -> None:
    without_runs_table.clerk = failing(ClerkUnavailable("down"))
    profiles = without_runs_table.profiles()
    for _ in range(5):
        with pytest.raises(ClerkUnavailable):
            profiles.ensure(ID)
    assert len(without_runs_table.asked_at) == 1


@pytest.mark.parametrize("answer", [clerk_user, UNKNOWN])
def test_row_is_returned_when_runs_table_fails_after_clerk_answered(answer: Answer, world: World) -> None:
    def answer_and_fail() -> Any:
        world.claims.is_down = True
        return answer()

    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    world.clerk = answer_and_fail
    assert world.ensure() == (Profile(stored()) if answer is clerk_user else None)


def test_row_is_returned_when_runs_table_fails_while_a_page_load_waits(world: World) -> None:
    claimed(world)

    def fails() -> None:
        world.claims.is_down = True

    world.due[START + 150] = fails
    assert world.ensure() == Profile(stored())


# Many page loads at once


def claimed(world: World) -> None:
    """Another page load has begun to ask Clerk."""
    assert world.claims.claim(ID, START, START + CLAIM_MS)


@pytest.mark.parametrize("ms", [0, 1, CLAIM_MS])
def test_second_page_load_returns_the_row_as_stale(ms: int, world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    claimed(world)
    world.now += ms
    assert world.ensure() == Profile({VERSION: LONG_AGO, "firstName": "Old"}, is_stale=True)
    assert (world.asked_at, world.pauses) == ([], 0)


@pytest.mark.parametrize("row", [None, row_of(None, lastName="User"), row_of(None, plan="pro")])
@pytest.mark.parametrize("ms", [1, 150, 1_000, CLAIM_MS - 200])
def test_second_page_load_waits_for_the_row_where_there_is_none_of_clerks(
    ms: int, row: dict[str, Any] | None, world: World
) -> None:
    if row:
        world.table.rows[ID] = row
    claimed(world)

    def finish() -> None:
        world.table.rows[ID] = stored()
        world.claims.refreshed[ID] = START

    world.due[START + ms] = finish
    assert world.ensure() == Profile(stored())
    assert world.asked_at == []
    assert ms <= world.now - START <= ms + 200, "it waits on though the first is done"


def test_second_page_load_asks_as_soon_as_the_first_found_no_user(
    world: World,
) -> None:
    claimed(world)
    world.due[START + 150] = lambda: world.claims.end(ID, START + CLAIM_MS)
    world.clerk = UNKNOWN
    with pytest.raises(ClerkUnavailable):
        world.ensure()
    assert 150 <= world.asked_at[0] - START <= 350


def test_claim_of_a_page_load_that_died_lapses(world: World) -> None:
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old")
    claimed(world)
    world.now += CLAIM_MS + 1
    assert world.ensure() == Profile(stored())
    assert world.asked_at == [START + CLAIM_MS + 1]


@pytest.mark.parametrize("after_ms", [0, 1, 3_000])
def test_waiting_page_load_asks_when_the_claim_lapses(after_ms: int, world: World) -> None:
    claimed(world)
    world.now += after_ms
    assert world.ensure() == Profile(stored())
    [asked_at] = world.asked_at
    assert CLAIM_MS < asked_at - START <= CLAIM_MS + 200


def test_one_of_several_waiting_page_loads_asks_when_the_claim_lapses(world: World) -> None:
    claimed(world)
    profiles: list[Profile | None] = []
    for ms in (3_050, 3_080, 3_500, CLAIM_MS - 10):
        world.due[START + ms] = lambda: profiles.append(world.ensure())
    world.now += 3_000
    profiles.append(world.ensure())
    assert profiles == [Profile(stored())] * 5
    assert len(world.asked_at) == 1


def test_new_user_raises_clerk_unavailable_while_others_hold_the_claim(world: World) -> None:
    world.claims.claimed[ID] = START + 10 * CLAIM_MS
    with pytest.raises(ClerkUnavailable):
        world.ensure()
    assert world.asked_at == []
    assert CLAIM_MS <= world.now - START <= CLAIM_MS + 300


def test_webhook_that_stores_the_row_ends_the_wait(world: World) -> None:
    claimed(world)

    def webhook() -> None:
        world.table.rows[ID] = stored(START + 90)

    world.due[START + 100] = webhook
    assert world.ensure() == Profile(stored(START + 90))
    assert world.asked_at == []


def test_clerk_is_asked_once_within_a_claim(world: World) -> None:
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


def test_claim_is_held_while_clerk_is_asked(world: World) -> None:
    def ask() -> Any:
        assert world.claims.claimed == {ID: START + CLAIM_MS}
        return clerk_user()

    world.clerk = ask
    world.ensure()
    assert world.claims.claimed == {}


# The row that is returned


def test_newer_row_that_a_webhook_stored_meanwhile_is_returned(world: World) -> None:
    newer = {**stored(START + 5, firstName="Newer"), "plan": "pro"}

    def webhook() -> None:
        world.table.rows[ID] = dict(newer)

    world.table.rivals = [webhook]
    assert world.ensure() == Profile(stored(START + 5, firstName="Newer"))
    assert world.table.rows == {ID: newer}


def test_older_row_that_a_webhook_stored_meanwhile_is_overwritten(world: World) -> None:
    def webhook() -> None:
        world.table.rows[ID] = stored(LONG_AGO - 5, email="old@mail.test")

    world.table.rivals = [webhook]
    assert world.ensure() == Profile(stored())
    assert world.row() == stored()


synced = st.builds(
    lambda user, theirs: {**theirs, **stored_as(user)},
    users(st.just(ID), st.integers(10, 19)),
    app_attributes,
)
"""Rows as another writer of ours leaves them, of versions that those of `rows` are not at."""


@given(st.none() | rows, st.none() | synced, st.integers(0, 25), st.booleans())
def test_returned_row_is_the_stored_row(row: Any, rival: Any, version: int, create_missing: bool) -> None:
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


def test_get_makes_no_request_to_clerk_and_writes_nothing(world: World) -> None:
    assert world.profiles().get(ID) is None
    world.table.rows[ID] = row_of(LONG_AGO, firstName="Old", plan="pro")
    assert world.profiles().get(ID) == Profile({VERSION: LONG_AGO, "firstName": "Old"})
    assert (world.asked_at, world.table.written, world.claims.asked) == ([], [], [])
