"""The users of the simulated instance, and the pages of a listing."""

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from tests.local.clerk.answers import Query, invalid, not_found, to_json
from tests.local.clerk.fake_users import User
from tests.local.clerk.queries import (
    FIRST,
    LAST,
    Place,
    facts_of,
    filters_of,
    number,
    order_of,
    place_of,
    rank_of,
)

type GoneCursor = Literal["reject", "empty", "position", "restart"]
"""What a cursor gets whose user was deleted: an error, an empty page, the page after where the user was, or
the first page."""

_HIGHEST_LIMIT = 500
_DEFAULT_LIMIT = 10


@dataclass(frozen=True)
class _Row:
    body: bytes
    place: Place
    facts: User


class InstanceUsers:
    """The users of the instance. Not thread-safe: the caller locks it.

    Users whose id is not a text are kept as `nameless_1`, `nameless_2` and so on.
    """

    def __init__(self, gone_cursor: GoneCursor) -> None:
        self._gone_cursor = gone_cursor
        self._rows: dict[str, _Row] = {}
        self._by_created: list[Place] = []
        self._other_orders: dict[str, list[Place]] = {}  # sorted when needed
        self._gone: dict[str, Place] = {}
        self._nameless = 0

    def __len__(self) -> int:
        return len(self._rows)

    def keys(self) -> list[str]:
        return [key for _, key in self._by_created]

    def body(self, key: str) -> bytes | None:
        row = self._rows.get(key)
        return row.body if row else None

    def add(self, user: User) -> None:
        key = user.get("id")
        if not isinstance(key, str):
            self._nameless += 1
            key = f"nameless_{self._nameless}"
        if key in self._rows:
            raise ValueError(f"there is a user {key} already")
        self._put(key, user)

    def update(self, key: str, fields: User) -> None:
        user = json.loads(self._rows[key].body) | fields
        self._take(key)
        self._put(key, user)

    def delete(self, key: str) -> None:
        self._gone[key] = self._take(key).place

    def page(self, query: Query) -> list[bytes]:
        """The users of one page in order, as JSON. Raises RefusedError."""
        order, descending = order_of(query)
        limit = number(query, "limit", _DEFAULT_LIMIT, least=1)
        if limit > _HIGHEST_LIMIT:
            limit = _DEFAULT_LIMIT
        offset = number(query, "offset")
        places = self._places(order, query.get("user_id"))
        low, high = 0, len(places)
        if "starting_after" in query:
            if order != "created_at" or offset:
                message = "starting_after needs created_at ordering and no offset"
                raise invalid("starting_after", message)
            cursor = self._cursor(query["starting_after"][0], descending)
            if descending:
                high = bisect_left(places, cursor)
            else:
                low = bisect_right(places, cursor)
        if order == "created_at" and "created_at_after" in query:
            low = max(low, bisect_left(places, (rank_of(number(query, "created_at_after")), "")))
        if order == "created_at" and "created_at_before" in query:
            high = min(high, bisect_left(places, (rank_of(number(query, "created_at_before")), "")))
        indexes = range(high - 1, low - 1, -1) if descending else range(low, high)
        matching = self._matching((places[i] for i in indexes), query)
        return [row.body for row in islice(matching, offset, offset + limit)]

    def count(self, query: Query) -> int:
        places = self._places("created_at", query.get("user_id"))
        return sum(1 for _ in self._matching(places, query))

    def _put(self, key: str, user: User) -> None:
        row = _Row(to_json(user), place_of(user, key, "created_at"), facts_of(user))
        self._rows[key] = row
        self._gone.pop(key, None)
        insort(self._by_created, row.place)
        self._other_orders.clear()

    def _take(self, key: str) -> _Row:
        row = self._rows.pop(key)
        del self._by_created[bisect_left(self._by_created, row.place)]
        self._other_orders.clear()
        return row

    def _places(self, order: str, ids: Iterable[str] | None) -> Sequence[Place]:
        """All users, or those with these ids, in ascending order."""
        if ids is not None:
            keys = self._rows.keys() & set(ids)
            return sorted(place_of(self._rows[key].facts, key, order) for key in keys)
        if order == "created_at":
            return self._by_created
        if order not in self._other_orders:
            self._other_orders[order] = sorted(
                place_of(row.facts, key, order) for key, row in self._rows.items()
            )
        return self._other_orders[order]

    def _matching(self, places: Iterable[Place], query: Query) -> Iterator[_Row]:
        filters = filters_of(query)
        rows = (self._rows[key] for _, key in places)
        return (row for row in rows if all(matches(row.facts) for matches in filters))

    def _cursor(self, key: str, descending: bool) -> Place:
        """The place after which a page starts."""
        start, end = (LAST, FIRST) if descending else (FIRST, LAST)
        if key in self._rows:
            return self._rows[key].place
        match self._gone_cursor:
            case "restart":
                return start
            case "empty":
                return end
            case "position" if key in self._gone:
                return self._gone[key]
            case _:
                raise not_found("The user of starting_after was not found")
