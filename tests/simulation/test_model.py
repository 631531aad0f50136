"""Clerk, all that is on its way from it, and the app, in any order there can be: what the table holds
meanwhile, and what it holds in the end."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from clerk_sync.clock import DAY_MS
from clerk_sync.errors import ClerkUnavailable, UserUnknown
from clerk_sync.profile.profile import CLAIM_MS, Profiles
from clerk_sync.runs.page import Page
from clerk_sync.users.fields import DEFAULT_NAMES
from clerk_sync.users.upsert import store, upsert
from clerk_sync.users.user import Change, Deletion, User, UserProblem, parse_user
from clerk_sync.users.write_rule import (
    ACTIVITY,
    DELETED,
    DELETION_GRACE_MS,
    GUARDS,
    SIGNED_IN,
    VERSION,
    Row,
    is_marked,
    number,
    snapshot_version,
    without_future_times,
)
from clerk_sync.webhook.event import Ignored, parse_webhook
from tests.support.fake_refresh_claims import FakeRefreshClaims
from tests.support.fake_users_table import FakeUsersTable, is_unmarked
from tests.support.strategies import app_attributes, foreign_part, odd_values, owned_part, stored_as

START = 1_800_000_000_000
IDS = tuple(f"user_{n}" for n in range(2))
LAGS = (0, 1, DELETION_GRACE_MS // 2, DELETION_GRACE_MS)

Delivery = tuple[str, str]
"""A kind, "webhook" or "page", and a body."""

ids = st.sampled_from(IDS)
some_ids = st.lists(ids, min_size=1, max_size=6)
lags = st.sampled_from(LAGS)
numbers = st.integers(0, 10_000)
edits = st.fixed_dictionaries(
    {},
    optional={
        "first_name": st.sampled_from([None, "", "Ada", "Zoë"]),
        "last_name": st.sampled_from([None, "Abel"]),
        "username": st.sampled_from([None, "ada"]),
        "image_url": st.sampled_from([None, "https://img.invalid/1"]),
        "primary_email_address_id": st.sampled_from([None, "idn_1", "idn_2"]),
    },
)
placeholders = st.fixed_dictionaries(
    {},
    optional={
        "firstName": st.just("Test") | odd_values,
        "lastSignInAt": st.sampled_from([1, START * 3]) | odd_values,
        "lastActiveAt": st.just(START + 5) | odd_values,
        "createdAt": odd_values,
    },
)
"""What an app may have put where the synced fields go, before anybody synced."""


class Sync(RuleBasedStateMachine):
    """Clerk's reads lag behind by up to the grace. Its webhooks come in any order, more than once or not at
    all; so do pages, with what was read a while before. Of writes at the same time one comes first, and the
    other finds out."""

    @initialize(create_missing=st.booleans())
    def start(self, create_missing: bool) -> None:
        self.now = START
        self.create_missing = create_missing
        self.history: dict[str, list[tuple[int, dict[str, Any] | None]]] = {user_id: [] for user_id in IDS}
        """Each state that a user of Clerk's has had, and since when; None: deleted."""
        self.on_the_way: list[Delivery] = []
        self.meanwhile: list[Delivery] = []
        """What arrives while a page load is asking Clerk."""
        self.apps: dict[str, dict[str, Any]] = {}
        self.told_deleted: set[str] = set()
        self.before: dict[str, Row] = {}
        self.table = FakeUsersTable()
        self.profiles = Profiles(
            self.table,
            FakeRefreshClaims(),
            self.ask_clerk,
            max_age_ms=0,
            create_missing=create_missing,
            sleep=self.sleep,
        )

    # Clerk

    def state(self, user_id: str, lag: int = 0) -> dict[str, Any] | None:
        """Who Clerk says it is, or said it was that long ago."""
        seen = [state for at, state in self.history[user_id] if at <= self.now - lag]
        return seen[-1] if seen else None

    def alive(self) -> list[str]:
        return [user_id for user_id in IDS if self.state(user_id)]

    def is_deleted(self, user_id: str) -> bool:
        return bool(self.history[user_id]) and self.state(user_id) is None

    def become(self, user_id: str, state: dict[str, Any] | None) -> None:
        self.history[user_id].append((self.now, state))

    def send(self, kind: str, data: Mapping[str, Any]) -> None:
        body = json.dumps({"type": kind, "timestamp": self.now, "data": data})
        self.on_the_way.append(("webhook", body))

    def tick(self) -> None:
        self.now += 1

    @rule(user_id=ids, edit=edits)
    def create(self, user_id: str, edit: dict[str, Any]) -> None:
        if self.history[user_id]:
            return  # no id is given out again
        self.tick()
        addresses = [{"id": f"idn_{n}", "email_address": f"{n}@post.invalid"} for n in (1, 2)]
        state = {"id": user_id, "created_at": self.now, "updated_at": self.now, "email_addresses": addresses}
        self.become(user_id, state | edit)
        self.send("user.created", state | edit)

    @precondition(lambda self: self.alive())
    @rule(which=numbers, edit=edits)
    def change_profile(self, which: int, edit: dict[str, Any]) -> None:
        user_id, state = self.somebody(which)
        self.become(user_id, state | edit | {"updated_at": self.now})
        self.send("user.updated", state | edit | {"updated_at": self.now})

    @precondition(lambda self: self.alive())
    @rule(which=numbers, makes_version=st.booleans(), embeds_user=st.booleans())
    def sign_in(self, which: int, makes_version: bool, embeds_user: bool) -> None:
        user_id, state = self.somebody(which)
        state |= {"last_sign_in_at": self.now, "last_active_at": self.now}
        state |= {"updated_at": self.now} if makes_version else {}
        self.become(user_id, state)
        self.send("session.created", {"user_id": user_id} | ({"user": state} if embeds_user else {}))

    @precondition(lambda self: self.alive())
    @rule(which=numbers)
    def be_active(self, which: int) -> None:
        """No new version and no webhook."""
        user_id, state = self.somebody(which)
        self.become(user_id, state | {"last_active_at": self.now})

    @precondition(lambda self: self.alive())
    @rule(which=numbers, lags=st.booleans())
    def delete(self, which: int, lags: bool) -> None:
        """Which the next page may not show yet."""
        user_id, _ = self.somebody(which)
        self.become(user_id, None)
        self.send("user.deleted", {"id": user_id, "object": "user", "deleted": True})
        if lags:
            self.now += DELETION_GRACE_MS // 2
            seen = self.state(user_id, DELETION_GRACE_MS // 2 + 1)
            self.on_the_way.append(("page", self.page([seen] if seen else []).dump()))

    def somebody(self, which: int) -> tuple[str, dict[str, Any]]:
        """One of those there are, a millisecond later."""
        self.tick()
        user_id = self.alive()[which % len(self.alive())]
        return user_id, dict(self.state(user_id) or {})

    @rule(ms=st.sampled_from([1, CLAIM_MS + 1, DELETION_GRACE_MS, DELETION_GRACE_MS + 1]))
    def wait(self, ms: int) -> None:
        self.now += ms

    # What is on its way

    @rule(user_ids=some_ids, lag=lags, older=lags)
    def read_page(self, user_ids: list[str], lag: int, older: int) -> None:
        """A user who is listed twice on a page may have changed in between."""
        self.tick()
        seen = [self.state(user_id, lag if n % 2 else older) for n, user_id in enumerate(user_ids)]
        self.on_the_way.append(("page", self.page([state for state in seen if state]).dump()))

    @rule()
    def find_deletions(self) -> None:
        """As an audit does: synced rows, not marked, of whom Clerk has none."""
        self.tick()
        gone = [i for i, row in self.table.rows.items() if is_unmarked(row, self.now)]
        deletions = tuple(Deletion(i, self.now) for i in gone if self.is_deleted(i))
        self.on_the_way.append(("page", self.page((), deletions).dump()))

    def page(self, states: Iterable[dict[str, Any]], deletions: tuple[Deletion, ...] = ()) -> Page:
        return Page(
            run_id="run",
            number=1,
            token="made up",
            read_at=self.now,
            create_missing=self.create_missing,
            dry_run=False,
            users=tuple(parsed(state) for state in states),
            deletions=deletions,
        )

    @precondition(lambda self: self.on_the_way)
    @rule(which=numbers, keep=st.booleans(), unseen=st.sets(ids))
    def arrive(self, which: int, keep: bool, unseen: set[str]) -> None:
        self.deliver(self.taken(which, keep), unseen)

    @precondition(lambda self: self.on_the_way)
    @rule(which=numbers)
    def arrive_twice(self, which: int) -> None:
        delivery = self.taken(which, keep=False)
        self.deliver(delivery)
        writes = len(self.table.written)
        self.deliver(delivery)
        assert len(self.table.written) == writes, "the second time there was something to write still"

    @precondition(lambda self: len(self.on_the_way) > 1)
    @rule(which=numbers, rivals=st.lists(numbers, min_size=1, max_size=3), unseen=st.sets(ids))
    def arrive_at_once(self, which: int, rivals: list[int], unseen: set[str]) -> None:
        """The others between the reading and the writing of the first."""
        delivery = self.taken(which, keep=False)
        others = [self.on_the_way[rival % len(self.on_the_way)] for rival in rivals]
        self.table.rivals = [lambda other=other: self.deliver(other) for other in others]  # type: ignore[misc]
        self.deliver(delivery, unseen)
        self.table.rivals.clear()

    @precondition(lambda self: any(kind == "webhook" for kind, _ in self.on_the_way))
    @rule(which=numbers)
    def lose_webhook(self, which: int) -> None:
        webhooks = [one for one in self.on_the_way if one[0] == "webhook"]
        self.on_the_way.remove(webhooks[which % len(webhooks)])

    def taken(self, which: int, keep: bool) -> Delivery:
        at = which % len(self.on_the_way)
        return self.on_the_way[at] if keep else self.on_the_way.pop(at)

    def deliver(self, delivery: Delivery, unseen: Iterable[str] = ()) -> None:
        kind, body = delivery
        # Who makes no rows leaves one that the app made just now to the next run.
        self.table.unseen = set(unseen) if self.create_missing else set()
        if kind == "webhook":
            event = parse_webhook(body.encode(), self.now)
            assert not isinstance(event.change, UserProblem | Ignored)
            changes: list[Change] = [event.change]
            row = self.table.get(event.change.id)
            store(
                self.table,
                event.change,
                row,
                as_of=event.as_of,
                now=self.now,
                create_missing=self.create_missing,
            )
        else:
            page = Page.load(body)
            changes = [*page.users, *page.deletions]
            outcome = upsert(
                self.table, changes, as_of=page.read_at, now=self.now, create_missing=page.create_missing
            )
            assert outcome.problems == []
        self.table.unseen = set()
        for change in changes:
            row = self.known(change.id)
            assert row is not None or not self.create_missing
            if row is not None and isinstance(change, User):
                assert (number(row, VERSION) or 0) >= change.updated_at
            if row is not None and isinstance(change, Deletion):
                assert DELETED in row
                self.told_deleted.add(change.id)

    # Page loads

    @rule(user_id=ids, lag=lags, arriving=st.lists(numbers, max_size=2))
    def load_page(self, user_id: str, lag: int, arriving: list[int]) -> None:
        self.tick()
        self.lag = lag
        self.meanwhile = [self.on_the_way[n % len(self.on_the_way)] for n in arriving if self.on_the_way]
        with patch("clerk_sync.profile.profile.now_ms", lambda: self.now):
            try:
                profile = self.profiles.ensure(user_id)
            except ClerkUnavailable:  # a new user whom Clerk does not know yet
                assert arriving or snapshot_version(self.table.get(user_id), self.now) is None
                return
        if profile and not arriving:
            assert profile.row == self.table.get(user_id)

    def ask_clerk(self, user_id: str) -> Any:
        state = self.state(user_id, self.lag)
        self.tick()
        while self.meanwhile:
            self.deliver(self.meanwhile.pop())
        if state is None:
            raise UserUnknown
        return state

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds * 1000)

    # The app

    @rule(user_id=ids, values=app_attributes, made_up=placeholders)
    def the_app_writes(self, user_id: str, values: Row, made_up: Row) -> None:
        """In a row that nobody has synced it may fill in ours as well, until Clerk's are known."""
        row = self.table.rows.setdefault(user_id, {})
        row |= values
        if VERSION not in row and DELETED not in row:
            row |= made_up
        self.apps[user_id] = self.apps.get(user_id, {}) | dict(values)

    @precondition(lambda self: self.table.rows)
    @rule(which=numbers, name=st.sampled_from(GUARDS))
    def a_time_from_the_future_gets_in(self, which: int, name: str) -> None:
        """By an import in another unit, say. What was stored there is lost, until Clerk is heard of again."""
        user_id = sorted(self.table.rows)[which % len(self.table.rows)]
        self.table.rows[user_id][name] = self.now * 1000
        self.before[user_id] = self.known(user_id) or {}
        if name == DELETED:
            self.told_deleted.discard(user_id)

    def known(self, user_id: str) -> Row | None:
        """The row as the write rule takes it."""
        row = self.table.rows.get(user_id)
        return None if row is None else without_future_times(row, self.now)

    # What holds at any time

    @invariant()
    def holds(self) -> None:
        before, rows = self.before, {user_id: self.known(user_id) or {} for user_id in self.table.rows}
        assert before.keys() <= rows.keys()
        for user_id, row in rows.items():
            was = before.get(user_id, {})
            assert foreign_part(row) == self.apps.get(user_id, {})
            assert DELETED not in row or self.is_deleted(user_id)
            self.assert_not_back(row, was)
            self.assert_as_clerk_was(user_id, row)
            assert DELETED in row or user_id not in self.told_deleted
        self.before = {user_id: dict(row) for user_id, row in rows.items()}

    def assert_not_back(self, row: Row, was: Row) -> None:
        """Only a sign-in that an event alone reported may: a list that lags behind does not show it yet."""
        version = number(was, VERSION)
        for name in GUARDS if version else (DELETED,):
            now, then = number(row, name), number(was, name)
            if then is None or (name == SIGNED_IN and version and then > version):
                continue
            assert now is not None, f"{name} is gone"
            assert now >= then, f"{name} went back"

    def assert_as_clerk_was(self, user_id: str, row: Row) -> None:
        """All of one version, and no activity that was not."""
        version = number(row, VERSION)
        states = [state for _, state in self.history[user_id] if state]
        if version is None:
            return
        for name in ACTIVITY if version else (SIGNED_IN,):
            assert row.get(name) in [None, *(stored(state).get(name) for state in states)]
        if version:
            same = [of_a_version(stored(state)) for state in states if state["updated_at"] == version]
            assert of_a_version(row) in same

    # What holds in the end

    def teardown(self) -> None:
        if not hasattr(self, "table"):
            return
        self.holds()
        while self.on_the_way:
            self.deliver(self.taken(-1 if len(self.on_the_way) % 2 else 0, keep=False))
            self.holds()
        self.now += DELETION_GRACE_MS + 1
        states = [state for user_id in self.alive() if (state := self.state(user_id))]
        marked = {user_id: dict(row) for user_id, row in self.table.rows.items() if is_marked(row, self.now)}
        self.deliver(("page", self.page(states).dump()))
        self.holds()
        for state in states:
            row = self.table.rows.get(state["id"])
            assert row is not None or not self.create_missing
            if row is not None:
                assert owned_part(row) == stored(state)
        assert {user_id: self.table.rows[user_id] for user_id in marked} == marked
        self.find_deletions()
        self.deliver(self.taken(0, keep=False))
        self.holds()
        for user_id, row in self.table.rows.items():
            is_synced = snapshot_version(row, self.now) is not None
            assert is_marked(row, self.now) == self.is_deleted(user_id) or not is_synced


def parsed(state: dict[str, Any]) -> User:
    user = parse_user(state, START + DAY_MS)
    assert isinstance(user, User)
    return user


def stored(state: dict[str, Any]) -> dict[str, Any]:
    return stored_as(parsed(state))


def of_a_version(row: Row) -> dict[str, Any]:
    """What changes with the version and not without."""
    return {name: row[name] for name in DEFAULT_NAMES if name in row and name not in ACTIVITY}


TestSync = Sync.TestCase
TestSync.settings = settings(max_examples=200, stateful_step_count=40, deadline=None, derandomize=True)
