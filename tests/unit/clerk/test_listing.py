from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice, pairwise
from math import ceil
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.clerk.listing import START, Cursor, Place, walk
from clerk_sync.errors import ClerkUnavailable, CursorRefused

OnDeleted = Literal["reject", "empty", "position", "restart"]
ON_DELETED: tuple[OnDeleted, ...] = ("reject", "empty", "position", "restart")

TOO_MANY = 400
"""Requests that no walk over these few users needs: whoever makes them goes round in circles."""


@dataclass
class FakeClerk:
    """Users by creation date, then id; `on_deleted` is what it makes of a cursor that is gone, `most` how
    many it gives however many are asked for."""

    on_deleted: OnDeleted = "reject"
    includes_bound: bool = True
    most: int = TOO_MANY
    before_request: Callable[[], None] = lambda: None
    alive: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    odd: dict[str, Any] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def add(self, user_id: str, created_at: int) -> None:
        self.alive[user_id] = created_at

    def delete(self, user_id: str) -> None:
        self.gone[user_id] = self.alive.pop(user_id)

    def users(self, **query: Any) -> list[Any]:
        self.before_request()
        self.requests.append(query)
        assert len(self.requests) < TOO_MANY, "the walk does not end"
        everybody = sorted((created_at, user_id) for user_id, created_at in self.alive.items())
        if query.get("order_by") == "-created_at":
            return [self._payload(*one) for one in everybody[: -query["limit"] - 1 : -1]]
        after = query.get("starting_after")
        since = query.get("created_at_after")
        if since is not None:
            everybody = [
                one for one in everybody if one[0] > since or (self.includes_bound and one[0] == since)
            ]
        before = query.get("created_at_before")
        if before is not None:
            everybody = [
                one for one in everybody if one[0] < before or (self.includes_bound and one[0] == before)
            ]
        if after is not None:
            if after not in self.alive:
                assert after in self.gone, "a cursor that never was"
                if self.on_deleted == "reject":
                    raise CursorRefused("404")
                if self.on_deleted == "empty":
                    return []
            if after in self.alive or self.on_deleted == "position":
                place = ({**self.alive, **self.gone}[after], after)
                everybody = [one for one in everybody if one > place]
        return [self._payload(*one) for one in everybody[: min(query["limit"], self.most)]]

    def _payload(self, created_at: int, user_id: str) -> Any:
        return self.odd.get(user_id, {"id": user_id, "created_at": created_at})


def ids(pages: Iterable[list[Any]]) -> list[Any]:
    return [user["id"] if isinstance(user, dict) else user for page in pages for user in page]


def clerk_with(*created_at: int, **settings: Any) -> FakeClerk:
    clerk = FakeClerk(**settings)
    for number, at in enumerate(created_at):
        clerk.add(f"user_{number:03}", at)
    return clerk


def walked(clerk: FakeClerk, limit: int, *, expected: int = 0) -> list[Any]:
    pages = walk(clerk, START, limit=limit, met=0, expected=expected)
    return [user for page in pages for user in page]


def whole_walk(clerk: FakeClerk, limit: int, *, expected: int | None = None) -> list[Any]:
    count = len(clerk.alive) if expected is None else expected
    return ids(walk(clerk, START, limit=limit, met=0, expected=count))


limits = st.integers(1, 7)
behaviours = st.sampled_from(ON_DELETED)
gaps = st.sampled_from([0, 0, 1, 5])
"""Between one creation and the next, in ms: many users share theirs."""
ids_at_random = st.permutations(range(100))


@dataclass
class ChangingClerk(FakeClerk):
    """Some users come and go before each request, for as long as the script lasts."""

    script: list[list[tuple[int, int]]] = field(default_factory=list)
    names: list[int] = field(default_factory=list)
    now: int = 1_000
    at_start: frozenset[str] = frozenset()
    met: Callable[[], list[Any]] = list

    def come(self, gap: int) -> None:
        self.now += gap
        self.add(f"user_{self.names.pop():03}", self.now)

    def change(self) -> None:
        for which, gap in self.script.pop() if self.script else []:
            if which < 0:
                self.come(max(gap, 1))  # time has moved on since the walk began
            elif self.alive:
                # The users around the cursor are those that matter, so they go most often.
                nearest = [user_id for user_id in reversed(self.met()) if user_id in self.alive]
                candidates = [*nearest, *sorted(self.alive)]
                self.delete(candidates[which % len(candidates)])

    @property
    def alive_throughout(self) -> set[str]:
        return set(self.at_start & self.alive.keys())


@st.composite
def changing_clerks(
    draw: st.DrawFn, behaviour: st.SearchStrategy[OnDeleted] = behaviours, ties: bool = True
) -> ChangingClerk:
    # Far from zero, as "since always" is what an unknown date counts as.
    clerk = ChangingClerk(on_deleted=draw(behaviour), includes_bound=draw(st.booleans()))
    clerk.names = draw(ids_at_random)
    fewest = draw(st.sampled_from([0, 15]))  # enough to forget the first ones, often
    for gap in draw(st.lists(gaps if ties else st.just(1), min_size=fewest, max_size=30)):
        clerk.come(gap)
    clerk.at_start = frozenset(clerk.alive)
    change = st.tuples(st.integers(-1, 5), gaps)
    clerk.script = draw(st.lists(st.lists(change, max_size=4), max_size=12))
    clerk.before_request = clerk.change
    return clerk


def check(clerk: ChangingClerk, met: list[Any]) -> None:
    assert len(met) == len(set(met)), "somebody is met twice"
    assert clerk.alive_throughout <= set(met), "somebody is missed"


@given(changing_clerks(), limits, st.integers(0, 3))
def test_nobody_is_missed_or_repeated_while_users_come_and_go(
    clerk: ChangingClerk, limit: int, too_many: int
) -> None:
    met: list[Any] = []
    clerk.met = lambda: met
    expected = len(clerk.at_start) + too_many
    for page in walk(clerk, START, limit=limit, met=0, expected=expected):
        met += ids([page])
    check(clerk, met)


@given(changing_clerks(ties=False), limits, st.lists(st.integers(1, 4), max_size=10))
def test_nor_when_the_walk_is_taken_up_again_between_pages(
    clerk: ChangingClerk, limit: int, pages_before_a_break: list[int]
) -> None:
    met: list[Any] = []
    clerk.met = lambda: met
    expected, cursor = len(clerk.at_start), START
    for count in [*pages_before_a_break, TOO_MANY]:
        cursor = Cursor.load(cursor.dump())
        pages = walk(clerk, cursor, limit=limit, met=len(met), expected=expected)
        for page in islice(pages, count):
            met += ids([page])
            cursor = cursor.after(page)
    check(clerk, met)


@given(st.lists(gaps, max_size=30), limits, behaviours, st.integers(0, 40))
def test_a_walk_may_be_taken_up_at_any_page(
    creations: list[int], limit: int, behaviour: OnDeleted, broken_at: int
) -> None:
    clerk = clerk_with(*(sum(creations[: n + 1]) + 1 for n in range(len(creations))), on_deleted=behaviour)
    cursor, met = START, []
    for page in islice(walk(clerk, cursor, limit=limit, met=0, expected=len(creations)), broken_at):
        met += ids([page])
        cursor = cursor.after(page)
    again = Cursor.load(cursor.dump())
    met += ids(walk(clerk, again, limit=limit, met=len(met), expected=len(creations)))
    assert met == sorted(clerk.alive)


@given(st.lists(gaps, max_size=40), limits, behaviours, st.integers(-5, 5))
def test_a_walk_without_changes_needs_few_requests(
    creations: list[int], limit: int, behaviour: OnDeleted, off: int
) -> None:
    clerk = clerk_with(*(sum(creations[: n + 1]) + 1 for n in range(len(creations))), on_deleted=behaviour)
    met = whole_walk(clerk, limit, expected=max(0, len(creations) + off))
    assert met == sorted(clerk.alive), "oldest first, whatever the count said"
    assert len(clerk.requests) <= ceil(len(creations) / limit) + 2


@pytest.mark.parametrize(("users", "requests"), [(0, 1), (2, 1), (4, 2), (7, 3)])
def test_a_page_that_is_not_full_is_the_last_when_nobody_is_missing(users: int, requests: int) -> None:
    clerk = clerk_with(*range(1, users + 1))
    assert len(whole_walk(clerk, 3)) == users
    assert len(clerk.requests) == requests


def test_an_empty_page_is_the_last_once_an_earlier_user_confirms_it() -> None:
    clerk = clerk_with(1, 2, 3)
    assert len(whole_walk(clerk, 3)) == 3
    asked = [request.get("starting_after") for request in clerk.requests]
    assert asked == [None, "user_002", "user_001"]


def test_for_those_who_seem_missing_there_is_one_more_request() -> None:
    clerk = clerk_with(1, 2, 3, 4, 5)
    assert len(whole_walk(clerk, 3, expected=9)) == 5
    assert len(clerk.requests) == 3


@given(st.integers(0, 30), st.integers(1, 7), st.integers(2, 7))
def test_pages_shorter_than_asked_for_do_not_end_the_walk_while_somebody_is_missing(
    users: int, limit: int, most: int
) -> None:
    clerk = clerk_with(*range(1, users + 1), most=most)
    assert whole_walk(clerk, limit) == sorted(clerk.alive)


def test_users_are_asked_for_from_the_last_one_met() -> None:
    clerk = clerk_with(1, 2, 3, 4, 5)
    whole_walk(clerk, 2)
    assert clerk.requests == [
        {"limit": 2},
        {"limit": 2, "starting_after": "user_001"},
        {"limit": 2, "starting_after": "user_003"},
    ]


def test_users_created_during_the_walk_are_met_too() -> None:
    clerk = clerk_with(1, 2, 3)
    pages = walk(clerk, START, limit=2, met=0, expected=3)
    first = next(pages)
    clerk.add("user_100", 50)
    assert ids([first, *pages]) == ["user_000", "user_001", "user_002", "user_100"]


@pytest.mark.parametrize("behaviour", ON_DELETED)
@pytest.mark.parametrize("gone", [1, 2, 4, 12])
@pytest.mark.parametrize("includes_bound", [True, False])
def test_however_many_of_the_last_met_are_gone_the_walk_goes_on(
    behaviour: OnDeleted, gone: int, includes_bound: bool
) -> None:
    clerk = clerk_with(*range(1, 51), on_deleted=behaviour, includes_bound=includes_bound)
    pages = walk(clerk, START, limit=12, met=0, expected=50)
    met = ids([next(pages), next(pages)])
    for user_id in met[-gone:]:
        clerk.delete(user_id)
    met += ids(pages)
    assert met == [f"user_{n:03}" for n in range(50)]


@pytest.mark.parametrize("behaviour", ON_DELETED)
def test_a_bulk_import_in_one_ms_is_walked_though_its_users_go(behaviour: OnDeleted) -> None:
    clerk = clerk_with(*[7] * 40, on_deleted=behaviour)
    pages = walk(clerk, START, limit=4, met=0, expected=40)
    met: list[Any] = []
    for page in pages:
        met += ids([page])
        if len(met) == 24:
            for user_id in met[-12:]:
                clerk.delete(user_id)
    assert met == [f"user_{n:03}" for n in range(40)]


@pytest.mark.parametrize("behaviour", ON_DELETED)
def test_the_last_user_may_go_before_the_count_is_reached(behaviour: OnDeleted) -> None:
    clerk = clerk_with(1, 2, 3, 4, on_deleted=behaviour)
    pages = walk(clerk, START, limit=3, met=0, expected=4)
    first = next(pages)
    clerk.delete("user_003")
    clerk.delete("user_002")
    assert ids([first, *pages]) == ["user_000", "user_001", "user_002"]


@given(
    st.lists(
        st.sampled_from(["plain", "no_id", "odd_id", "null", "text", "no_date", "odd_date"]), max_size=20
    ),
    st.integers(2, 7),
    behaviours,
)
def test_odd_entries_are_handed_on_and_do_not_stop_the_walk(
    kinds: list[str], limit: int, behaviour: OnDeleted
) -> None:
    # No page may be without any user to go on from.
    kinds = [each for kind in kinds for each in (kind, "plain")]
    clerk = clerk_with(*range(1, len(kinds) + 1), on_deleted=behaviour)
    entries = {}
    for (user_id, at), kind in zip(sorted(clerk.alive.items()), kinds, strict=True):
        entries[user_id] = {
            "plain": {"id": user_id, "created_at": at},
            "no_id": {"created_at": at, "of": user_id},
            "odd_id": {"id": ["x", user_id], "created_at": at},
            "null": None,
            "text": user_id,
            "no_date": {"id": user_id},
            "odd_date": {"id": user_id, "created_at": str(at)},
        }[kind]
    clerk.odd = entries
    pages = walk(clerk, START, limit=limit, met=0, expected=len(kinds))
    met = [user for page in pages for user in page]
    nameless = ("no_id", "odd_id", "null", "text")
    named = [entry for entry, kind in zip(entries.values(), kinds, strict=True) if kind not in nameless]
    assert [user for user in met if user in named] == named
    assert all(entry in met for entry in entries.values())


def test_an_entry_without_an_id_is_met_once() -> None:
    clerk = clerk_with(1, 2, 3)
    clerk.odd = {"user_001": {"created_at": 2}}
    assert [user.get("id") for user in walked(clerk, 2)] == ["user_000", None, "user_002"]


def test_an_entry_without_an_id_may_be_the_last_though_more_were_expected() -> None:
    clerk = clerk_with(1, 2)
    clerk.odd = {"user_001": {"created_at": 2}}
    assert [user.get("id") for user in walked(clerk, 5, expected=9)] == ["user_000", None]


def test_pages_that_do_not_go_on_are_an_error_and_not_a_walk_without_end() -> None:
    class Stuck(FakeClerk):
        def users(self, **query: Any) -> list[Any]:
            return super().users(limit=query["limit"])

    stuck = Stuck(alive={"user_1": 5})
    pages = walk(stuck, START, limit=1, met=0, expected=9)
    with pytest.raises(ClerkUnavailable, match="repeat"):
        list(islice(pages, TOO_MANY))


def test_a_newcomer_before_an_older_user_does_not_hide_that_one() -> None:
    clerk = clerk_with(1_000, on_deleted="empty")
    clerk.add("a newcomer", 1_000)
    pages = walk(clerk, START, limit=1, met=0, expected=1)
    first = next(pages)
    clerk.delete("a newcomer")
    assert ids([first, *pages]) == ["a newcomer", "user_000"]


# The cursor

places = st.builds(Place, st.text("abü", min_size=1), st.integers(0, 9))


@given(st.lists(places, max_size=30).map(tuple))
def test_a_dumped_cursor_keeps_the_last_users_met(met: tuple[Place, ...]) -> None:
    assert Cursor.load(Cursor(met).dump()) == Cursor(met[-Cursor.KEPT :])


@given(st.lists(st.lists(st.integers(0, 40), max_size=8), max_size=8))
def test_a_cursor_knows_the_last_users_each_once_in_the_order_met(pages: list[list[int]]) -> None:
    cursor, order = START, list[str]()
    for page in pages:
        unique = list(dict.fromkeys(f"user_{n}" for n in page))
        cursor = cursor.after([{"id": user_id, "created_at": 1_000} for user_id in unique])
        order = [user_id for user_id in order if user_id not in unique] + unique
    assert [place.id for place in cursor.met] == order


def test_a_cursor_does_not_grow_with_the_walk() -> None:
    cursor = START
    for start in range(0, 1_000, 20):
        cursor = cursor.after([{"id": f"user_{n}", "created_at": n} for n in range(start, start + 20)])
    assert len(cursor.met) == 20


def test_a_user_without_a_date_is_taken_to_be_as_old_as_the_one_before() -> None:
    cursor = START.after([{"id": "a", "created_at": 5}, {"id": "b"}, {"id": "c", "created_at": "soon"}])
    assert [place.created_at for place in cursor.met] == [5, 5, 5]
    assert all(earlier.created_at <= later.created_at for earlier, later in pairwise(cursor.met))
