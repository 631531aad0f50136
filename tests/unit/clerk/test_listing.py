"""One page of a window. What several pages make together is in test_parallel_listing."""

from dataclasses import replace
from typing import Any

import pytest

from clerk_sync.clerk.checkpoint import Checkpoint, Window
from clerk_sync.clerk.listing import ListedUsers, list_page
from clerk_sync.errors import ClerkRefused, ClerkUnavailable
from tests.support.fake_clerk import ON_DELETED, FakeClerk, OnDeleted, clerk_with, ids


def listed_ids(clerk: FakeClerk, window: Window, limit: int) -> list[Any]:
    return ids([list_page(clerk, window, limit).users])


def test_the_next_page_is_requested_after_the_last_user() -> None:
    clerk = clerk_with(1, 2, 3, 4, 5)
    page = list_page(clerk, Window(), 2)
    assert ids([page.users]) == ["user_000", "user_001"]
    assert listed_ids(clerk, page.window, 2) == ["user_002", "user_003"]
    assert clerk.requests == [{"limit": 2}, {"limit": 2, "starting_after": "user_001"}]


@pytest.mark.parametrize("includes_bound", [True, False])
def test_a_window_lists_only_users_created_in_it(includes_bound: bool) -> None:
    clerk = clerk_with(1, 2, 3, 4, 5, includes_bound=includes_bound)
    page = list_page(clerk, Window(2, 4), 9)
    assert ids([page.users]) == ["user_001", "user_002"]
    assert clerk.requests == [{"limit": 9, "created_at_after": 1}]


@pytest.mark.parametrize(("limit", "is_last"), [(2, False), (3, True), (9, True)])
def test_a_page_that_goes_beyond_the_window_is_its_last(limit: int, is_last: bool) -> None:
    page = list_page(clerk_with(1, 2, 3, 4), Window(before=3), limit)
    assert ids([page.users]) == ["user_000", "user_001"]
    assert (page.has_ended, page.is_last) == (False, is_last)


def test_a_short_page_within_a_window_does_not_end_it() -> None:
    page = list_page(clerk_with(1, 2, 3, 4, most=1), Window(before=3), 5)
    assert (page.has_ended, page.is_last) == (False, False)


@pytest.mark.parametrize(("limit", "has_ended"), [(2, False), (3, False), (4, True)])
def test_a_short_page_ends_a_window_without_a_bound(limit: int, has_ended: bool) -> None:
    page = list_page(clerk_with(1, 2, 3), Window(), limit)
    assert (page.has_ended, page.is_last) == (has_ended, False)


def test_an_empty_page_ends_a_window_with_a_bound() -> None:
    clerk = clerk_with(1, 2)
    window = list_page(clerk, Window(before=9), 5).window
    page = list_page(clerk, window, 5)
    assert (page.users, page.has_ended, page.is_last) == ([], True, False)


def test_a_window_that_has_ended_goes_on_while_users_come() -> None:
    clerk = clerk_with(1, 2, 3)
    window = replace(list_page(clerk, Window(), 2).window, ended=True)
    page = list_page(clerk, window, 9)
    assert (ids([page.users]), page.has_ended) == (["user_002"], False)


def test_a_date_out_of_order_does_not_end_a_window() -> None:
    clerk = clerk_with(1, 2, 3, 4)
    clerk.odd = {"user_001": {"id": "user_001", "created_at": 10**18}}
    page = list_page(clerk, Window(before=4), 3)
    assert ids([page.users]) == ["user_000", "user_002"]
    assert not page.is_last


def test_a_user_without_a_date_belongs_to_the_window_of_the_one_before() -> None:
    clerk = clerk_with(1, 2, 3, 4, includes_bound=False)
    clerk.odd = {"user_001": {"id": "user_001"}, "user_003": {"id": "user_003"}}
    assert listed_ids(clerk, Window(before=3), 9) == ["user_000", "user_001"]
    assert listed_ids(clerk, Window(since=3), 9) == ["user_002", "user_003"]


@pytest.mark.parametrize("behaviour", ON_DELETED)
@pytest.mark.parametrize("deleted", [1, 2, 4, 12])
@pytest.mark.parametrize("includes_bound", [True, False])
@pytest.mark.parametrize("start", [1, -20, -40])
def test_next_page_follows_when_the_last_users_were_deleted(
    behaviour: OnDeleted, deleted: int, includes_bound: bool, start: int
) -> None:
    clerk = clerk_with(*range(start, start + 50), on_deleted=behaviour, includes_bound=includes_bound)
    window = list_page(clerk, Window(), 24).window
    for number in range(24 - deleted, 24):
        clerk.delete(f"user_{number:03}")
    # Where the page is requested from an earlier user, it has some listed before.
    assert listed_ids(clerk, window, 12)[:3] == ["user_024", "user_025", "user_026"]


def test_a_clerk_that_refuses_times_before_1970_is_asked_without_one() -> None:
    clerk = clerk_with(-3, -2, -1, 0, 1, takes_negative_times=False)
    window = list_page(clerk, Window(), 2).window
    clerk.delete("user_000")
    clerk.delete("user_001")
    assert listed_ids(clerk, window, 9) == ["user_002", "user_003", "user_004"]


def test_another_refusal_is_not_hidden() -> None:
    class Refusing(FakeClerk):
        def users(self, **query: Any) -> list[Any]:
            if "created_at_after" in query:
                raise ClerkRefused("401")
            return super().users(**query)

    clerk = Refusing(alive={"user_000": 3, "user_001": 4})
    window = list_page(clerk, Window(), 1).window
    clerk.delete("user_000")
    with pytest.raises(ClerkRefused):
        list_page(clerk, window, 1)


def test_a_window_that_has_ended_is_listed_further_from_an_earlier_user() -> None:
    clerk = clerk_with(1, 2, 3)
    window = list_page(clerk, Window(), 9).window
    clerk.requests.clear()
    page = list_page(clerk, replace(window, ended=True), 9)
    assert (page.users, page.has_ended) == ([], True)
    assert [request["starting_after"] for request in clerk.requests] == ["user_001"], "and with one request"


def test_an_empty_page_is_checked_from_an_earlier_user() -> None:
    clerk = clerk_with(1, 2, 3)
    window = list_page(clerk, Window(), 3).window
    assert list_page(clerk, window, 3).users == []
    asked = [request.get("starting_after") for request in clerk.requests]
    assert asked == [None, "user_002", "user_001"]


def test_an_entry_without_an_id_is_listed_once() -> None:
    clerk = clerk_with(1, 2, 3)
    clerk.odd = {"user_001": {"created_at": 2}}
    first = list_page(clerk, Window(), 2)
    second = list_page(clerk, first.window, 2)
    assert [user.get("id") for user in [*first.users, *second.users]] == ["user_000", None, "user_002"]


def test_a_page_that_clerk_repeats_is_an_error() -> None:
    class Stuck(FakeClerk):
        def users(self, **query: Any) -> list[Any]:
            return super().users(limit=query["limit"])

    stuck = Stuck(alive={"user_1": 5})
    window = list_page(stuck, Window(), 1).window
    with pytest.raises(ClerkUnavailable, match="repeats"):
        list_page(stuck, window, 1)


def test_part_of_the_listed_users_moves_the_checkpoint_by_as_many() -> None:
    checkpoint = Checkpoint()
    [window] = checkpoint.windows
    page = list_page(clerk_with(1, 2, 3), window, 3)
    listed = ListedUsers(page.users, page.requested_at, window, checkpoint)
    assert listed.checkpoint_after(2).listed == 2
    [after] = listed.checkpoint_after(2).windows
    assert [user.id for user in after.users] == ["user_000", "user_001"]
