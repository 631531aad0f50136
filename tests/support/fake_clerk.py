"""A Clerk in memory whose users come and go while it is listed, and the strategies that make one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from hypothesis import strategies as st

from clerk_sync.clerk.client import ClerkClient
from clerk_sync.errors import ClerkRefused, CursorRefused

OnDeleted = Literal["reject", "empty", "position", "restart"]
ON_DELETED: tuple[OnDeleted, ...] = ("reject", "empty", "position", "restart")

TOO_MANY = 400
"""Requests that no listing of these few users needs."""


class ClerkInMemory(ClerkClient):
    """A client that makes no requests: what uses it says what it answers."""

    def __init__(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def instance_id(self) -> str:
        return "ins_1"


@dataclass
class FakeClerk:
    """Users by creation time, then id.

    `on_deleted` is the answer to a cursor whose user was deleted. `most` is the most users that a page has,
    whatever its limit. `cut` may shorten a page, given the number of its request. `overcounts_by` is how many
    users more it counts than it has. Unless it `takes_negative_times`, it refuses them in a filter.
    """

    on_deleted: OnDeleted = "reject"
    includes_bound: bool = True
    takes_negative_times: bool = True
    most: int = TOO_MANY
    overcounts_by: int = 0
    before_request: Callable[[], None] = lambda: None
    cut: Callable[[int, list[Any]], list[Any]] = lambda _, page: page
    alive: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    odd: dict[str, Any] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    counts: int = 0

    def add(self, user_id: str, created_at: int) -> None:
        self.alive[user_id] = created_at

    def delete(self, user_id: str) -> None:
        self.gone[user_id] = self.alive.pop(user_id)

    def count(self) -> int:
        self.counts += 1
        return len(self.alive) + self.overcounts_by

    def users(self, **query: Any) -> list[Any]:
        self.before_request()
        self.requests.append(query)
        assert len(self.requests) < TOO_MANY, "the listing does not end"
        everybody = sorted((created_at, user_id) for user_id, created_at in self.alive.items())
        if query.get("order_by") == "-created_at":
            return [self._payload(*one) for one in everybody[: -query["limit"] - 1 : -1]]
        since = query.get("created_at_after")
        if since is not None:
            if since < 0 and not self.takes_negative_times:
                raise ClerkRefused("422")
            everybody = [
                one for one in everybody if one[0] > since or (self.includes_bound and one[0] == since)
            ]
        if "starting_after" in query:
            everybody = self._after(query["starting_after"], everybody)
        page = [self._payload(*one) for one in everybody[: min(query["limit"], self.most)]]
        return self.cut(len(self.requests), page)

    def _after(self, cursor: str, users: list[tuple[int, str]]) -> list[tuple[int, str]]:
        if cursor not in self.alive:
            assert cursor in self.gone, "the cursor was never a user"
            if self.on_deleted == "reject":
                raise CursorRefused("404")
            if self.on_deleted == "empty":
                return []
            if self.on_deleted == "restart":
                return users
        place = ({**self.alive, **self.gone}[cursor], cursor)
        return [one for one in users if one > place]

    def _payload(self, created_at: int, user_id: str) -> Any:
        return self.odd.get(user_id, {"id": user_id, "created_at": created_at})


def clerk_with(*created_at: int, **settings: Any) -> FakeClerk:
    clerk = FakeClerk(**settings)
    for number, at in enumerate(created_at):
        clerk.add(f"user_{number:03}", at)
    return clerk


def clerk_with_gaps(gaps: list[int], start: int = 1, **settings: Any) -> FakeClerk:
    """Users of whom each was created so many ms after the one before."""
    return clerk_with(*(sum(gaps[: n + 1]) + start for n in range(len(gaps))), **settings)


def ids(pages: Iterable[list[Any]]) -> list[Any]:
    return [user["id"] if isinstance(user, dict) else user for page in pages for user in page]


limits = st.integers(1, 7)
behaviours = st.sampled_from(ON_DELETED)
gaps = st.sampled_from([0, 0, 1, 5])
"""Between one creation and the next, in ms: many users share theirs."""
starts = st.sampled_from([1_000, -40, 0])
"""When the first user was created, in ms."""
ids_at_random = st.permutations(range(100))


@dataclass
class ChangingClerk(FakeClerk):
    """Some users come and go before each request, for as long as the script lasts. `listed` returns the ids
    listed so far."""

    script: list[list[tuple[int, int]]] = field(default_factory=list)
    names: list[int] = field(default_factory=list)
    now: int = 0
    at_start: frozenset[str] = frozenset()
    listed: Callable[[], list[Any]] = list

    def sign_up(self, gap: int) -> None:
        self.now += gap
        self.add(f"user_{self.names.pop():03}", self.now)

    def change(self) -> None:
        for which, gap in self.script.pop() if self.script else []:
            if which < 0:
                self.sign_up(max(gap, 1))  # time has moved on since the listing began
            elif self.alive:
                # The users around the cursor are those that matter, so they go most often.
                nearest = [user_id for user_id in reversed(self.listed()) if user_id in self.alive]
                candidates = [*nearest, *sorted(self.alive)]
                self.delete(candidates[which % len(candidates)])

    def check(self, listed: list[Any]) -> None:
        """Raises AssertionError unless each user who was there throughout was listed once."""
        assert len(listed) == len(set(listed)), "a user is listed twice"
        assert set(self.at_start & self.alive.keys()) <= set(listed), "a user is missed"


@st.composite
def changing_clerks(draw: st.DrawFn, ties: bool = True) -> ChangingClerk:
    clerk = ChangingClerk(on_deleted=draw(behaviours), includes_bound=draw(st.booleans()), now=draw(starts))
    clerk.names = draw(ids_at_random)
    fewest = draw(st.sampled_from([0, 15]))  # more than a cursor keeps, often
    for gap in draw(st.lists(gaps if ties else st.just(1), min_size=fewest, max_size=30)):
        clerk.sign_up(gap)
    clerk.at_start = frozenset(clerk.alive)
    change = st.tuples(st.integers(-1, 5), gaps)
    clerk.script = draw(st.lists(st.lists(change, max_size=4), max_size=12))
    clerk.before_request = clerk.change
    return clerk
