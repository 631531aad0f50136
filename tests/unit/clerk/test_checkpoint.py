from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.clerk.checkpoint import (
    KEPT_USERS,
    KEPT_USERS_OF_EACH_WINDOW,
    Checkpoint,
    ListedUser,
    Window,
)


def user(user_id: str, created_at: Any) -> dict[str, Any]:
    return {"id": user_id, "created_at": created_at}


times = st.none() | st.integers(-9, 9)
last_users = st.lists(st.builds(ListedUser, st.text("abü", min_size=1), times), max_size=30).map(tuple)
windows = st.builds(
    Window, st.none() | st.integers(1, 9), st.none() | st.integers(10, 20), last_users, st.booleans()
)


# The checkpoint


@given(st.integers(0), st.lists(windows, min_size=1, max_size=5, unique_by=lambda window: window.since))
def test_a_checkpoint_is_loaded_as_it_was_dumped_with_its_last_users(
    listed: int, dumped: list[Window]
) -> None:
    kept = KEPT_USERS if len(dumped) == 1 else KEPT_USERS_OF_EACH_WINDOW
    expected = [replace(window, users=window.users[-kept:]) for window in dumped]
    assert Checkpoint.load(Checkpoint(listed, tuple(dumped)).dump()) == Checkpoint(listed, tuple(expected))


def test_a_new_checkpoint_is_loaded_as_it_was_dumped() -> None:
    assert Checkpoint.load(Checkpoint().dump()) == Checkpoint()


def test_a_checkpoint_of_24_windows_takes_less_than_5_kb() -> None:
    users = [user(f"user_{n:027}", 1_700_000_000_000 + n) for n in range(500)]
    windows = [Window(1_700_000_000_000 + n, 1_700_000_000_000 + n + 1).after(users) for n in range(24)]
    assert len(users[0]["id"]) == 32
    assert len(Checkpoint(1_000_000, tuple(windows)).dump()) < 5_000


def test_listed_users_move_their_window_and_are_counted() -> None:
    first, second = Window(before=10), Window(since=10)
    listed = second.after([user("a", 11), user("b", 12)])
    after = Checkpoint(5, (first, second)).replacing(second, listed, listed=2)
    assert after.listed == 7
    assert set(after.windows) == {first, Window(10, None, (ListedUser("a", 11), ListedUser("b", 12)))}


# A window


@given(st.lists(st.lists(st.integers(0, 40), max_size=8), max_size=8))
def test_a_window_has_the_last_users_once_in_the_order_listed(pages: list[list[int]]) -> None:
    window, order = Window(), list[str]()
    for page in pages:
        unique = list(dict.fromkeys(f"user_{n}" for n in page))
        window = window.after([user(user_id, 1_000) for user_id in unique])
        order = [user_id for user_id in order if user_id not in unique] + unique
    assert [listed.id for listed in window.users] == order


def test_a_window_does_not_grow_with_the_listing() -> None:
    window = Window()
    for start in range(0, 1_000, 20):
        window = window.after([user(f"user_{n}", n) for n in range(start, start + 20)])
    assert len(window.users) == 20


def test_a_window_keeps_all_users_with_the_last_created_at() -> None:
    window = Window()
    for start in range(0, 100, 5):
        window = window.after([user(f"user_{n}", 7) for n in range(start, start + 5)])
    assert len(window.users) == 100
    assert len(window.after([user("later", 8)]).users) == KEPT_USERS


def test_a_user_without_a_date_is_taken_to_be_as_old_as_the_one_before() -> None:
    window = Window().after([user("a", 5), {"id": "b"}, user("c", "soon"), user("d", True)])
    assert [listed.created_at for listed in window.users] == [5, 5, 5, 5]


@pytest.mark.parametrize("at", [0, -1, -17_280_000_000])
def test_a_created_at_of_0_or_before_1970_is_a_time(at: int) -> None:
    window = Window().after([user("a", -20_000_000_000), user("b", at), {"id": "c"}])
    assert [listed.created_at for listed in window.users] == [-20_000_000_000, at, at]
    assert all(one.created_at <= other.created_at for one, other in pairwise(window.users))  # type: ignore[operator]
    assert Checkpoint.load(Checkpoint(3, (window,)).dump()).windows == (window,)
    assert Window(since=0).starts_after(-1)
    assert not Window(since=0).starts_after(0)
    assert Window(before=0).ends_before(0)
    assert not Window(before=0).ends_before(-1)


def test_a_first_user_without_a_date_has_no_time() -> None:
    window = Window().after([{"id": "a"}, user("b", 3)])
    assert [listed.created_at for listed in window.users] == [None, 3]
