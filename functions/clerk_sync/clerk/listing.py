"""The walks over the users of a Clerk instance: all of them, or those that changed lately.

All of them, or those of a span of creation times, come oldest first, each once. A cursor costs the same
however deep it is and, other than an offset, skips nobody when somebody is deleted meanwhile. What Clerk
answers when the cursor's own user was deleted is not documented, so every reading of it is provided for: a
refusal, an empty page, a page from the start, a page from that place.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple, Protocol

from clerk_sync.errors import ClerkUnavailable, CursorRefused
from clerk_sync.users.user import is_id


class Clerk(Protocol):
    """The part of ClerkClient that a walk needs."""

    def users(self, **query: str | int) -> list[Any]: ...


class Place(NamedTuple):
    """A user that was met: id and created_at (ms)."""

    id: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a walk has got to: the last users met, oldest first. Empty before the first page."""

    met: tuple[Place, ...] = ()

    KEPT = 10

    def dump(self, kept: int = KEPT) -> list[list[str | int]]:
        """The cursor as JSON has it, short enough to store with each page."""
        return [[place.id, place.created_at] for place in self.met[-kept:]]

    @classmethod
    def load(cls, dumped: list[list[Any]]) -> "Cursor":
        """The reverse of `dump`."""
        return cls(tuple(Place(user_id, created_at) for user_id, created_at in dumped))

    def after(self, users: list[Any]) -> "Cursor":
        """The cursor once these users were met, too or again."""
        last = self.met[-1].created_at if self.met else 0
        places = []
        for user in users:
            if user_id := _id(user):
                last = created_at(user) or last
                places.append(Place(user_id, last))
        again = {place.id for place in places}
        met = (*(place for place in self.met if place.id not in again), *places)
        # Whoever shares the last created_at stays known: asking by time gives all of them again.
        tied = sum(1 for _ in takewhile(lambda place: place.created_at == last, reversed(met)))
        return Cursor(met[-max(len(places), tied, self.KEPT) :])

    def candidates(self) -> list[Place]:
        """The users to go on from: the last one, and a few earlier ones should that one be gone."""
        picked = [self.met[-n] for n in (1, 2, self.KEPT) if n <= len(self.met)]
        return list(dict.fromkeys(picked))


START = Cursor()


@dataclass(frozen=True, slots=True)
class Span:
    """Users created from `since` to just before `before` (ms); None: no bound."""

    since: int | None = None
    before: int | None = None

    def holds(self, user: Any) -> bool:
        """Whether a user is from that time; one without a date is taken to be."""
        at = created_at(user)
        return at is None or (
            (self.since is None or at >= self.since) and (self.before is None or at < self.before)
        )

    def ends_in(self, page: list[Any]) -> bool:
        """Whether a page goes on beyond it."""
        at = created_at(page[-1]) if page else None
        return at is not None and self.before is not None and at >= self.before

    def query(self) -> dict[str, int]:
        """Clerk's filters for it. Whether they include their bounds is not documented: these hold all of it
        either way, and `holds` takes out what is too much."""
        since = {} if self.since is None else {"created_at_after": self.since - 1}
        before = {} if self.before is None else {"created_at_before": self.before}
        return since | before


EVER = Span()


def walk(
    clerk: Clerk, cursor: Cursor, *, limit: int, met: int, expected: float, span: Span = EVER
) -> Iterator[list[Any]]:
    """Yield pages of user objects of a span that were not met before, oldest first.

    `met` users were met up to `cursor`; `expected` is Clerk's own count when the run began. A page that
    is not full ends the walk only if nobody is missing by that count, else when one more request finds
    nobody. A walk that is taken up again knows its last ten users: if its cursor's user is gone by then,
    some of those who share the last one's millisecond may be met again, never missed. Raises what
    ClerkClient raises.
    """
    nameless: list[Any] = []
    from_last = True
    while True:
        page, is_full = _next_page(clerk, cursor, limit, span, from_last=from_last)
        known = {place.id for place in cursor.met}
        fresh = [u for u in page if (i := _id(u)) not in known and (i or u not in nameless) and span.holds(u)]
        moved = cursor.after(page)
        if fresh:
            yield fresh
        met += len(fresh)
        if span.ends_in(page) or (not is_full and (met >= expected or not fresh)):
            return
        if moved == cursor and not fresh:
            raise ClerkUnavailable("Clerk's pages repeat: none goes on from the users met so far")
        cursor, from_last = moved, is_full
        nameless = [user for user in page if _id(user) is None]


def walk_changed(clerk: Clerk, cursor: Cursor, *, limit: int, met: int, since: int) -> Iterator[list[Any]]:
    """Yield pages of user objects not met before whose `updated_at` is `since` (ms) or later, newest first.

    Clerk has no filter for that, only an order with offsets. Who changes during the walk moves to its
    front, behind us: the next walk's affair. Who is deleted moves the rest up, so each page must begin
    with somebody already met; if it does not, the walk steps back. One that is taken up again knows its
    last ten users, and may meet others again. Raises what ClerkClient raises.
    """
    known = {place.id for place in cursor.met}
    limit = max(limit, 5 * Cursor.KEPT)
    offset = max(0, met - Cursor.KEPT)
    while True:
        page = clerk.users(order_by="-updated_at", limit=limit, offset=offset)
        if offset and not any(_id(user) in known for user in page):
            offset = max(0, offset - limit + Cursor.KEPT)
            continue
        fresh = [user for user in page if _id(user) not in known and not _is_older(user, since)]
        if fresh:
            yield fresh
        known.update(user_id for user in page if (user_id := _id(user)))
        if len(page) < limit or _is_older(page[-1], since):
            return
        offset += len(page) - Cursor.KEPT


def _is_older(user: Any, since: int) -> bool:
    found = user.get("updated_at") if isinstance(user, dict) else None
    return type(found) is int and found < since


def _next_page(
    clerk: Clerk, cursor: Cursor, limit: int, span: Span, *, from_last: bool
) -> tuple[list[Any], bool]:
    """The page after the cursor, and whether it is full, so that more may follow.

    Only a page that holds somebody is believed: an empty one may be due to the cursor's user having been
    deleted, so it is asked for again from an earlier user, behind whom there is at least the last one.
    """
    if not cursor.met:
        page = clerk.users(limit=limit, **span.query())
        return page, len(page) >= limit
    for place in cursor.candidates()[0 if from_last else 1 :]:
        # Behind an earlier user come some already met, and the page must be longer than those.
        if place != cursor.met[-1]:
            limit = max(limit, 5 * cursor.KEPT)
        with suppress(CursorRefused):
            page = clerk.users(limit=limit, starting_after=place.id, **span.query())
            if page and _goes_on_from(place, page):
                return page, len(page) >= limit
    limit = max(limit, 5 * cursor.KEPT)
    rest = Span(cursor.met[-1].created_at, span.before)
    page = clerk.users(limit=limit, **rest.query())
    return page, len(page) >= limit


def _goes_on_from(place: Place, page: list[Any]) -> bool:
    return all((created_at(user) or place.created_at) >= place.created_at for user in page)


def created_at(user: Any) -> int | None:
    """When a user object says that it was made (ms)."""
    found = user.get("created_at") if isinstance(user, dict) else None
    return found if type(found) is int else None


def _id(user: Any) -> str | None:
    found = user.get("id") if isinstance(user, dict) else None
    return found if is_id(found) else None
