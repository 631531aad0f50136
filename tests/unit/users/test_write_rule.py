from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.users.fields import DEFAULT_NAMES
from clerk_sync.users.upsert import store, upsert
from clerk_sync.users.user import Change, Deletion, SignIn, User
from clerk_sync.users.values import Opaque, Value
from clerk_sync.users.write_rule import (
    ACTIVITY,
    DELETED,
    DELETION_GRACE_MS,
    VERSION,
    Row,
    Write,
    decide,
    number,
    snapshot_version,
    without_future_times,
)
from tests.support.fake_users_table import FakeUsersTable
from tests.support.outcomes import Counted, counted
from tests.support.strategies import (
    ALL_NAMES,
    ALL_OWNED,
    NOW,
    app_attributes,
    changes,
    fields,
    foreign_part,
    owned_part,
    plausible,
    rows,
    stored_as,
    users,
)

ID = "user_1"
LATER = DELETION_GRACE_MS + 10
"""A reading time that is past the grace of every mark that `rows` makes."""
reading_times = st.integers(DELETION_GRACE_MS, LATER)
"""Around the end of those."""


def apply(
    row: Row | None, snapshots: Sequence[User], *, as_of: int = LATER, create: bool = True
) -> Row | None:
    """The row after these snapshots, one after the other."""
    table = FakeUsersTable({ID: row} if row is not None else {})
    for user in snapshots:
        decision = decide(user, table.rows.get(ID), as_of=as_of, now=NOW, create_missing=create)
        if isinstance(decision, Write):
            assert table.write([decision]) == [None]
    return table.rows.get(ID)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[User], list[User]]:
    """Snapshots with distinct versions, oldest first; and how they arrive."""
    versions = draw(st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True))
    snapshots = [plausible(ID, number, draw(fields)) for number in sorted(versions)]
    again = draw(st.lists(st.sampled_from(snapshots), max_size=4))
    return snapshots, draw(st.permutations([*snapshots, *again]))


maybe_rows = st.none() | rows


@given(histories(), maybe_rows, reading_times, st.booleans())
def test_any_order_of_snapshots_ends_as_the_newest_alone(
    history: tuple[list[User], list[User]], row: Row | None, as_of: int, create: bool
) -> None:
    snapshots, arrivals = history
    only_newest = apply(row, [snapshots[-1]], as_of=as_of, create=create)
    assert apply(row, arrivals, as_of=as_of, create=create) == only_newest


@given(histories(), rows)
def test_older_row_ends_as_the_newest_snapshot(history: tuple[list[User], list[User]], row: Row) -> None:
    snapshots, arrivals = history
    newest = snapshots[-1]
    stored = number(row, VERSION)
    end = apply(row, arrivals)
    assert end is not None
    if stored is not None and stored > newest.updated_at:
        assert end == row
    elif stored is not None and any(
        (number(row, name) or -1) >= newest.updated_at for name in (VERSION, *ACTIVITY)
    ):
        assert without(owned_part(end), ACTIVITY) == without(stored_as(newest), ACTIVITY)
    else:
        assert owned_part(end) == stored_as(newest)


def latest_time(row: Row) -> int:
    return max(number(row, name) or -1 for name in (VERSION, *ACTIVITY))


def without(row: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


@given(histories())
def test_new_row_holds_the_newest_snapshot(history: tuple[list[User], list[User]]) -> None:
    snapshots, arrivals = history
    assert apply(None, arrivals) == stored_as(snapshots[-1])


@given(st.lists(users(), min_size=1, max_size=5), rows, app_attributes, reading_times)
def test_app_attributes_stay_and_have_no_effect(
    snapshots: list[User], row: Row, others: Row, as_of: int
) -> None:
    end = apply(row, snapshots, as_of=as_of)
    other_end = apply({**owned_part(row), **others}, snapshots, as_of=as_of)
    assert end is not None
    assert other_end is not None
    assert foreign_part(end) == foreign_part(row)
    assert owned_part(end) == owned_part(other_end)


@given(users(), maybe_rows, reading_times)
def test_write_names_only_owned_attributes(user: User, row: Row | None, as_of: int) -> None:
    decision = decide(user, row, as_of=as_of, now=NOW, create_missing=True)
    if isinstance(decision, Write):
        assert {*decision.put, *decision.remove, *(decision.expected or {})} <= set(ALL_OWNED)
        assert decision.creates == (row is None)


@given(users(), maybe_rows, reading_times, st.booleans())
def test_right_row_is_not_written(user: User, row: Row | None, as_of: int, create: bool) -> None:
    end = apply(row, [user], as_of=as_of, create=create)
    again = decide(user, end, as_of=as_of, now=NOW, create_missing=create)
    assert again is None


# Equal versions


def latest(name: str, sources: Sequence[Mapping[str, Any]]) -> int | None:
    return max((source[name] for source in sources if name in source), default=None)


@given(st.lists(users(versions=st.just(5)), min_size=1, max_size=5), st.none() | users(versions=st.just(5)))
def test_equal_version_repairs_fields_and_activity_never_goes_back(
    readings: list[User], before: User | None
) -> None:
    row = None if before is None else stored_as(before)
    end = apply(row, readings)
    known = [user.fields for user in (readings if before is None else [before, *readings])]
    activity = {name: latest(name, known) for name in ACTIVITY}
    expected = without(readings[-1].fields, ACTIVITY)
    expected |= {name: at for name, at in activity.items() if at is not None}
    assert end == stored_as(User(ID, 5, expected))


def test_equal_version_keeps_later_activity_that_moved_without_a_version() -> None:
    row = stored_as(User(ID, 5, {"lastActiveAt": 90}))
    assert apply(row, [User(ID, 5, {"lastActiveAt": 40})]) == row


def test_newer_version_replaces_activity_even_by_a_lower_time() -> None:
    row = stored_as(User(ID, 5, {"lastSignInAt": 4, "lastActiveAt": 9}))
    newer = User(ID, 6, {"lastSignInAt": 3, "lastActiveAt": 6})
    assert apply(row, [newer]) == stored_as(newer)
    assert apply(row, [User(ID, 6, {})]) == stored_as(User(ID, 6, {}))


def test_activity_of_the_wrong_type_is_replaced_at_an_equal_version() -> None:
    row = stored_as(User(ID, 5, {})) | {"lastSignInAt": "2099-01-01", "lastActiveAt": "never"}
    assert apply(row, [User(ID, 5, {"lastSignInAt": 3})]) == stored_as(User(ID, 5, {"lastSignInAt": 3}))


# What is written


def written(change: Change, row: Row | None, *, as_of: int = 1, now: int = NOW) -> Write:
    decision = decide(change, row, as_of=as_of, now=now, create_missing=True)
    assert isinstance(decision, Write)
    return decision


def test_null_in_clerk_removes_placeholder_data() -> None:
    row: Row = {"firstName": "Placeholder", "lastSignInAt": 0, "imageUrl": Opaque({"NULL": True})}
    write = written(User(ID, 5, {}), row)
    assert set(write.changed) == {"firstName", "lastSignInAt", "imageUrl", VERSION}
    assert set(write.changed) - {VERSION} <= set(write.remove)
    assert write.put == {VERSION: 5}


@pytest.mark.parametrize("version", [5, 6])
def test_snapshot_writes_every_field_even_those_that_are_right(version: int) -> None:
    row = stored_as(User(ID, 5, {"firstName": "Ada", "lastName": "Abel"}))
    write = written(User(ID, version, {"firstName": "Ada", "lastName": "Eze"}), row)
    assert write.put == {"firstName": "Ada", "lastName": "Eze", VERSION: version}
    assert {*write.put, *write.remove} >= {*DEFAULT_NAMES, VERSION}
    assert set(write.changed) == {"lastName"} | ({VERSION} if version == 6 else set())


def test_newer_snapshot_wins_over_a_repair_between_read_and_write() -> None:
    row = stored_as(User(ID, 1, {"firstName": "Ada", "lastName": "Abel"}))
    newer = User(ID, 2, {"firstName": "Ada"})
    table = FakeUsersTable({ID: row})
    repair = User(ID, 1, {"firstName": "Bob", "lastName": "Abel", "username": "bob"})

    def repair_row() -> None:
        upsert(table, [repair], as_of=1, now=NOW, create_missing=True)

    table.rivals = [repair_row]
    outcome = upsert(table, [newer], as_of=2, now=NOW, create_missing=True)
    assert counted(outcome) == Counted(updated=1)
    assert table.rows[ID] == stored_as(newer)


def test_newer_snapshot_wins_over_a_placeholder_between_read_and_write() -> None:
    table = FakeUsersTable({ID: stored_as(User(ID, 1, {"firstName": "Ada"}))})
    table.rivals = [lambda: table.rows[ID].update(firstName="Test", email="test@example.com")]
    newer = User(ID, 2, {"firstName": "Ada"})
    outcome = upsert(table, [newer], as_of=2, now=NOW, create_missing=True)
    assert counted(outcome) == Counted(updated=1)
    assert table.rows[ID] == stored_as(newer)


def test_write_expects_version_mark_and_activity_as_they_were_read() -> None:
    row = stored_as(User(ID, 5, {"lastSignInAt": 3, "firstName": "Ada"}))
    assert written(User(ID, 6, {}), row).expected == {
        VERSION: 5,
        DELETED: None,
        "lastSignInAt": 3,
        "lastActiveAt": None,
    }


# Marks


@pytest.mark.parametrize("row_version", [4, 5, 6])
@given(user=users(versions=st.just(5)), early=st.integers(-100, 0))
def test_snapshot_read_before_a_deletion_or_in_its_grace_keeps_the_mark(
    row_version: int, user: User, early: int
) -> None:
    mark = {DELETED: 1_000}
    row = stored_as(User(ID, row_version, {"firstName": "Ada"}))
    as_of = 1_000 + DELETION_GRACE_MS + early
    end = apply(row | mark, [user], as_of=as_of)
    unmarked = apply(row, [user], as_of=as_of)
    assert unmarked is not None
    assert end == {**unmarked, **mark}


@pytest.mark.parametrize("row_version", [4, 5])
@given(user=users(versions=st.just(5)), late=st.integers(1, 100))
def test_snapshot_read_after_the_grace_removes_the_mark(row_version: int, user: User, late: int) -> None:
    deleted_at = 1_000
    row = stored_as(User(ID, row_version, user.fields)) | {DELETED: deleted_at}
    end = apply(row, [user], as_of=deleted_at + DELETION_GRACE_MS + late)
    assert end == stored_as(user)


def test_mark_of_another_type_is_removed() -> None:
    row = stored_as(User(ID, 5, {})) | {DELETED: Opaque({"NULL": True})}
    assert apply(row, [User(ID, 5, {})], as_of=0) == stored_as(User(ID, 5, {}))


@given(users(), st.integers(0, LATER))
def test_unknown_user_is_skipped_without_create_missing(user: User, as_of: int) -> None:
    assert decide(user, None, as_of=as_of, now=NOW, create_missing=False) is None


@given(users(), rows, reading_times)
def test_known_user_is_updated_without_create_missing(user: User, row: Row, as_of: int) -> None:
    assert decide(user, row, as_of=as_of, now=NOW, create_missing=False) == decide(
        user, row, as_of=as_of, now=NOW, create_missing=True
    )


# Deletions and sign-ins


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[tuple[Change, int]], Row]:
    """What Clerk tells of a user, each with when it was so, in any order and repetition; and the row that
    this must end in."""
    now, sign_in, latest = 100, 0, None
    told: list[tuple[Change, int]] = []
    for _ in range(draw(st.integers(1, 5))):
        now += draw(st.integers(1, 50))
        if draw(st.booleans()):
            sign_in = now
            told.append((SignIn(ID, now), now))
            now += draw(st.integers(0, 3))
        latest = User(ID, now, dict(draw(fields)) | dict.fromkeys(ACTIVITY, sign_in), ALL_NAMES)
        told.append((latest, now))
    assert latest is not None
    end: dict[str, Any] = {**stored_as(latest)}
    if draw(st.booleans()):
        deleted_at = now + draw(st.integers(1, 50))
        told.append((Deletion(ID, deleted_at), deleted_at))
        end[DELETED] = deleted_at
    again = draw(st.lists(st.sampled_from(told), max_size=4))
    return draw(st.permutations([*told, *again])), end


@given(lives(), st.booleans())
def test_any_order_of_a_users_events_ends_in_one_row(
    life: tuple[list[tuple[Change, int]], Row], from_placeholder: bool
) -> None:
    arrivals, end = life
    placeholder: Row = {"firstName": "Test", "lastSignInAt": 999, "plan": "pro"}
    table = FakeUsersTable({ID: placeholder} if from_placeholder else {})
    for change, as_of in arrivals:
        decision = decide(change, table.rows.get(ID), as_of=as_of, now=NOW, create_missing=True)
        if isinstance(decision, Write):
            assert table.write([decision]) == [None]
    assert table.rows[ID] == ({**end, "plan": "pro"} if from_placeholder else end)


def test_deletion_marks_the_row_and_removes_nothing() -> None:
    row = stored_as(User(ID, 5, {"firstName": "Ada"})) | {"plan": "pro"}
    decision = decide(Deletion(ID, 9), row, as_of=9, now=NOW, create_missing=True)
    assert isinstance(decision, Write)
    assert (decision.put, decision.remove) == ({DELETED: 9}, ())


def test_deletion_of_an_unknown_user_creates_a_marked_row() -> None:
    decision = decide(Deletion(ID, 9), None, as_of=9, now=NOW, create_missing=True)
    assert isinstance(decision, Write)
    assert decision.put == {DELETED: 9}
    assert decide(Deletion(ID, 9), None, as_of=9, now=NOW, create_missing=False) is None


# Sign-ins without a snapshot

SNAPSHOT = User(ID, 50, {"firstName": "Ada", "lastSignInAt": 20, "lastActiveAt": 80})


def test_sign_in_sets_only_the_time_of_the_last_sign_in() -> None:
    write = written(SignIn(ID, 60), stored_as(SNAPSHOT))
    assert (write.put, write.remove) == ({"lastSignInAt": 60}, ())
    later = stored_as(SNAPSHOT) | {"lastSignInAt": 70}
    assert decide(SignIn(ID, 60), later, as_of=60, now=NOW, create_missing=True) is None


def test_sign_in_before_the_stored_version_changes_nothing() -> None:
    for at in (49, 50):
        decision = decide(SignIn(ID, at), stored_as(SNAPSHOT), as_of=at, now=NOW, create_missing=True)
        assert decision is None


@pytest.mark.parametrize("row", [None, {}, {"lastSignInAt": 999, VERSION: "2025-01-01"}])
def test_sign_in_of_an_unknown_user_creates_a_row_of_version_0(row: Row | None) -> None:
    assert written(SignIn(ID, 60), row).put == {VERSION: 0, "lastSignInAt": 60}


def test_row_of_version_0_holds_no_snapshot() -> None:
    assert snapshot_version({VERSION: 0, "lastSignInAt": 60}, NOW) is None
    assert snapshot_version(stored_as(SNAPSHOT), NOW) == 50
    assert snapshot_version(None, NOW) is None


@pytest.mark.parametrize(
    ("version", "as_of", "is_replaced"),
    [(50, 59, False), (50, 60, True), (55, 59, False), (55, 60, True), (60, 0, True), (61, 61, True)],
)
@pytest.mark.parametrize("stored", [stored_as(SNAPSHOT), {VERSION: 0, "lastActiveAt": 99}])
@pytest.mark.parametrize("signed_in_at", [None, 20, 58])
def test_sign_in_of_an_event_is_replaced_by_a_snapshot_read_or_made_since(
    version: int, as_of: int, is_replaced: bool, stored: Row, signed_in_at: int | None
) -> None:
    told = {} if signed_in_at is None else {"lastSignInAt": signed_in_at}
    snapshot = User(ID, version, {"firstName": "Ada", "lastActiveAt": 80, **told})
    end = apply({**stored, "lastSignInAt": 60}, [snapshot], as_of=as_of)
    assert end == stored_as(snapshot) | ({} if is_replaced else {"lastSignInAt": 60})


def test_sign_in_of_an_event_is_replaced_by_clerks_own_lower_time_in_the_next_run() -> None:
    """Clerk's `last_sign_in_at` is some ms before the event, and `last_active_at` has a day's precision."""
    row = stored_as(User(ID, 1_000, {"firstName": "Ada"}))
    table = FakeUsersTable({ID: row})
    store(table, SignIn(ID, 5_040), row, as_of=5_040, now=NOW, create_missing=True)
    in_clerk = User(ID, 5_005, {"firstName": "Ada", "lastSignInAt": 5_000, "lastActiveAt": 0})
    for read_at in (5_010, 6_000):
        upsert(table, [in_clerk], as_of=read_at, now=NOW, create_missing=True)
    assert table.rows[ID] == stored_as(in_clerk)


# Times from the future

DAY = 24 * 60 * 60 * 1000
LATEST = NOW + DAY
"""The last time that may be one."""
future_times = st.integers(LATEST + 1, 2 * 10**15)
ALIVE = User(ID, NOW - 5, {"firstName": "Ada", "lastSignInAt": NOW - 9, "lastActiveAt": NOW - 7})


@st.composite
def rows_with_future_times(draw: st.DrawFn) -> tuple[dict[str, Value], dict[str, Value]]:
    """A row with future times, and the same row with none in their place."""
    row = draw(rows)
    names = draw(st.sets(st.sampled_from([VERSION, DELETED, *ACTIVITY]), min_size=1))
    return row | {name: draw(future_times) for name in names}, without(row, names)


@given(changes | users(versions=st.just(NOW)), rows_with_future_times(), st.integers(0, LATER), st.booleans())
def test_stored_time_from_the_future_counts_as_absent(
    change: Change, both: tuple[Row, Row], as_of: int, create: bool
) -> None:
    ends = []
    for row in both:
        table = FakeUsersTable({ID: row})
        store(table, change, table.get(ID), as_of=as_of, now=NOW, create_missing=create)
        ends.append(table.rows[ID])
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    "row",
    [
        {VERSION: 1_700_000_000_000_000, "email": "old@corp.test"},
        {DELETED: 1_700_000_000_000_000},
        {**stored_as(ALIVE), "lastActiveAt": NOW * 1000},
        {**stored_as(ALIVE), "lastSignInAt": LATEST + 1, DELETED: LATEST + 1, VERSION: LATEST + 1},
    ],
)
def test_row_with_times_from_the_future_is_right_again_after_any_snapshot(row: Row) -> None:
    for as_of in (0, NOW):
        assert apply(row, [ALIVE], as_of=as_of) == stored_as(ALIVE)


def test_stored_time_up_to_a_day_ahead_is_kept() -> None:
    for name in (VERSION, DELETED, *ACTIVITY):
        assert without_future_times({name: LATEST}, NOW) == {name: LATEST}
        assert without_future_times({name: LATEST + 1}, NOW) == {}
    row = stored_as(ALIVE) | {VERSION: LATEST}
    assert decide(ALIVE, row, as_of=NOW, now=NOW, create_missing=True) is None


def test_deletion_and_sign_in_remove_times_from_the_future() -> None:
    row = stored_as(ALIVE) | {VERSION: LATEST + 1, DELETED: LATEST + 1, "lastActiveAt": LATEST + 1}
    deleted = written(Deletion(ID, NOW), row)
    assert (deleted.put, set(deleted.remove)) == ({DELETED: NOW}, {VERSION, "lastActiveAt"})
    signed_in = written(SignIn(ID, NOW), row)
    assert signed_in.put == {VERSION: 0, "lastSignInAt": NOW}
    assert set(signed_in.remove) == {DELETED, "lastActiveAt"}
