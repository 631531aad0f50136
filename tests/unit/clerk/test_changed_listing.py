from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.clerk.listing import DEEPEST_OFFSET, ListedUsers, TooManyChanges, list_changed
from clerk_sync.errors import ClerkUnavailable

SINCE = 1_000


@dataclass
class FakeClerk:
    """Users by the time of their last change, the latest first."""

    changed_at: dict[str, int]
    before_request: Callable[[], None] = lambda: None
    requests: list[dict[str, Any]] = field(default_factory=list)

    def count(self) -> int:
        return len(self.changed_at)

    def users(self, **query: Any) -> list[Any]:
        self.before_request()
        self.requests.append(query)
        assert len(self.requests) < 200, "the listing does not end"
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


def listed_pages(clerk: FakeClerk, limit: int, checkpoint: Checkpoint | None = None) -> Iterator[ListedUsers]:
    pages = list_changed(clerk, checkpoint or Checkpoint(), limit=limit, since=SINCE)
    return chain.from_iterable(pages)


def ids(listed: ListedUsers) -> list[str]:
    return [user["id"] for user in listed.users]


def all_ids(clerk: FakeClerk, limit: int = 50) -> list[str]:
    return [user_id for listed in listed_pages(clerk, limit) for user_id in ids(listed)]


@pytest.mark.parametrize("recent", [0, 1, 49, 50, 51, 90, 130])
@pytest.mark.parametrize("old", [0, 1, 60])
def test_users_changed_since_then_are_listed_once_newest_first(recent: int, old: int) -> None:
    clerk = clerk_with(recent, old)
    assert all_ids(clerk) == clerk.order()[:recent]
    assert len(clerk.requests) <= 2 + 3 * (not old) + recent // 40, "pages overlap by ten, so that gaps show"


def test_older_users_are_not_requested_once_all_newer_ones_were_listed() -> None:
    clerk = clerk_with(30, old=500)
    all_ids(clerk)
    assert len(clerk.requests) == 1


def test_a_user_without_updated_at_does_not_end_the_listing() -> None:
    class Odd(FakeClerk):
        def users(self, **query: Any) -> list[Any]:
            page = super().users(**query)
            return page[:-1] + [{**user, "updated_at": None} for user in page[-1:]]

    clerk = Odd(clerk_with(120).changed_at)
    assert set(all_ids(clerk)) == set(clerk.changed_at)


@pytest.mark.parametrize("most", [2, 10, 11, 49])
@pytest.mark.parametrize("old", [0, 60])
def test_page_that_clerk_cuts_does_not_end_the_listing(most: int, old: int) -> None:
    class Cutting(FakeClerk):
        def users(self, **query: Any) -> list[Any]:
            return super().users(**query)[:most]

    clerk = Cutting(clerk_with(90, old).changed_at)
    assert all_ids(clerk) == clerk.order()[:90]


@pytest.mark.parametrize(("number", "most"), [(1, 0), (3, 0), (3, 5), (3, 10), (5, 0), (5, 5)])
def test_one_page_that_clerk_cuts_to_no_new_users_does_not_end_the_listing(number: int, most: int) -> None:
    class Cutting(FakeClerk):
        def users(self, **query: Any) -> list[Any]:
            page = super().users(**query)
            return page[:most] if len(self.requests) == number else page

    clerk = Cutting(clerk_with(130).changed_at)
    assert all_ids(clerk) == clerk.order()


@pytest.mark.parametrize("most", [0, 10])
def test_pages_that_clerk_always_cuts_to_no_new_users_are_an_error(most: int) -> None:
    class Cutting(FakeClerk):
        def users(self, **query: Any) -> list[Any]:
            page = super().users(**query)
            return page if query["limit"] == 1 else page[: max(0, most - query["offset"])]

    with pytest.raises(ClerkUnavailable, match="more users who changed"):
        all_ids(Cutting(clerk_with(90).changed_at))


@pytest.mark.parametrize("where", [0, 2, 45, 59])
@pytest.mark.parametrize("recent", [3, 60])
def test_entry_without_an_id_is_listed_once(recent: int, where: int) -> None:
    class Odd(FakeClerk):
        def users(self, **query: Any) -> list[Any]:
            page = super().users(**query)
            return [{"id": None} if user["id"] == self.order()[where % recent] else user for user in page]

    clerk = Odd(clerk_with(recent).changed_at)
    listed = all_ids(clerk)
    assert len(listed) == recent
    assert listed.count(cast(Any, None)) == 1


@dataclass
class ChangingClerk(FakeClerk):
    """Some users are changed, deleted or created before each request, for as long as the script lasts."""

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

    def undisturbed(self) -> set[str]:
        return {user_id for user_id, at in self.changed_at.items() if at >= SINCE} - self.disturbed


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


@given(changing_clerks(), st.integers(1, 70))
def test_every_user_is_listed_once_while_users_change_and_go(clerk: ChangingClerk, limit: int) -> None:
    listed = all_ids(clerk, limit)
    assert len(listed) == len(set(listed)), "a user is listed twice"
    assert clerk.undisturbed() <= set(listed), "a user is missed"


@settings(max_examples=40)
@given(changing_clerks(), st.integers(1, 70), st.lists(st.integers(1, 2), max_size=4))
def test_every_user_is_listed_when_the_listing_is_resumed_from_its_checkpoint(
    clerk: ChangingClerk, limit: int, pages_before_a_break: list[int]
) -> None:
    seen: list[str] = []
    checkpoint = Checkpoint()
    for pages in [*pages_before_a_break, 200]:
        checkpoint = Checkpoint.load(checkpoint.dump())
        assert checkpoint.listed == len(seen)
        for listed in islice(listed_pages(clerk, limit, checkpoint), pages):
            seen += ids(listed)
            checkpoint = listed.checkpoint_after(len(listed.users))
    assert clerk.undisturbed() <= set(seen), "a user is missed"


@pytest.mark.parametrize(("recent", "old"), [(DEEPEST_OFFSET, 0), (DEEPEST_OFFSET, 9)])
def test_as_many_changes_as_the_deepest_offset_are_listed(recent: int, old: int) -> None:
    assert len(all_ids(clerk_with(recent, old), 500)) == recent


@pytest.mark.parametrize(("recent", "old"), [(DEEPEST_OFFSET + 1, 0), (DEEPEST_OFFSET + 9, 9)])
def test_more_changes_than_the_deepest_offset_are_too_many(recent: int, old: int) -> None:
    clerk = clerk_with(recent, old)
    with pytest.raises(TooManyChanges):
        all_ids(clerk, 500)
    assert [request["offset"] for request in clerk.requests] == [0, DEEPEST_OFFSET]


def test_resumed_listing_continues_even_if_too_many_users_changed_meanwhile() -> None:
    clerk = clerk_with(DEEPEST_OFFSET - 300)
    first = next(listed_pages(clerk, 500))
    for number in range(400):
        clerk.changed_at[f"new_{number}"] = SINCE + DEEPEST_OFFSET + number
    rest = listed_pages(clerk, 500, first.checkpoint_after(len(first.users)))
    assert set(clerk_with(DEEPEST_OFFSET - 300).changed_at) - set(ids(first)) <= {
        user_id for listed in rest for user_id in ids(listed)
    }
