"""The walk over all users in several windows of creation times at once.

One cursor is as slow as Clerk's answers: at 200 ms each it reads 5 pages a second, of the 100 that Clerk
allows. So a walk that has far to go is split into windows, each with a cursor of its own. When how many users
were created is not known beforehand, and a bulk import puts them all into one second; so whenever there is
room, the window that was just asked for is split if it seems to have much left. A small instance stays one.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import inf
from queue import SimpleQueue
from typing import Any, Protocol

from clerk_sync.clerk.listing import EVER, START, Clerk, Cursor, Span, created_at, walk
from clerk_sync.clock import now_ms

PAGES_WORTH_A_WINDOW = 6
"""A window costs a request that gives less than a page, in vain where it was thought to hold many."""
KEPT_OF_EACH = 3
"""How many of the last users met are written down for each of several windows: DynamoDB charges by the KB."""


@dataclass(frozen=True, slots=True)
class Window:
    """A span of creation times, and how far it has been walked."""

    span: Span = EVER
    cursor: Cursor = START

    def after(self, users: list[Any]) -> "Window":
        """The window once these users of it were met, too or again."""
        return replace(self, cursor=self.cursor.after(users))

    def split(self, end: int, parts: int) -> list["Window"]:
        """What is left of it, as up to so many windows of which those before `end` (ms) are as long as each
        other. The first has the cursor."""
        start = self.cursor.met[-1].created_at + 1
        bounds = sorted({start + (end - start) * part // parts for part in range(1, parts)} - {start})
        sinces, befores = [self.span.since, *bounds], [*bounds, self.span.before]
        windows = [Window(Span(since, before)) for since, before in zip(sinces, befores, strict=True)]
        return [replace(windows[0], cursor=self.cursor), *windows[1:]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk has got to: the windows that are not done, by when they begin."""

    windows: Mapping[int | None, Window]

    def dump(self) -> list[list[Any]]:
        """As JSON has it, short enough to store with each page."""
        kept = Cursor.KEPT if len(self.windows) == 1 else KEPT_OF_EACH
        return [[w.span.since, w.span.before, w.cursor.dump(kept)] for w in self.windows.values()]

    @classmethod
    def load(cls, dumped: list[list[Any]]) -> "Place":
        """The reverse of `dump`."""
        return cls.at(Window(Span(since, before), Cursor.load(met)) for since, before, met in dumped)

    @classmethod
    def at(cls, windows: Iterable[Window]) -> "Place":
        """A place with these windows."""
        return cls({window.span.since: window for window in windows})

    @property
    def cursor(self) -> Cursor:
        """That of the only window there is."""
        (window,) = self.windows.values()
        return window.cursor

    def moved(self, window: Window) -> "Place":
        """The same with a window that has got further."""
        return Place({**self.windows, window.span.since: window})


BEGINNING = Place.at([Window()])


@dataclass(frozen=True, slots=True)
class Found:
    """Users who were not met before, of one window at its `place`. Clerk was asked at `asked_at` (ms)."""

    users: list[Any]
    asked_at: int
    window: Window
    place: Place

    def place_after(self, users: int) -> Place:
        """Where the walk is after the first so many of them."""
        return self.place.moved(self.window.after(self.users[:users]))


@dataclass(frozen=True, slots=True)
class Step:
    """What asking for the next users of a window came to; None: there are none."""

    since: int | None
    users: list[Any] | None
    asked_at: int


class Lanes(Protocol):
    """Where requests run side by side, up to `number` at once."""

    @property
    def number(self) -> int: ...

    def start(self, step: Callable[[], Step]) -> None: ...

    def take(self) -> list[Step]:
        """What the steps came to that are done, once one is. Raises what one of them raised."""
        ...

    def close(self) -> None: ...


class Threads:
    """Lanes that are threads."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._threads = ThreadPoolExecutor(number)
        self._done = SimpleQueue[Future[Step]]()

    def start(self, step: Callable[[], Step]) -> None:
        self._threads.submit(step).add_done_callback(self._done.put)

    def take(self) -> list[Step]:
        done = [self._done.get()]
        while not self._done.empty():
            done.append(self._done.get())
        return [step.result() for step in done]

    def close(self) -> None:
        # Not waiting for those under way: they end with the connection.
        self._threads.shutdown(wait=False, cancel_futures=True)


def walk_windows(
    clerk: Clerk, place: Place, lanes: Lanes, *, limit: int, met: int, expected: int
) -> Generator[list[Found]]:
    """Yield the users who were not met before, each once: whatever has come, in the order of its places.

    `met` were met up to `place`; `expected` is Clerk's own count when the run began. Where fewer were met
    when all windows have come to a page that is not full, each is gone on with until it has nobody. One
    that is taken up again knows fewer of the last users met: see `walk`. Raises what ClerkClient raises.
    """
    windows = _Windows(clerk, lanes, limit, met, expected)
    try:
        yield from windows.walk(list(place.windows.values()), expected if len(place.windows) == 1 else 0)
        if windows.met < expected and len(windows.ended) > 1:
            yield from windows.walk([*windows.ended], inf)
    finally:
        lanes.close()


class _Windows:
    """The windows of a walk, each with one request under way."""

    def __init__(self, clerk: Clerk, lanes: Lanes, limit: int, met: int, expected: int) -> None:
        self._clerk = clerk
        self._lanes = lanes
        self._limit = limit
        self._expected = expected
        self._newest: int | None = None
        self._walks: dict[int | None, Iterator[list[Any]]] = {}
        self._open: dict[int | None, Window] = {}
        self.met = met
        self.ended: list[Window] = []

    def walk(self, windows: list[Window], expected: float) -> Iterator[list[Found]]:
        """Walk these, and what they are split into, to their ends; `expected` is for each as for `walk`."""
        for window in windows:
            self._begin(window, expected)
        while self._open:
            yield [found for step in self._lanes.take() if (found := self._went_on(step))]

    def _went_on(self, step: Step) -> Found | None:
        """What the step found, with the window's next request, or those of its parts, under way."""
        window = self._open[step.since]
        if step.users is None:
            del self._open[step.since]
            self.ended.append(window)
            return None
        found = Found(step.users, step.asked_at, window, Place(dict(self._open)))
        self.met += len(step.users)
        window = window.after(step.users)
        parts = window.split(self._end(window), n) if (n := self._parts(window, step.users)) > 1 else []
        if len(parts) > 1:
            for part in parts:
                self._begin(part, 0)
        else:
            self._open[step.since] = window
            self._ask(step.since)
        return found

    def _begin(self, window: Window, expected: float) -> None:
        since = window.span.since
        self._open[since] = window
        self._walks[since] = walk(
            self._clerk, window.cursor, limit=self._limit, met=self.met, expected=expected, span=window.span
        )
        self._ask(since)

    def _ask(self, since: int | None) -> None:
        users = self._walks[since]

        def step() -> Step:
            asked_at = now_ms()
            return Step(since, next(users, None), asked_at)

        self._lanes.start(step)

    def _parts(self, window: Window, users: list[Any]) -> int:
        """Into how many the window is to be split, going by how close together its last users are."""
        free = self._lanes.number - len(self._open)
        left = self._expected - self.met
        first, last = created_at(users[0]), created_at(users[-1])
        worth = PAGES_WORTH_A_WINDOW * self._limit
        if free < 1 or left < 2 * worth or len(users) < self._limit or first is None or last is None:
            return 1
        there = len(users) / (last - first + 1) * (self._end(window) - last)
        return int(min(free + 1, left // worth, there // worth))

    def _end(self, window: Window) -> int:
        """Until when there may be users in the window (ms)."""
        if window.span.before is not None:
            return window.span.before
        if self._newest is None:
            newest = self._clerk.users(order_by="-created_at", limit=1)
            self._newest = (created_at(newest[0]) if newest else None) or 0
        return self._newest + 1
