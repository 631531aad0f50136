from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clerk_sync.aws.dynamodb import Item, attribute
from clerk_sync.users.table import Written
from clerk_sync.users.user import Change, Deletion, SignIn, User, parse_user
from clerk_sync.users.write_rule import (
    DELETED,
    DELETION_GRACE_MS,
    OWNED,
    VERSION,
    BlindWrite,
    Verdict,
    Write,
    decide,
    decide_blindly,
    type_of,
)
from tests.local.clerk.fake_users import make_user
from tests.support.fake_users_table import FakeUsersTable, holds
from tests.support.strategies import (
    ACTIVITY,
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
    snapshots = [plausible(ID, number, draw(fields)) for number in sorted(versions)]
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
    elif stored is not None and any(number(row, name) >= newest.updated_at for name in (VERSION, *ACTIVITY)):
        assert without(owned_part(end), ACTIVITY) == without(stored_as(newest), ACTIVITY)
    else:
        assert owned_part(end) == stored_as(newest)


def number(row: Mapping[str, Any], name: str) -> int:
    text = row.get(name, {}).get("N", "")
    return int(text) if text.isdecimal() else -1


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


def test_a_newer_version_knows_of_all_activity_before_it_but_of_none_after() -> None:
    row = KEY | stored_as(User(ID, 5, {"lastSignInAt": 4, "lastActiveAt": 9}))
    newer = User(ID, 6, {"lastSignInAt": 3, "lastActiveAt": 6})
    kept = User(ID, 6, {"lastSignInAt": 3, "lastActiveAt": 9})
    assert apply(row, [newer]) == KEY | stored_as(kept)


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
def test_a_snapshot_read_before_a_deletion_or_in_its_grace_leaves_the_mark(
    row_version: int, user: User, early: int
) -> None:
    mark = {DELETED: attribute(1_000)}
    row = KEY | stored_as(User(ID, row_version, {"firstName": "Ada"}))
    as_of = 1_000 + DELETION_GRACE_MS + early
    end = apply(row | mark, [user], as_of=as_of)
    unmarked = apply(row, [user], as_of=as_of)
    assert unmarked is not None
    assert end == {**unmarked, **mark}


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


# Deletions and sign-ins


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[tuple[Change, int]], Item]:
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
    end: dict[str, Any] = {**KEY, **stored_as(latest)}
    if draw(st.booleans()):
        deleted_at = now + draw(st.integers(1, 50))
        told.append((Deletion(ID, deleted_at), deleted_at))
        end[DELETED] = attribute(deleted_at)
    again = draw(st.lists(st.sampled_from(told), max_size=4))
    return draw(st.permutations([*told, *again])), end


@given(lives(), st.booleans())
def test_whatever_the_order_of_a_users_life_the_row_ends_the_same(
    life: tuple[list[tuple[Change, int]], Item], from_placeholder: bool
) -> None:
    arrivals, end = life
    placeholder = {"firstName": {"S": "Test"}, "lastSignInAt": {"N": "999"}, "plan": {"S": "pro"}}
    table = FakeUsersTable({ID: KEY | placeholder} if from_placeholder else {})
    for change, as_of in arrivals:
        decision = decide(change, table.rows.get(ID), as_of=as_of, create_missing=True)
        if isinstance(decision, Write):
            assert table.write([decision]) == [Written()]
    assert table.rows[ID] == ({**end, "plan": {"S": "pro"}} if from_placeholder else end)


def test_a_deletion_marks_and_takes_nothing_away() -> None:
    row = KEY | stored_as(User(ID, 5, {"firstName": "Ada"})) | {"plan": {"S": "pro"}}
    decision = decide(Deletion(ID, 9), row, as_of=9, create_missing=True)
    assert isinstance(decision, Write)
    assert (decision.put, decision.remove) == ({DELETED: {"N": "9"}}, ())


def test_a_deletion_of_an_unknown_user_is_kept_in_mind_for_events_that_come_late() -> None:
    decision = decide(Deletion(ID, 9), None, as_of=9, create_missing=True)
    assert isinstance(decision, Write)
    assert decision.put == {DELETED: {"N": "9"}}
    assert decide(Deletion(ID, 9), None, as_of=9, create_missing=False) is Verdict.SKIPPED


def test_a_sign_in_moves_activity_forward_only() -> None:
    row = KEY | stored_as(User(ID, 50, {"lastSignInAt": 20, "lastActiveAt": 80}))
    decision = decide(SignIn(ID, 60), row, as_of=60, create_missing=True)
    assert isinstance(decision, Write)
    assert decision.put == {"lastSignInAt": {"N": "60"}}


# Blind writes


def carried_out(write: Write | BlindWrite, row: Item | None) -> Item | None:
    """The row after this write, whose condition holds."""
    table = FakeUsersTable({} if row is None else {ID: row})
    assert table.update(write) == Written()
    return table.rows.get(ID)


@given(changes, maybe_rows, st.integers(0, LATER), st.booleans())
@settings(max_examples=600)
def test_a_blind_write_that_takes_is_what_would_have_been_decided(
    change: Change, row: Item | None, as_of: int, create: bool
) -> None:
    blind = decide_blindly(change, create_missing=create)
    if holds(blind, row):
        decision = decide(change, row, as_of=as_of, create_missing=create)
        assert isinstance(decision, Write), "a row that is right, or was to be skipped, was written"
        assert carried_out(blind, row) == carried_out(decision, row)


@given(changes, st.booleans())
def test_a_blind_write_names_only_what_the_sync_owns(change: Change, create: bool) -> None:
    blind = decide_blindly(change, create_missing=create)
    assert blind.user_id == change.id
    assert blind.put
    assert {*blind.put, *blind.remove, *blind.below, *blind.absent, *blind.present} <= set(OWNED)


ADA = User(ID, 50, {"firstName": "Ada", "lastSignInAt": 40, "lastActiveAt": 45})


def row_at(version: int, **attributes: int | str) -> dict[str, Any]:
    return KEY | stored_as(User(ID, version, attributes)) | {"plan": {"S": "pro"}}


@pytest.mark.parametrize(
    ("change", "row", "create"),
    [
        (ADA, None, True),
        *((ADA, row, create) for create in (True, False) for row in (row_at(49), KEY)),
        (ADA, KEY | {"firstName": {"S": "Placeholder"}}, False),
        (ADA, row_at(49, lastName="Abel", lastSignInAt=50, lastActiveAt=50), False),
        (User(ID, 50, {}), row_at(0, email="a@b.c"), False),
        (Deletion(ID, 9), None, True),
        *((Deletion(ID, 9), row, create) for create in (True, False) for row in (row_at(50), KEY)),
        (Deletion(ID, 9), row_at(50) | {DELETED: attribute(8)}, False),
        (SignIn(ID, 60), row_at(50), True),
        (SignIn(ID, 60), row_at(50, lastSignInAt=59, lastActiveAt=59), False),
        (SignIn(ID, 60), row_at(50, lastActiveAt=59) | {DELETED: attribute(55)}, False),
    ],
)
def test_news_goes_through_unread(change: Change, row: Item | None, create: bool) -> None:
    assert holds(decide_blindly(change, create_missing=create), row)


@pytest.mark.parametrize(
    ("change", "row"),
    [
        *((change, None) for change in (ADA, Deletion(ID, 9), SignIn(ID, 60))),
        *((ADA, row) for row in (row_at(50), row_at(51), row_at(49) | {DELETED: attribute(1)})),
        *((ADA, row_at(49, **{name: 51})) for name in ACTIVITY),
        *((ADA, row_at(49) | {name: {"S": "40"}}) for name in (VERSION, *ACTIVITY)),
        *((Deletion(ID, 9), row_at(1) | {DELETED: attribute(at)}) for at in (9, 10)),
        (SignIn(ID, 60), KEY | {"lastSignInAt": attribute(1)}),
        *((SignIn(ID, 60), row_at(50, **{name: 60})) for name in ACTIVITY),
    ],
)
def test_what_takes_a_look_at_the_row_does_not(change: Change, row: Item | None) -> None:
    assert not holds(decide_blindly(change, create_missing=False), row)


def test_a_sign_in_of_somebody_unknown_is_never_blind() -> None:
    assert not holds(decide_blindly(SignIn(ID, 60), create_missing=True), None)


def test_every_owned_attribute_has_the_type_that_it_is_written_with() -> None:
    user = parse_user(make_user(0))
    assert isinstance(user, User)
    written = decide(user, None, as_of=1, create_missing=True)
    deleted = decide(Deletion(user.id, 1), None, as_of=1, create_missing=True)
    assert isinstance(written, Write)
    assert isinstance(deleted, Write)
    for name, value in {**written.put, **deleted.put}.items():
        assert value.keys() == {type_of(name)}
