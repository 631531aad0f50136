from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.attributes import Item, attribute
from clerk_sync.user import User
from clerk_sync.users_table import Written
from clerk_sync.write_rule import (
    DELETED,
    DELETION_GRACE_MS,
    OWNED,
    VERSION,
    Verdict,
    Write,
    decide,
)
from tests.unit.fake_users_table import FakeUsersTable
from tests.unit.strategies import (
    app_attributes,
    fields,
    foreign_part,
    owned_part,
    rows,
    stored_as,
    users,
)

ID = "user_1"
LATER = DELETION_GRACE_MS + 10
"""A reading time that is past the grace of every mark that `rows` makes."""
reading_times = st.integers(DELETION_GRACE_MS, LATER)
"""Around the end of those."""
ACTIVITY = ("lastSignInAt", "lastActiveAt")
KEY = {"clerkUserId": attribute(ID)}


def apply(
    row: Item | None, snapshots: Sequence[User], *, as_of: int = LATER, create: bool = True
) -> Item | None:
    """The row after these snapshots, one after the other."""
    table = FakeUsersTable({ID: row} if row is not None else {})
    for user in snapshots:
        decision = decide(user, table.rows.get(ID), as_of=as_of, create_missing=create)
        if isinstance(decision, Write):
            assert table.write([decision]) == [Written()]
    return table.rows.get(ID)


def version(row: Mapping[str, Any]) -> int | None:
    number = row.get(VERSION, {}).get("N", "")
    return int(number) if number.isdecimal() else None


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[User], list[User]]:
    """Snapshots with distinct versions, oldest first; and how they arrive."""
    versions = draw(st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True))
    snapshots = [User(ID, number, draw(fields)) for number in sorted(versions)]
    again = draw(st.lists(st.sampled_from(snapshots), max_size=4))
    return snapshots, draw(st.permutations([*snapshots, *again]))


maybe_rows = st.none() | rows()


@given(histories(), maybe_rows, reading_times, st.booleans())
def test_any_order_ends_as_if_only_the_newest_had_been_applied(
    history: tuple[list[User], list[User]], row: Item | None, as_of: int, create: bool
) -> None:
    snapshots, arrivals = history
    only_newest = apply(row, [snapshots[-1]], as_of=as_of, create=create)
    assert apply(row, arrivals, as_of=as_of, create=create) == only_newest


@given(histories(), rows())
def test_a_row_that_is_older_ends_as_the_newest_snapshot(
    history: tuple[list[User], list[User]], row: Item
) -> None:
    snapshots, arrivals = history
    newest = snapshots[-1]
    stored = version(row)
    end = apply(row, arrivals)
    assert end is not None
    if stored is not None and stored > newest.updated_at:
        assert end == row
    elif stored == newest.updated_at:
        assert without(owned_part(end), ACTIVITY) == without(stored_as(newest), ACTIVITY)
    else:
        assert owned_part(end) == stored_as(newest)


def without(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


@given(histories())
def test_a_new_row_holds_the_key_and_the_newest_snapshot(history: tuple[list[User], list[User]]) -> None:
    snapshots, arrivals = history
    assert apply(None, arrivals) == KEY | stored_as(snapshots[-1])


@given(st.lists(users(), min_size=1, max_size=5), rows(), app_attributes, reading_times)
def test_what_is_the_apps_stays_and_does_not_matter(
    snapshots: list[User], row: Item, others: Item, as_of: int
) -> None:
    end = apply(row, snapshots, as_of=as_of)
    other_end = apply({**owned_part(row), **KEY, **others}, snapshots, as_of=as_of)
    assert end is not None
    assert other_end is not None
    assert foreign_part(end) == foreign_part(row)
    assert owned_part(end) == owned_part(other_end)


@given(users(), maybe_rows, reading_times)
def test_a_write_names_only_what_the_sync_owns(user: User, row: Item | None, as_of: int) -> None:
    decision = decide(user, row, as_of=as_of, create_missing=True)
    if isinstance(decision, Write):
        assert {*decision.put, *decision.remove, *(decision.expected or {})} <= set(OWNED)
        assert decision.creates == (row is None)


@given(users(), maybe_rows, reading_times, st.booleans())
def test_a_row_that_is_right_costs_no_write(user: User, row: Item | None, as_of: int, create: bool) -> None:
    end = apply(row, [user], as_of=as_of, create=create)
    again = decide(user, end, as_of=as_of, create_missing=create)
    assert again is (Verdict.SKIPPED if end is None else Verdict.UNCHANGED)


def latest(name: str, sources: Sequence[Mapping[str, Any]]) -> int | None:
    return max((source[name] for source in sources if name in source), default=None)


@given(st.lists(fields, min_size=1, max_size=5), st.none() | fields)
def test_of_equal_versions_the_last_one_repairs_but_activity_never_goes_back(
    readings: list[Mapping[str, str | int]], before: Mapping[str, str | int] | None
) -> None:
    row = None if before is None else KEY | stored_as(User(ID, 5, before))
    end = apply(row, [User(ID, 5, reading) for reading in readings])
    known = readings if before is None else [before, *readings]
    activity = {name: latest(name, known) for name in ACTIVITY}
    expected = without(readings[-1], ACTIVITY) | {name: at for name, at in activity.items() if at is not None}
    assert end == KEY | stored_as(User(ID, 5, expected))


def test_a_newer_version_may_take_activity_back() -> None:
    row = KEY | stored_as(User(ID, 5, {"lastSignInAt": 9, "lastActiveAt": 9}))
    assert apply(row, [User(ID, 6, {"lastSignInAt": 3})]) == KEY | stored_as(User(ID, 6, {"lastSignInAt": 3}))


def test_activity_of_the_wrong_type_is_replaced_at_an_equal_version() -> None:
    row = (
        KEY
        | stored_as(User(ID, 5, {}))
        | {"lastSignInAt": {"S": "2099-01-01"}, "lastActiveAt": {"S": "never"}}
    )
    assert apply(row, [User(ID, 5, {"lastSignInAt": 3})]) == KEY | stored_as(User(ID, 5, {"lastSignInAt": 3}))


def test_null_in_clerk_takes_placeholder_data_away() -> None:
    row = KEY | {"firstName": {"S": "Placeholder"}, "lastSignInAt": {"N": "0"}, "imageUrl": {"NULL": True}}
    decision = decide(User(ID, 5, {}), row, as_of=1, create_missing=False)
    assert isinstance(decision, Write)
    assert set(decision.remove) == {"firstName", "lastSignInAt", "imageUrl"}
    assert decision.put == {VERSION: {"N": "5"}}


def test_only_what_differs_is_put() -> None:
    row = KEY | stored_as(User(ID, 5, {"firstName": "Ada", "lastName": "Abel"}))
    decision = decide(User(ID, 6, {"firstName": "Ada", "lastName": "Eze"}), row, as_of=1, create_missing=True)
    assert isinstance(decision, Write)
    assert decision.put == {"lastName": {"S": "Eze"}, VERSION: {"N": "6"}}
    assert decision.remove == ()


def test_a_write_counts_only_while_version_mark_and_activity_are_as_they_were() -> None:
    row = KEY | stored_as(User(ID, 5, {"lastSignInAt": 3, "firstName": "Ada"}))
    decision = decide(User(ID, 6, {}), row, as_of=1, create_missing=True)
    assert isinstance(decision, Write)
    assert decision.expected == {
        VERSION: {"N": "5"},
        DELETED: None,
        "lastSignInAt": {"N": "3"},
        "lastActiveAt": None,
    }


@pytest.mark.parametrize("row_version", [4, 5, 6])
@given(user=users(versions=st.just(5)), early=st.integers(-100, 0))
def test_a_snapshot_read_before_a_deletion_or_in_its_grace_changes_nothing(
    row_version: int, user: User, early: int
) -> None:
    deleted_at = 1_000
    row = KEY | stored_as(User(ID, row_version, {"firstName": "Ada"})) | {DELETED: attribute(deleted_at)}
    as_of = deleted_at + DELETION_GRACE_MS + early
    assert decide(user, row, as_of=as_of, create_missing=True) is Verdict.UNCHANGED


@pytest.mark.parametrize("row_version", [4, 5])
@given(user=users(versions=st.just(5)), late=st.integers(1, 100))
def test_a_snapshot_read_later_heals_a_wrong_mark(row_version: int, user: User, late: int) -> None:
    deleted_at = 1_000
    row = KEY | stored_as(User(ID, row_version, user.fields)) | {DELETED: attribute(deleted_at)}
    end = apply(row, [user], as_of=deleted_at + DELETION_GRACE_MS + late)
    assert end == KEY | stored_as(user)


def test_a_mark_that_is_no_time_is_removed() -> None:
    row = KEY | stored_as(User(ID, 5, {})) | {DELETED: {"NULL": True}}
    assert apply(row, [User(ID, 5, {})], as_of=0) == KEY | stored_as(User(ID, 5, {}))


@given(users(), st.integers(0, LATER))
def test_unknown_users_are_skipped_when_they_are_not_to_be_created(user: User, as_of: int) -> None:
    assert decide(user, None, as_of=as_of, create_missing=False) is Verdict.SKIPPED


@given(users(), rows(), reading_times)
def test_known_users_are_kept_up_to_date_even_then(user: User, row: Item, as_of: int) -> None:
    assert decide(user, row, as_of=as_of, create_missing=False) == decide(
        user, row, as_of=as_of, create_missing=True
    )
