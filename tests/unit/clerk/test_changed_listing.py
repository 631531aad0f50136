from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clerk_sync.clerk.listing import START, Cursor, walk_changed

SINCE = 1_000


@dataclass
class FakeClerk:
    """Users by the time of their last change, the latest first."""

    changed_at: dict[str, int]
    before_request: Callable[[], None] = lambda: None
    requests: list[dict[str, Any]] = field(default_factory=list)

    def users(self, **query: Any) -> list[Any]:
        self.before_request()
        self.requests.append(query)
        assert len(self.requests) < 200, "the walk does not end"
        assert query["order_by"] == "-updated_at"
        start = query.get("offset", 0)
        return [
            {"id": user_id, "updated_at": self.changed_at[user_id], "created_at": 1}
            for user_id in self.order()[start : start + query["limit"]]
        ]

    def order(self) -> list[str]:
        return sorted(self.changed_at, key=lambda user_id: (-self.changed_at[user_id], user_id))


def clerk_with(recent: int, old: int = 0) -> FakeClerk:
    changed_at = {f"old_{n:03}": SINCE - 1 - n for n in range(old)}
    changed_at |= {f"user_{n:03}": SINCE + n for n in range(recent)}
    return FakeClerk(changed_at)


def ids(page: list[Any]) -> list[str]:
    return [user["id"] for user in page]


def whole_walk(clerk: FakeClerk, limit: int = 50) -> list[str]:
    pages = walk_changed(clerk, START, limit=limit, met=0, since=SINCE)
    return [user_id for page in pages for user_id in ids(page)]


@pytest.mark.parametrize("recent", [0, 1, 49, 50, 51, 90, 130])
@pytest.mark.parametrize("old", [0, 1, 60])
def test_who_changed_since_then_is_met_once_newest_first(recent: int, old: int) -> None:
    clerk = clerk_with(recent, old)
    assert whole_walk(clerk) == clerk.order()[:recent]
    assert len(clerk.requests) <= 2 + recent // 40, "pages overlap by ten, so that gaps show"


def test_nobody_older_is_asked_for_when_all_newer_ones_were_met() -> None:
    clerk = clerk_with(30, old=500)
    whole_walk(clerk)
    assert len(clerk.requests) == 1


def test_a_change_date_that_is_none_does_not_end_the_walk() -> None:
    class Odd(FakeClerk):
        def users(self, **query: Any) -> list[Any]:
            page = super().users(**query)
            return page[:-1] + [{**user, "updated_at": None} for user in page[-1:]]

    clerk = Odd(clerk_with(120).changed_at)
    assert set(whole_walk(clerk)) == set(clerk.changed_at)


@dataclass
class ChangingClerk(FakeClerk):
    script: list[list[tuple[str, int, int]]] = field(default_factory=list)
    disturbed: set[str] = field(default_factory=set)
    now: int = SINCE + 1_000

    def change(self) -> None:
        for what, where, count in self.script.pop() if self.script else []:
            for user_id in self.order()[where : where + count]:
                self.disturbed.add(user_id)
                if what == "delete":
                    del self.changed_at[user_id]
                else:
                    self.now += 1
                    self.changed_at[user_id] = self.now
            if what == "create":
                for _ in range(count):
                    self.now += 1
                    self.changed_at[f"new_{self.now}"] = self.now
                    self.disturbed.add(f"new_{self.now}")


@st.composite
def changing_clerks(draw: st.DrawFn) -> ChangingClerk:
    clerk = ChangingClerk(clerk_with(draw(st.integers(0, 180)), draw(st.integers(0, 60))).changed_at)
    change = st.tuples(
        st.sampled_from(["delete", "touch", "create"]),
        st.integers(0, 200),
        st.sampled_from([1, 9, 10, 11, 70]),
    )
    clerk.script = draw(st.lists(st.lists(change, max_size=2), max_size=6))
    clerk.before_request = clerk.change
    return clerk


def left_alone(clerk: ChangingClerk) -> set[str]:
    return {user_id for user_id, at in clerk.changed_at.items() if at >= SINCE} - clerk.disturbed


@given(changing_clerks(), st.integers(1, 70))
def test_nobody_is_missed_or_repeated_while_users_change_and_go(clerk: ChangingClerk, limit: int) -> None:
    met = whole_walk(clerk, limit)
    assert len(met) == len(set(met)), "somebody is met twice"
    assert left_alone(clerk) <= set(met), "somebody is missed"


@settings(max_examples=40)
@given(changing_clerks(), st.integers(1, 70), st.lists(st.integers(1, 2), max_size=4))
def test_nor_is_anybody_missed_when_it_is_taken_up_again(
    clerk: ChangingClerk, limit: int, pages_before_a_break: list[int]
) -> None:
    met: list[str] = []
    cursor = START
    for count in [*pages_before_a_break, 200]:
        cursor = Cursor.load(cursor.dump())
        for page in islice(walk_changed(clerk, cursor, limit=limit, met=len(met), since=SINCE), count):
            met += ids(page)
            cursor = cursor.after(page)
    assert left_alone(clerk) <= set(met), "somebody is missed"
