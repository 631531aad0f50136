"""Webhooks and runs meet in any order, and the row ends the same."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clerk_sync.users.upsert import store, upsert
from clerk_sync.users.user import Change, Deletion, SignIn, User
from clerk_sync.users.values import FieldValue
from clerk_sync.users.write_rule import ACTIVITY, DELETED, DELETION_GRACE_MS, SIGNED_IN, VERSION, Row, number
from tests.support.fake_users_table import FakeUsersTable
from tests.support.strategies import ALL_NAMES, fields, stored_as

ID = "user_1"
MINUTE = 60_000
START = 1_800_000_000_000
PLACEHOLDER = {"firstName": "Test", "lastSignInAt": 999, "email": "user@example.com"}
APPS = {"plan": "pro"}


@dataclass(frozen=True)
class Webhook:
    """What an event tells, and its own timestamp."""

    change: Change
    at: int


@dataclass(frozen=True)
class Listing:
    """What a run read from Clerk, and when."""

    users: tuple[User, ...]
    at: int


def end_of(arrivals: Iterable[Webhook | Listing], start: Row | None) -> Row:
    table = FakeUsersTable({} if start is None else {ID: start})
    for arrival in arrivals:
        if isinstance(arrival, Listing):
            upsert(table, arrival.users, as_of=arrival.at, now=arrival.at, create_missing=True)
        else:
            store(table, arrival.change, table.get(ID), as_of=arrival.at, now=arrival.at, create_missing=True)
    return table.rows[ID]


def expected_end(sources: Sequence[Webhook | Listing]) -> dict[str, Any]:
    """The newest snapshot, the latest activity, the mark."""
    users = [user for one in sources if isinstance(one, Listing) for user in one.users]
    changes = [one.change for one in sources if isinstance(one, Webhook)]
    users += [change for change in changes if isinstance(change, User)]
    sign_ins = [change.at for change in changes if isinstance(change, SignIn)]
    end = stored_as(max(users, key=lambda user: user.updated_at))
    latest: dict[str, list[int]] = {name: [] for name in ACTIVITY}
    latest[SIGNED_IN] = sign_ins
    for user in users:
        for name in set(ACTIVITY) & user.fields.keys():
            latest[name].append(number(user.fields, name) or 0)
    end |= {name: max(times) for name, times in latest.items() if times}
    marks = [change.at for change in changes if isinstance(change, Deletion)]
    return end | ({DELETED: max(marks)} if marks else {})


# One life, exhaustively


def life(session_at: int, *, embedded: bool) -> tuple[list[Webhook], list[Listing]]:
    """The five events of a user, who signs in as the `session_at`th thing of their life; and what Clerk lists
    before each of them and at the end."""
    events: list[Webhook] = []
    listings = [Listing((), START)]
    known: dict[str, str | int] = {}
    steps: list[dict[str, str | int | None] | None] = [
        {"firstName": "Ada", "email": "ada@post.invalid", "createdAt": START + MINUTE},
        {"firstName": "Ada", "lastName": "Abel"},
        {"firstName": "Eve", "email": None},
    ]
    steps.insert(session_at, None)
    for n, step in enumerate(steps, 1):
        at = START + n * MINUTE
        if step is None:
            known |= dict.fromkeys(ACTIVITY, at)
        else:
            changed = known | step
            known = {name: value for name, value in changed.items() if value is not None}
        user = User(ID, at, dict(known))
        events.append(Webhook(SignIn(ID, at) if step is None and not embedded else user, at))
        listings.append(Listing((user,), at + 1))
    deleted_at = START + 5 * MINUTE
    events.append(Webhook(Deletion(ID, deleted_at), deleted_at))
    # Clerk's own reads lag behind: for a while they still show who was deleted.
    lagging = Listing(listings[-1].users, deleted_at + DELETION_GRACE_MS)
    return events, [*listings, lagging, Listing((), deleted_at + 2 * DELETION_GRACE_MS)]


def with_a_run(events: Sequence[Webhook], listing: Listing) -> Iterator[list[Webhook | Listing]]:
    for order in permutations(events):
        for place in range(len(order) + 1):
            yield [*order[:place], listing, *order[place:]]


@pytest.mark.parametrize("start", [None, APPS | PLACEHOLDER], ids=["no row", "placeholder"])
@pytest.mark.parametrize("embedded", [True, False], ids=["session with user", "session alone"])
@pytest.mark.parametrize("session_at", [1, 2, 3])
def test_webhooks_in_any_order_around_a_run_leave_the_same_row(
    session_at: int, embedded: bool, start: Row | None
) -> None:
    events, listings = life(session_at, embedded=embedded)
    kept = {} if start is None else APPS
    for listing in listings:
        end = kept | expected_end([*events, listing])
        assert {DELETED, VERSION, SIGNED_IN, "lastName", "createdAt"} <= end.keys()
        assert end["firstName"] == "Eve"
        assert "email" not in end
        for arrivals in with_a_run(events, listing):
            assert end_of(arrivals, start) == end, arrivals


# Any life


@st.composite
def lives(draw: st.DrawFn) -> list[Webhook | Listing]:
    """What there is to tell of a user, in any order and repetition, with runs at any time."""
    now, sign_in, users = START, None, list[User]()
    sources: list[Webhook | Listing] = []
    for _ in range(draw(st.integers(1, 5))):
        now += draw(st.integers(1, 5)) * MINUTE
        if signs_in := draw(st.booleans()):
            sign_in = now
            if draw(st.booleans()):
                sources.append(Webhook(SignIn(ID, now), now))
        now += draw(st.integers(0, 3))
        active: dict[str, FieldValue] = {} if sign_in is None else dict.fromkeys(ACTIVITY, sign_in)
        values = {name: value for name, value in draw(fields).items() if name not in ACTIVITY}
        users.append(User(ID, now, values | active, ALL_NAMES))
        if not signs_in or draw(st.booleans()):
            sources.append(Webhook(users[-1], now))
        if draw(st.booleans()):
            sources.append(Listing((users[-1],), now + draw(st.integers(0, MINUTE - 4))))
    sources.append(Webhook(users[-1], now))
    if draw(st.booleans()):
        deleted_at = now + MINUTE
        sources.append(Webhook(Deletion(ID, deleted_at), deleted_at))
        lag = draw(st.integers(0, DELETION_GRACE_MS))
        sources.append(Listing(draw(st.sampled_from([(), (users[-1],)])), deleted_at + lag))
    again = draw(st.lists(st.sampled_from(sources), max_size=5))
    return draw(st.permutations([*sources, *again]))


@given(lives(), st.sampled_from([None, APPS, APPS | PLACEHOLDER]))
@settings(max_examples=300)
def test_repeated_and_late_changes_leave_the_same_row(
    arrivals: list[Webhook | Listing], start: Row | None
) -> None:
    kept = {} if start is None else APPS
    assert end_of(arrivals, start) == kept | expected_end(arrivals)
