from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.users.row import ACTIVITY, DELETED, OWNED, VERSION, Opaque, Row, number
from clerk_sync.users.table import Written
from clerk_sync.users.user import Change, Deletion, SignIn, User
from clerk_sync.users.write_rule import DELETION_GRACE_MS, Verdict, Write, decide
from tests.support.fake_users_table import FakeUsersTable
from tests.support.strategies import (
    app_attributes,
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
        decision = decide(user, table.rows.get(ID), as_of=as_of, create_missing=create)
        if isinstance(decision, Write):
            assert table.write([decision]) == [Written()]
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
def test_any_order_ends_as_if_only_the_newest_had_been_applied(
    history: tuple[list[User], list[User]], row: Row | None, as_of: int, create: bool
) -> None:
    snapshots, arrivals = history
    only_newest = apply(row, [snapshots[-1]], as_of=as_of, create=create)
    assert apply(row, arrivals, as_of=as_of, create=create) == only_newest


@given(histories(), rows)
def test_a_row_that_is_older_ends_as_the_newest_snapshot(
    history: tuple[list[User], list[User]], row: Row
) -> None:
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


def without(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


@given(histories())
def test_a_new_row_holds_the_key_and_the_newest_snapshot(history: tuple[list[User], list[User]]) -> None:
    snapshots, arrivals = history
    assert apply(None, arrivals) == stored_as(snapshots[-1])


@given(st.lists(users(), min_size=1, max_size=5), rows, app_attributes, reading_times)
def test_what_is_the_apps_stays_and_does_not_matter(
    snapshots: list[User], row: Row, others: Row, as_of: int
) -> None:
    end = apply(row, snapshots, as_of=as_of)
    other_end = apply({**owned_part(row), **others}, snapshots, as_of=as_of)
    assert end is not None
    assert other_end is not None
    assert foreign_part(end) == foreign_part(row)
    assert owned_part(end) == owned_part(other_end)


@given(users(), maybe_rows, reading_times)
def test_a_write_names_only_what_the_sync_owns(user: User, row: Row | None, as_of: int) -> None:
    decision = decide(user, row, as_of=as_of, create_missing=True)
    if isinstance(decision, Write):
        assert {*decision.put, *decision.remove, *(decision.expected or {})} <= set(OWNED)
        assert decision.creates == (row is None)


@given(users(), maybe_rows, reading_times, st.booleans())
def test_a_row_that_is_right_costs_no_write(user: User, row: Row | None, as_of: int, create: bool) -> None:
    end = apply(row, [user], as_of=as_of, create=create)
    again = decide(user, end, as_of=as_of, create_missing=create)
    assert again is (Verdict.SKIPPED if end is None else Verdict.UNCHANGED)


def latest(name: str, sources: Sequence[Mapping[str, Any]]) -> int | None:
    return max((source[name] for source in sources if name in source), default=None)


@given(st.lists(fields, min_size=1, max_size=5), st.none() | fields)
def test_of_equal_versions_the_last_one_repairs_but_activity_never_goes_back(
    readings: list[Mapping[str, str | int]], before: Mapping[str, str | int] | None
) -> None:
    row = None if before is None else stored_as(User(ID, 5, before))
    end = apply(row, [User(ID, 5, reading) for reading in readings])
    known = readings if before is None else [before, *readings]
    activity = {name: latest(name, known) for name in ACTIVITY}
    expected = without(readings[-1], ACTIVITY) | {name: at for name, at in activity.items() if at is not None}
    assert end == stored_as(User(ID, 5, expected))


def test_a_newer_version_knows_of_all_activity_before_it_but_of_none_after() -> None:
    row = stored_as(User(ID, 5, {"lastSignInAt": 4, "lastActiveAt": 9}))
    newer = User(ID, 6, {"lastSignInAt": 3, "lastActiveAt": 6})
    kept = User(ID, 6, {"lastSignInAt": 3, "lastActiveAt": 9})
    assert apply(row, [newer]) == stored_as(kept)


def test_activity_of_the_wrong_type_is_replaced_at_an_equal_version() -> None:
    row = stored_as(User(ID, 5, {})) | {"lastSignInAt": "2099-01-01", "lastActiveAt": "never"}
    assert apply(row, [User(ID, 5, {"lastSignInAt": 3})]) == stored_as(User(ID, 5, {"lastSignInAt": 3}))


def test_null_in_clerk_takes_placeholder_data_away() -> None:
    row: Row = {"firstName": "Placeholder", "lastSignInAt": 0, "imageUrl": Opaque({"NULL": True})}
    decision = decide(User(ID, 5, {}), row, as_of=1, create_missing=False)
    assert isinstance(decision, Write)
    assert set(decision.remove) == {"firstName", "lastSignInAt", "imageUrl"}
    assert decision.put == {VERSION: 5}


def test_only_what_differs_is_put() -> None:
    row = stored_as(User(ID, 5, {"firstName": "Ada", "lastName": "Abel"}))
    decision = decide(User(ID, 6, {"firstName": "Ada", "lastName": "Eze"}), row, as_of=1, create_missing=True)
    assert isinstance(decision, Write)
    assert decision.put == {"lastName": "Eze", VERSION: 6}
    assert decision.remove == ()


def test_a_write_counts_only_while_version_mark_and_activity_are_as_they_were() -> None:
    row = stored_as(User(ID, 5, {"lastSignInAt": 3, "firstName": "Ada"}))
    decision = decide(User(ID, 6, {}), row, as_of=1, create_missing=True)
    assert isinstance(decision, Write)
    assert decision.expected == {
        VERSION: 5,
        DELETED: None,
        "lastSignInAt": 3,
        "lastActiveAt": None,
    }


@pytest.mark.parametrize("row_version", [4, 5, 6])
@given(user=users(versions=st.just(5)), early=st.integers(-100, 0))
def test_a_snapshot_read_before_a_deletion_or_in_its_grace_leaves_the_mark(
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
def test_a_snapshot_read_later_heals_a_wrong_mark(row_version: int, user: User, late: int) -> None:
    deleted_at = 1_000
    row = stored_as(User(ID, row_version, user.fields)) | {DELETED: deleted_at}
    end = apply(row, [user], as_of=deleted_at + DELETION_GRACE_MS + late)
    assert end == stored_as(user)


def test_a_mark_that_is_no_time_is_removed() -> None:
    row = stored_as(User(ID, 5, {})) | {DELETED: Opaque({"NULL": True})}
    assert apply(row, [User(ID, 5, {})], as_of=0) == stored_as(User(ID, 5, {}))


@given(users(), st.integers(0, LATER))
def test_unknown_users_are_skipped_when_they_are_not_to_be_created(user: User, as_of: int) -> None:
    assert decide(user, None, as_of=as_of, create_missing=False) is Verdict.SKIPPED


@given(users(), rows, reading_times)
def test_known_users_are_kept_up_to_date_even_then(user: User, row: Row, as_of: int) -> None:
    assert decide(user, row, as_of=as_of, create_missing=False) == decide(
        user, row, as_of=as_of, create_missing=True
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
        latest = User(ID, now, dict(draw(fields)) | dict.fromkeys(ACTIVITY, sign_in))
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
def test_whatever_the_order_of_a_users_life_the_row_ends_the_same(
    life: tuple[list[tuple[Change, int]], Row], from_placeholder: bool
) -> None:
    arrivals, end = life
    placeholder: Row = {"firstName": "Test", "lastSignInAt": 999, "plan": "pro"}
    table = FakeUsersTable({ID: placeholder} if from_placeholder else {})
    for change, as_of in arrivals:
        decision = decide(change, table.rows.get(ID), as_of=as_of, create_missing=True)
        if isinstance(decision, Write):
            assert table.write([decision]) == [Written()]
    assert table.rows[ID] == ({**end, "plan": "pro"} if from_placeholder else end)


def test_a_deletion_marks_and_takes_nothing_away() -> None:
    row = stored_as(User(ID, 5, {"firstName": "Ada"})) | {"plan": "pro"}
    decision = decide(Deletion(ID, 9), row, as_of=9, create_missing=True)
    assert isinstance(decision, Write)
    assert (decision.put, decision.remove) == ({DELETED: 9}, ())


def test_a_deletion_of_an_unknown_user_is_kept_in_mind_for_events_that_come_late() -> None:
    decision = decide(Deletion(ID, 9), None, as_of=9, create_missing=True)
    assert isinstance(decision, Write)
    assert decision.put == {DELETED: 9}
    assert decide(Deletion(ID, 9), None, as_of=9, create_missing=False) is Verdict.SKIPPED


def test_a_sign_in_moves_activity_forward_only() -> None:
    row = stored_as(User(ID, 50, {"lastSignInAt": 20, "lastActiveAt": 80}))
    decision = decide(SignIn(ID, 60), row, as_of=60, create_missing=True)
    assert isinstance(decision, Write)
    assert decision.put == {"lastSignInAt": 60}
