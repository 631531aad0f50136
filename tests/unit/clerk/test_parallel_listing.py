import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.clerk.checkpoint import Checkpoint, Window
from clerk_sync.clerk.listing import ListedUsers
from clerk_sync.clerk.parallel_listing import ParallelListing
from clerk_sync.errors import ClerkRefused
from tests.support.executors import InTurnExecutor, VirtualTimeExecutor
from tests.support.fake_clerk import (
    ON_DELETED,
    TOO_MANY,
    ChangingClerk,
    FakeClerk,
    OnDeleted,
    behaviours,
    changing_clerks,
    clerk_with,
    clerk_with_gaps,
    gaps,
    ids,
    limits,
    starts,
)


@dataclass
class LateClerk(FakeClerk):
    """Lists the newest users, so many, only after a short page."""

    late: int = 0

    def users(self, **query: Any) -> list[Any]:
        page = super().users(**query)
        if "order_by" in query:
            return page
        newest = sorted(self.alive)[-self.late :] if self.late else []
        page = [user for user in page if user["id"] not in newest]
        if len(page) < query["limit"]:
            self.late = 0
        return page


requests_at_once = st.integers(1, 5)
orders = st.randoms(use_true_random=False)


def in_any_order(order: Any) -> InTurnExecutor:
    """Requests whose answers come in any order, one or several at a time."""
    return InTurnExecutor(order.randrange, lambda: order.choice([0, 0, 1, 3]))


def listing(
    clerk: FakeClerk,
    limit: int,
    max_requests: int = 1,
    *,
    executor: Executor | None = None,
    checkpoint: Checkpoint | None = None,
    expected: int | None = None,
) -> ParallelListing:
    return ParallelListing(
        clerk,
        checkpoint or Checkpoint(),
        executor or InTurnExecutor(),
        max_requests=max_requests,
        limit=limit,
        expected=len(clerk.alive) if expected is None else expected,
    )


def pages_of(listing: ParallelListing) -> Iterator[ListedUsers]:
    return chain.from_iterable(listing.pages())


def all_ids(listing: ParallelListing) -> list[Any]:
    return ids(listed.users for listed in pages_of(listing))


# Every user, once


@given(changing_clerks(), limits, st.integers(0, 3), requests_at_once, orders)
def test_every_user_is_listed_once_while_users_come_and_go(
    clerk: ChangingClerk, limit: int, too_many: int, max_requests: int, order: Any
) -> None:
    seen: list[Any] = []
    clerk.listed = lambda: seen
    expected = len(clerk.at_start) + too_many
    for listed in pages_of(
        listing(clerk, limit, max_requests, executor=in_any_order(order), expected=expected)
    ):
        seen += ids([listed.users])
    clerk.check(seen)


@given(
    changing_clerks(ties=False), limits, st.lists(st.integers(1, 4), max_size=10), requests_at_once, orders
)
def test_every_user_is_listed_once_when_the_listing_is_resumed_from_its_checkpoint(
    clerk: ChangingClerk, limit: int, pages_before_a_break: list[int], max_requests: int, order: Any
) -> None:
    seen: list[Any] = []
    clerk.listed = lambda: seen
    expected, checkpoint = len(clerk.at_start), Checkpoint()
    for pages in [*pages_before_a_break, TOO_MANY]:
        checkpoint = Checkpoint.load(checkpoint.dump())
        resumed = listing(
            clerk,
            limit,
            max_requests,
            executor=in_any_order(order),
            checkpoint=checkpoint,
            expected=expected,
        )
        for listed in islice(pages_of(resumed), pages):
            seen += ids([listed.users])
            checkpoint = listed.checkpoint_after(len(listed.users))
    clerk.check(seen)


@given(st.lists(gaps, max_size=30), starts, limits, behaviours, requests_at_once, orders, st.data())
def test_a_listing_can_be_resumed_in_the_middle_of_a_page(
    creations: list[int],
    start: int,
    limit: int,
    behaviour: OnDeleted,
    max_requests: int,
    order: Any,
    data: st.DataObject,
) -> None:
    clerk = clerk_with_gaps(creations, start, on_deleted=behaviour)
    seen: list[Any] = []
    checkpoint = Checkpoint()
    first = listing(clerk, limit, max_requests, executor=in_any_order(order))
    for listed in islice(pages_of(first), data.draw(st.integers(0, 20))):
        part = data.draw(st.integers(1, len(listed.users)))
        seen += ids([listed.users[:part]])
        checkpoint = listed.checkpoint_after(part)
        if part < len(listed.users):
            break
    resumed = Checkpoint.load(checkpoint.dump())
    seen += all_ids(listing(clerk, limit, max_requests, executor=in_any_order(order), checkpoint=resumed))
    assert sorted(seen) == sorted(clerk.alive)


@given(st.lists(gaps, max_size=40), starts, limits, behaviours, st.integers(-5, 5))
def test_one_window_lists_the_oldest_first_in_few_requests(
    creations: list[int], start: int, limit: int, behaviour: OnDeleted, off: int
) -> None:
    clerk = clerk_with_gaps(creations, start, on_deleted=behaviour)
    assert all_ids(listing(clerk, limit, expected=max(0, len(creations) + off))) == sorted(clerk.alive)
    # Two for the end after a full page, and one if Clerk counted more users.
    assert len(clerk.requests) <= ceil(len(creations) / limit) + 3


@given(st.lists(gaps, max_size=60), starts, limits, requests_at_once, orders)
def test_each_window_costs_one_more_request(
    creations: list[int], start: int, limit: int, max_requests: int, order: Any
) -> None:
    clerk = clerk_with_gaps(creations, start)
    windows: set[int | None] = {None}
    seen = []
    for listed in pages_of(listing(clerk, limit, max_requests, executor=in_any_order(order))):
        windows |= {window.since for window in listed.checkpoint.windows}
        seen += ids([listed.users])
    assert sorted(seen) == sorted(clerk.alive)
    # One to learn when the newest user was created, and two for a window whose last page is full.
    assert len(clerk.requests) <= ceil(len(creations) / limit) + 3 * len(windows) + 1


def test_users_created_during_the_listing_are_listed_too() -> None:
    clerk = clerk_with(1, 2, 3)
    pages = pages_of(listing(clerk, 2))
    first = next(pages)
    clerk.add("user_100", 50)
    assert ids([first.users, *(listed.users for listed in pages)]) == [
        "user_000",
        "user_001",
        "user_002",
        "user_100",
    ]


@pytest.mark.parametrize("behaviour", ON_DELETED)
@pytest.mark.parametrize("at", [7, 0, -7])
def test_bulk_import_in_one_millisecond_is_listed_while_its_users_are_deleted(
    behaviour: OnDeleted, at: int
) -> None:
    clerk = clerk_with(*[at] * 40, on_deleted=behaviour)
    seen: list[Any] = []
    for listed in pages_of(listing(clerk, 4)):
        seen += ids([listed.users])
        if len(seen) == 24:
            for user_id in seen[-12:]:
                clerk.delete(user_id)
    assert seen == [f"user_{n:03}" for n in range(40)]


@pytest.mark.parametrize("behaviour", ON_DELETED)
def test_the_last_users_may_be_deleted_before_the_count_is_reached(behaviour: OnDeleted) -> None:
    clerk = clerk_with(1, 2, 3, 4, on_deleted=behaviour)
    pages = pages_of(listing(clerk, 3))
    first = next(pages)
    clerk.delete("user_003")
    clerk.delete("user_002")
    assert ids([first.users, *(listed.users for listed in pages)]) == ["user_000", "user_001", "user_002"]


def test_new_user_listed_before_an_older_one_does_not_hide_it() -> None:
    clerk = clerk_with(1_000, on_deleted="empty")
    clerk.add("a newcomer", 1_000)
    pages = pages_of(listing(clerk, 1))
    first = next(pages)
    clerk.delete("a newcomer")
    assert ids([first.users, *(listed.users for listed in pages)]) == ["a newcomer", "user_000"]


ODD_ENTRIES: dict[str, Callable[[str, int], Any]] = {
    "plain": lambda user_id, at: {"id": user_id, "created_at": at},
    "no id": lambda user_id, at: {"created_at": at, "of": user_id},
    "odd id": lambda user_id, at: {"id": ["x", user_id], "created_at": at},
    "null": lambda *_: None,
    "text": lambda user_id, _: user_id,
    "no date": lambda user_id, _: {"id": user_id},
    "odd date": lambda user_id, at: {"id": user_id, "created_at": str(at)},
}
HAVE_AN_ID = ("plain", "no date", "odd date")


@given(st.lists(st.sampled_from([*ODD_ENTRIES]), max_size=20), starts, st.integers(2, 7), behaviours)
def test_odd_entries_are_listed_and_do_not_stop_the_listing(
    kinds: list[str], start: int, limit: int, behaviour: OnDeleted
) -> None:
    # Every page has a user to go on from.
    kinds = [each for kind in kinds for each in (kind, "plain")]
    clerk = clerk_with(*range(start, start + len(kinds)), on_deleted=behaviour)
    users = sorted(clerk.alive.items())
    entries = [ODD_ENTRIES[kind](*user) for kind, user in zip(kinds, users, strict=True)]
    clerk.odd = dict(zip(sorted(clerk.alive), entries, strict=True))
    seen = [user for listed in pages_of(listing(clerk, limit)) for user in listed.users]
    with_id = [entry for entry, kind in zip(entries, kinds, strict=True) if kind in HAVE_AN_ID]
    assert [user for user in seen if user in with_id] == with_id
    assert all(entry in seen for entry in entries)


def test_last_entry_without_an_id_is_listed_once_even_if_more_are_expected() -> None:
    clerk = clerk_with(1, 2)
    clerk.odd = {"user_001": {"created_at": 2}}
    seen = [user for listed in pages_of(listing(clerk, 5, expected=9)) for user in listed.users]
    assert [user.get("id") for user in seen] == ["user_000", None]


# When it ends


@pytest.mark.parametrize(("users", "requests"), [(0, 1), (2, 1), (4, 2), (7, 3)])
def test_a_short_page_is_the_last_when_as_many_were_listed_as_clerk_counted(
    users: int, requests: int
) -> None:
    clerk = clerk_with(*range(1, users + 1))
    assert len(all_ids(listing(clerk, 3))) == users
    assert (len(clerk.requests), clerk.counts) == (requests, 0)


def test_deleted_users_cost_one_more_request_and_are_not_unlisted() -> None:
    clerk = clerk_with(1, 2, 3, 4, 5)
    all_users = listing(clerk, 3, expected=9)
    assert len(all_ids(all_users)) == 5
    assert (len(clerk.requests), clerk.counts) == (3, 1), "Clerk is asked for its count again"
    assert all_users.unlisted == 0


@pytest.mark.parametrize("max_requests", [1, 4])
def test_deleted_users_do_not_hide_those_that_clerk_cut(max_requests: int) -> None:
    clerk = LateClerk(alive=clerk_with(*range(1, 61)).alive, late=3)
    pages = pages_of(listing(clerk, 5, max_requests))
    seen = ids([next(pages).users])
    for user_id in seen[:4]:
        clerk.delete(user_id)
    seen += ids(listed.users for listed in pages)
    assert set(clerk.alive) <= set(seen)


@pytest.mark.parametrize("max_requests", [1, 3])
def test_users_that_clerk_counts_before_and_after_but_does_not_list_are_unlisted(max_requests: int) -> None:
    clerk = clerk_with(*range(1, 61), overcounts_by=4)
    all_users = listing(clerk, 5, max_requests, expected=70)
    assert sorted(all_ids(all_users)) == sorted(clerk.alive)
    assert all_users.unlisted == 4


@given(st.integers(0, 30), st.integers(1, 7), st.integers(2, 7), requests_at_once)
def test_pages_that_are_always_short_do_not_end_the_listing(
    users: int, limit: int, most: int, max_requests: int
) -> None:
    clerk = clerk_with(*range(1, users + 1), most=most)
    assert sorted(all_ids(listing(clerk, limit, max_requests))) == sorted(clerk.alive)


def test_pages_that_become_short_in_the_middle_do_not_end_the_listing() -> None:
    clerk = clerk_with(*range(1, 61))
    clerk.cut = lambda number, page: page[:2] if number > 3 else page
    assert sorted(all_ids(listing(clerk, 5, 3))) == sorted(clerk.alive)


# Short pages and interruptions

USERS, LIMIT = 40, 2


def interrupted_listing(
    clerk: FakeClerk, max_requests: int, stops_after: int
) -> tuple[list[Any], ParallelListing]:
    """The ids listed by one that is cut off after so many pages and by the one that resumes it."""
    seen: list[Any] = []
    checkpoint = Checkpoint()
    for listed in islice(pages_of(listing(clerk, LIMIT, max_requests, expected=USERS)), stops_after):
        seen += ids([listed.users])
        checkpoint = listed.checkpoint_after(len(listed.users))
    checkpoint = Checkpoint.load(checkpoint.dump())
    assert checkpoint.listed == len(seen)
    resumed = listing(clerk, LIMIT, max_requests, checkpoint=checkpoint, expected=USERS)
    return seen + all_ids(resumed), resumed


@pytest.mark.parametrize("max_requests", [1, 4])
@pytest.mark.parametrize("left", [0, 1])
def test_cut_page_loses_no_user_wherever_the_listing_is_interrupted(
    left: int, max_requests: int, thorough: bool
) -> None:
    step = 1 if thorough else 5
    for cut_at in range(1, 3 * USERS // LIMIT // 2):
        for stops_after in range(cut_at % step, USERS // LIMIT + 1, step):
            clerk = clerk_with(*range(1, USERS + 1))
            clerk.cut = lambda number, page, cut_at=cut_at: page[:left] if number == cut_at else page  # type: ignore[misc]
            seen, resumed = interrupted_listing(clerk, max_requests, stops_after)
            assert sorted(seen) == sorted(clerk.alive), f"cut at {cut_at}, stopped after {stops_after}"
            assert resumed.unlisted == 0


@pytest.mark.parametrize("max_requests", [1, 4])
@pytest.mark.parametrize("hidden", [1, 7, 20, 39])
def test_the_newest_users_that_clerk_lists_late_are_listed_wherever_the_listing_is_interrupted(
    hidden: int, max_requests: int
) -> None:
    for stops_after in range(USERS // LIMIT + 1):
        clerk = LateClerk(alive=clerk_with(*range(1, USERS + 1)).alive, late=hidden)
        seen, resumed = interrupted_listing(clerk, max_requests, stops_after)
        assert sorted(seen) == sorted(clerk.alive), f"stopped after {stops_after}"
        assert resumed.unlisted == 0


def test_page_cut_before_a_windows_end_loses_no_user_despite_later_sign_ups() -> None:
    for cut_at in range(1, 2 * USERS // LIMIT):
        clerk = clerk_with(*range(1, USERS + 1))
        clerk.cut = lambda number, page, cut_at=cut_at: page[:1] if number == cut_at else page  # type: ignore[misc]
        last_window, seen = 0, []
        for listed in pages_of(listing(clerk, LIMIT, 4, expected=USERS - 8)):
            seen += ids([listed.users])
            last_window = max(window.since or 0 for window in listed.checkpoint.windows)
        older = [user_id for user_id, created_at in clerk.alive.items() if created_at < last_window]
        assert set(older) <= set(seen), f"cut at {cut_at}"


def test_window_that_is_done_is_removed_from_the_checkpoint() -> None:
    clerk = clerk_with(*range(1, USERS + 1))
    checkpoints = [listed.checkpoint for listed in pages_of(listing(clerk, LIMIT, 4))]
    windows = [window for checkpoint in checkpoints for window in checkpoint.windows]
    assert all(window.before is None for window in windows if window.ended)
    assert 1 < max(len(checkpoint.windows) for checkpoint in checkpoints) <= 4 + 1


def test_ended_windows_are_not_requested_again_when_no_user_is_missing() -> None:
    clerk = clerk_with(1, 2, 3)
    done = Checkpoint(3, (Window(ended=True).after(clerk.users(limit=9)),))
    clerk.requests.clear()
    assert all_ids(listing(clerk, 5, checkpoint=done, expected=3)) == []
    assert clerk.requests == []


# Splitting into windows


def test_a_small_instance_stays_one_window() -> None:
    clerk = clerk_with(*range(0, 6_400, 100))
    assert len(all_ids(listing(clerk, 5, 9))) == 64
    assert {tuple(request) for request in clerk.requests} == {("limit",), ("limit", "starting_after")}


def test_a_large_instance_is_split_after_its_first_page() -> None:
    clerk = clerk_with(*range(0, 30_000, 100))
    pages = listing(clerk, 5, 4).pages()
    assert len(next(pages)[0].users) == 5
    windows = next(pages)[0].checkpoint.windows
    assert [window.since for window in windows] == [None, 7_776, 15_151, 22_526]


def test_no_window_begins_before_1970() -> None:
    clerk = clerk_with(*range(-20_000, 10_000, 100))
    pages = listing(clerk, 5, 4)
    since = set()
    seen = []
    for listed in pages_of(pages):
        seen += ids([listed.users])
        since |= {window.since for window in listed.checkpoint.windows}
    assert sorted(seen) == sorted(clerk.alive)
    assert len(since) > 1
    assert all(bound is None or bound > 0 for bound in since)


def test_one_request_at_once_stays_one_window_and_does_not_look_for_the_newest_user() -> None:
    clerk = clerk_with(*range(0, 10_000, 100))
    assert len(all_ids(listing(clerk, 5, 1))) == 100
    assert {tuple(request) for request in clerk.requests} == {("limit",), ("limit", "starting_after")}


# How much of the rate is used


class Dates:
    """Users with nothing but an id and a date, 200,000 of them."""

    def __init__(self, dates: list[int]) -> None:
        self.dates = sorted(dates)
        self.requests = 0

    def count(self) -> int:
        return len(self.dates)

    def users(self, **query: Any) -> list[Any]:
        self.requests += 1
        if "order_by" in query:
            return self._payloads(range(len(self.dates) - 1, len(self.dates)))
        low = bisect_right(self.dates, query.get("created_at_after", -1))
        if "starting_after" in query:
            low = max(low, int(query["starting_after"].removeprefix("user_")) + 1)
        return self._payloads(range(low, min(len(self.dates), low + query["limit"])))

    def _payloads(self, indexes: range) -> list[Any]:
        return [{"id": f"user_{index:027}", "created_at": self.dates[index]} for index in indexes]


YEAR = 365 * 24 * 3_600_000
SHAPES: dict[str, Callable[[int], int]] = {
    "evenly": lambda n: n * 3 * YEAR // 200_000,
    "more and more": lambda n: int(3 * YEAR * (n / 200_000) ** 0.2),
    "a bulk import of a tenth, in one minute": lambda n: YEAR + n % 60_000 if n % 10 == 0 else n * 157_680,
    "nearly all in the last month": lambda n: n * 12_000_000 if n < 2_000 else 3 * YEAR - n * 12_000,
    "nearly all in the first month": lambda n: n * 12_000 if n > 2_000 else 3 * YEAR - n * 12_000_000,
}
LEAST = {"evenly": 88}


@pytest.mark.parametrize("shape", SHAPES)
def test_four_fifths_of_the_rate_are_used_however_the_dates_are_spread(shape: str) -> None:
    clerk, executor = Dates([SHAPES[shape](n) for n in range(200_000)]), VirtualTimeExecutor(24)
    all_users = ParallelListing(clerk, Checkpoint(), executor, max_requests=24, limit=100, expected=200_000)
    windows: set[int | None] = {None}
    listed = longest = 0
    for page in pages_of(all_users):
        windows |= {window.since for window in page.checkpoint.windows}
        listed += len(page.users)
        longest = max(longest, len(page.checkpoint.dump()) if listed % 5_000 < 100 else 0)
    assert listed == 200_000
    useful = 200_000 / 100
    assert useful / executor.now >= LEAST.get(shape, 80)
    assert clerk.requests <= useful + len(windows) + 3
    assert longest < 5_000, "the checkpoint is stored with each page"


# Threads


def test_the_answer_that_comes_first_is_taken_first() -> None:
    go_on = threading.Event()

    class Slow(FakeClerk):
        def users(self, **query: Any) -> list[Any]:
            if "created_at_after" in query and "starting_after" not in query:
                assert go_on.wait(10)
            return super().users(**query)

    clerk = Slow(alive=clerk_with(*range(0, 30_000, 100)).alive)
    pages = pages_of(listing(clerk, 5, 4, executor=ThreadPoolExecutor(4)))
    first = [next(pages).window.since for _ in range(4)]
    assert first == [None] * 4, "the other windows wait for Clerk"
    go_on.set()
    assert len(ids(listed.users for listed in pages)) == 300 - 4 * 5


def test_what_a_thread_raises_is_raised() -> None:
    class Refusing(FakeClerk):
        def users(self, **_: Any) -> list[Any]:
            raise ClerkRefused("401")

    with pytest.raises(ClerkRefused):
        all_ids(listing(Refusing(), 5, 2, executor=ThreadPoolExecutor(2)))


def test_a_listing_that_is_closed_sends_no_more_requests() -> None:
    executor = ThreadPoolExecutor(2)
    pages = listing(clerk_with(*range(60)), 5, 2, executor=executor).pages()
    next(pages)
    pages.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(print)


@given(st.lists(gaps, max_size=60), limits, st.integers(1, 4))
def test_threads_list_every_user_once(creations: list[int], limit: int, threads: int) -> None:
    clerk = clerk_with_gaps(creations)
    executor = ThreadPoolExecutor(threads)
    assert sorted(all_ids(listing(clerk, limit, threads, executor=executor))) == sorted(clerk.alive)
