import heapq
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import chain, islice
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.clerk.listing import Cursor, Span
from clerk_sync.clerk.parallel_listing import BEGINNING, Lanes, Place, Step, Threads, Window, walk_windows
from clerk_sync.errors import ClerkRefused
from tests.support.lanes import InTurn
from tests.unit.clerk.test_listing import (
    TOO_MANY,
    ChangingClerk,
    FakeClerk,
    OnDeleted,
    behaviours,
    changing_clerks,
    check,
    clerk_with,
    gaps,
    ids,
    limits,
)

lane_numbers = st.integers(1, 5)
orders = st.randoms(use_true_random=False)


def in_turn(number: int, order: Any) -> Lanes:
    """Lanes of which one or some come in any order."""
    return InTurn(number, order.randrange, lambda: order.choice([0, 0, 1, 3]))


def walked(clerk: FakeClerk, lanes: Lanes, limit: int, *, expected: int | None = None) -> list[Any]:
    count = len(clerk.alive) if expected is None else expected
    walk = walk_windows(clerk, BEGINNING, lanes, limit=limit, met=0, expected=count)
    return ids(found.users for together in walk for found in together)


@given(changing_clerks(), limits, st.integers(0, 3), lane_numbers, orders)
def test_nobody_is_missed_or_repeated_while_users_come_and_go(
    clerk: ChangingClerk, limit: int, too_many: int, lanes: int, order: Any
) -> None:
    met: list[Any] = []
    clerk.met = lambda: met
    expected = len(clerk.at_start) + too_many
    walk = walk_windows(clerk, BEGINNING, in_turn(lanes, order), limit=limit, met=0, expected=expected)
    for together in walk:
        met += ids(found.users for found in together)
    check(clerk, met)


@given(changing_clerks(ties=False), limits, st.lists(st.integers(1, 4), max_size=10), lane_numbers, orders)
def test_nor_when_the_walk_is_taken_up_again_between_pages(
    clerk: ChangingClerk, limit: int, pages_before_a_break: list[int], lanes: int, order: Any
) -> None:
    met: list[Any] = []
    clerk.met = lambda: met
    expected, place = len(clerk.at_start), BEGINNING
    for count in [*pages_before_a_break, TOO_MANY]:
        place = Place.load(place.dump())
        walk = walk_windows(clerk, place, in_turn(lanes, order), limit=limit, met=len(met), expected=expected)
        for found in islice(chain.from_iterable(walk), count):
            met += ids([found.users])
            place = found.place_after(len(found.users))
    check(clerk, met)


@given(st.lists(gaps, max_size=30), limits, behaviours, lane_numbers, orders, st.data())
def test_a_page_may_be_sent_in_parts_and_the_walk_broken_off_between_them(
    creations: list[int], limit: int, behaviour: OnDeleted, lanes: int, order: Any, data: st.DataObject
) -> None:
    clerk = clerk_with(*(sum(creations[: n + 1]) + 1 for n in range(len(creations))), on_deleted=behaviour)
    met: list[Any] = []
    place = BEGINNING
    pages = data.draw(st.integers(0, 20))
    expected = len(creations)
    walk = walk_windows(clerk, place, in_turn(lanes, order), limit=limit, met=0, expected=expected)
    for found in islice(chain.from_iterable(walk), pages):
        part = data.draw(st.integers(1, len(found.users)))
        met += ids([found.users[:part]])
        place = found.place_after(part)
        if part < len(found.users):
            break
    again = Place.load(place.dump())
    walk = walk_windows(clerk, again, in_turn(lanes, order), limit=limit, met=len(met), expected=expected)
    met += ids(found.users for together in walk for found in together)
    assert sorted(met) == sorted(clerk.alive)


@given(st.lists(gaps, max_size=60), limits, lane_numbers, orders)
def test_a_window_costs_a_request_more(creations: list[int], limit: int, lanes: int, order: Any) -> None:
    clerk = clerk_with(*(sum(creations[: n + 1]) + 1 for n in range(len(creations))))
    begun: set[int | None] = {None}
    walk = walk_windows(clerk, BEGINNING, in_turn(lanes, order), limit=limit, met=0, expected=len(creations))
    met = []
    for found in chain.from_iterable(walk):
        begun |= found.place.windows.keys()
        met += ids([found.users])
    assert sorted(met) == sorted(clerk.alive)
    # One to learn when the newest was made; a window that ends with a full page takes two to see that.
    assert len(clerk.requests) <= ceil(len(creations) / limit) + 3 * len(begun) + 1


@given(st.integers(0, 30), st.integers(1, 7), st.integers(2, 7), lane_numbers)
def test_pages_shorter_than_asked_for_do_not_end_the_walk_while_somebody_is_missing(
    users: int, limit: int, most: int, lanes: int
) -> None:
    clerk = clerk_with(*range(1, users + 1), most=most)
    assert sorted(walked(clerk, InTurn(lanes), limit)) == sorted(clerk.alive)


def test_lists_that_get_shorter_in_the_middle_of_the_walk_are_gone_on_with() -> None:
    clerk = clerk_with(*range(1, 61))

    def cut_from_the_fourth() -> None:
        if len(clerk.requests) > 3:
            clerk.most = 2

    clerk.before_request = cut_from_the_fourth
    assert sorted(walked(clerk, InTurn(3), 5)) == sorted(clerk.alive)


def test_a_small_instance_stays_one_window() -> None:
    clerk = clerk_with(*range(0, 6_400, 100))
    assert len(walked(clerk, InTurn(9), 5)) == 64
    assert {tuple(request) for request in clerk.requests} == {("limit",), ("limit", "starting_after")}


def test_a_large_one_is_split_as_soon_as_its_first_page_is_there() -> None:
    clerk = clerk_with(*range(0, 30_000, 100))
    lanes = InTurn(4)
    walk = walk_windows(clerk, BEGINNING, lanes, limit=5, met=0, expected=300)
    assert len(next(walk)[0].users) == 5
    assert [*next(walk)[0].place.windows] == [None, 7_776, 15_151, 22_526]


def test_one_lane_asks_for_one_window_and_not_for_the_newest_user() -> None:
    clerk = clerk_with(*range(0, 10_000, 100))
    assert len(walked(clerk, InTurn(1), 5)) == 100
    assert {tuple(request) for request in clerk.requests} == {("limit",), ("limit", "starting_after")}


# Being written down


windows = st.builds(
    Window,
    st.builds(Span, st.none() | st.integers(0, 9), st.none() | st.integers(10, 20)),
    st.just(Cursor()),
)


@given(st.lists(windows, min_size=1, unique_by=lambda window: window.span.since))
def test_a_place_is_loaded_as_it_was_dumped(given_windows: list[Window]) -> None:
    place = Place.at(given_windows)
    assert Place.load(place.dump()) == place


# How much of the rate is used


class Dates:
    """Users of whom only the date is told, a million of them if need be."""

    def __init__(self, dates: list[int]) -> None:
        self.dates = sorted(dates)
        self.requests = 0

    def users(self, **query: Any) -> list[Any]:
        self.requests += 1
        if "order_by" in query:
            return self._payloads(range(len(self.dates) - 1, len(self.dates)))
        low = bisect_right(self.dates, query.get("created_at_after", -1))
        high = bisect_left(self.dates, query.get("created_at_before", 10**15))
        if "starting_after" in query:
            low = max(low, int(query["starting_after"]) + 1)
        return self._payloads(range(low, min(high, low + query["limit"])))

    def _payloads(self, indexes: range) -> list[Any]:
        return [{"id": str(index), "created_at": self.dates[index]} for index in indexes]


class Clock:
    """Lanes in made-up time: each step takes 200 ms, and none begins less than 10 ms after the one before."""

    LATENCY = 0.2
    INTERVAL = 0.01

    def __init__(self, number: int) -> None:
        self.number = number
        self.now = 0.0
        self._next = 0.0
        self._free = [0.0] * number
        self._under_way: list[tuple[float, int, Callable[[], Step]]] = []
        self._started = 0

    def start(self, step: Callable[[], Step]) -> None:
        begins = max(self.now, heapq.heappop(self._free), self._next)
        self._next = begins + self.INTERVAL
        self._started += 1
        heapq.heappush(self._free, begins + self.LATENCY)
        heapq.heappush(self._under_way, (begins + self.LATENCY, self._started, step))

    def take(self) -> list[Step]:
        done_at, _, step = heapq.heappop(self._under_way)
        self.now = max(self.now, done_at)
        return [step()]

    def close(self) -> None:
        pass


YEAR = 365 * 24 * 3_600_000
SHAPES: dict[str, Callable[[int], int]] = {
    "evenly": lambda n: n * 3 * YEAR // 200_000,
    "more and more": lambda n: int(3 * YEAR * (n / 200_000) ** 0.2),
    "a bulk import of a tenth, in one minute": lambda n: YEAR + n % 60_000 if n % 10 == 0 else n * 157_680,
    "nearly all in the last month": lambda n: n * 12_000_000 if n < 2_000 else 3 * YEAR - n * 12_000,
    "nearly all in the first month": lambda n: n * 12_000 if n > 2_000 else 3 * YEAR - n * 12_000_000,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_four_fifths_of_the_rate_are_used_however_the_dates_lie(shape: str) -> None:
    clerk, clock = Dates([SHAPES[shape](n) for n in range(200_000)]), Clock(24)
    walk = walk_windows(clerk, BEGINNING, clock, limit=100, met=0, expected=200_000)
    begun: set[int | None] = {None}
    met = 0
    for found in chain.from_iterable(walk):
        begun |= found.place.windows.keys()
        met += len(found.users)
    assert met == 200_000
    useful = 200_000 / 100
    assert useful / clock.now >= 80
    assert clerk.requests <= useful + len(begun) + 3


# Threads


def test_threads_run_side_by_side_and_give_what_is_done_first() -> None:
    go_on = threading.Event()
    lanes = Threads(2)
    lanes.start(lambda: Step(1, None if go_on.wait(10) else [], 0))
    lanes.start(lambda: Step(2, None, 0))
    assert lanes.take() == [Step(2, None, 0)]
    go_on.set()
    assert lanes.take() == [Step(1, None, 0)]
    lanes.close()


def test_what_a_thread_raises_is_raised() -> None:
    class Refusing(FakeClerk):
        def users(self, **_: Any) -> list[Any]:
            raise ClerkRefused("401")

    with pytest.raises(ClerkRefused):
        walked(Refusing(), Threads(2), 5)


@given(st.lists(gaps, max_size=60), limits, st.integers(1, 4))
def test_a_walk_on_threads_meets_everybody_once(creations: list[int], limit: int, lanes: int) -> None:
    clerk = clerk_with(*(sum(creations[: n + 1]) + 1 for n in range(len(creations))))
    assert sorted(walked(clerk, Threads(lanes), limit)) == sorted(clerk.alive)
