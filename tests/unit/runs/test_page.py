import json
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.errors import MessageError, NewerVersion
from clerk_sync.runs import page as page_module
from clerk_sync.runs.page import MAX_BYTES, Page, message_size
from clerk_sync.runs.queue import batches
from clerk_sync.users.fields import DEFAULT_NAMES, FIELDS, FLAG, METADATA, TEXT, TIME, FieldType, synced
from clerk_sync.users.user import MAX_CHARACTERS, Change, Deletion, User, UserProblem, parse_user
from clerk_sync.users.values import MAX_LENGTH, FieldValue, Json
from tests.local.clerk.fake_users import make_users
from tests.support.strategies import ALL_NAMES, NOW, any_text, json_values

MARK = "Quetzalcoatl"
SQS_BYTES = 1024 * 1024
"""What SQS takes as one message."""

_OF_TYPE: dict[FieldType, st.SearchStrategy[FieldValue]] = {
    TEXT: st.text(),
    TIME: st.integers(0, 10**15),
    FLAG: st.booleans().map(Json.of),
    METADATA: st.dictionaries(st.text(min_size=1), st.text() | st.booleans() | st.none()).map(Json.of),
}
users = st.builds(
    User,
    st.text(min_size=1),
    st.integers(0, 10**15),
    st.fixed_dictionaries(
        {},
        optional={name: _OF_TYPE[field.type] for name, field in FIELDS.items() if name != "unsafeMetadata"},
    ),
    st.just(ALL_NAMES),
    st.sampled_from([{}, {"unsafeMetadata": "unsafe_metadata: it is odd"}]),
)
pages = st.builds(
    Page,
    run_id=st.text(),
    number=st.integers(1, 10**8),
    token=st.text(),
    read_at=st.integers(0, 10**15),
    create_missing=st.booleans(),
    dry_run=st.booleans(),
    names=st.just(ALL_NAMES),
    users=st.lists(users, max_size=4).map(tuple),
    deletions=st.lists(st.builds(Deletion, st.text(), st.integers(0, 10**15)), max_size=4).map(tuple),
    webhooks_since=st.none() | st.integers(0, 10**15),
    full_run_at=st.none() | st.integers(0, 10**15),
)


@given(pages)
def test_page_is_loaded_as_it_was_dumped(page: Page) -> None:
    assert Page.load(page.dump()) == page


@given(pages)
def test_message_is_ascii_without_control_characters(page: Page) -> None:
    body = page.dump()
    assert body.isascii()
    assert min(body) >= " "


def test_page_of_every_kind_of_user_is_loaded_as_it_was_dumped() -> None:
    parsed = (parse_user(payload, NOW) for payload in make_users(400))
    found = tuple(user for user in parsed if isinstance(user, User))
    page = example(users=found)
    assert len(found) == 400
    assert Page.load(page.dump()).users == found


def example(**changes: Any) -> Page:
    values: dict[str, Any] = {
        "run_id": "run",
        "number": 1,
        "token": "t",
        "read_at": 5,
        "create_missing": True,
        "dry_run": False,
        "users": (User("user_1", 5, {"firstName": "Ada", "createdAt": 3}),),
    }
    return Page(**values | changes)


def body(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(example().dump())
    return found | changes


def with_user(**changes: Any) -> dict[str, Any]:
    return body(users=[body()["users"][0] | changes])


def flagged(value: Any, name: str = "banned") -> dict[str, Any]:
    """A page that carries one more field, with this value."""
    return with_user(fields={name: value}) | {"names": [*DEFAULT_NAMES, name]}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in body().items() if key != name}


def test_page_carries_deletions_with_their_times() -> None:
    message = body(users=[], deletions=[{"id": "user_1", "at": 7}], webhooks_since=2, full_run_at=3)
    page = Page.load(json.dumps(message))
    assert page == example(users=(), deletions=(Deletion("user_1", 7),), webhooks_since=2, full_run_at=3)
    assert json.loads(page.dump()) == message


REFUSED = {
    "another kind": body(kind=MARK),
    "version zero": body(version=0),
    "a version as text": body(version="1"),
    "another kind of a newer version": body(kind=MARK, version=2),
    "a key too many": body(extra=MARK),
    "a key of a user too many": with_user(extra=MARK),
    "a field that is not synced": with_user(fields={"password": MARK}),
    "a field of the sync's own": with_user(fields={"clerkUpdatedAt": 5}),
    "a field of another type": with_user(fields={"firstName": [MARK]}),
    "a field that is null": with_user(fields={"firstName": None}),
    "a field that is a truth": with_user(fields={"createdAt": True}),
    "a field that is a fraction": with_user(fields={"createdAt": 1.5}),
    "a field that the page does not name": with_user(fields={"phoneNumber": MARK}),
    "a refused field that the page does not name": with_user(refused={"phoneNumber": MARK}),
    "another kind with an unknown field": body(kind=MARK, names=[MARK]),
    "a flag that is a text": flagged("yes"),
    "a flag that is a bare truth": flagged(True),
    "a flag that is a number": flagged({"text": "1"}),
    "metadata that is no object": flagged({"text": "[]"}, "publicMetadata"),
    "metadata that is not JSON": flagged({"text": MARK}, "publicMetadata"),
    "a user without version": with_user(updated_at=None),
    "an id that is no text": with_user(id=7),
    "users that are none": body(users=MARK),
    "deletions that are none": body(deletions=MARK),
    "a deletion that is an id": body(deletions=[MARK]),
    "a deletion without a time": body(deletions=[{"id": MARK}]),
    "a deletion at no time": body(deletions=[{"id": MARK, "at": None}]),
    "a deletion with a key too many": body(deletions=[{"id": "a", "at": 1, MARK: 2}]),
    "webhooks since a text": body(webhooks_since="5"),
    "a full run at a fraction": body(full_run_at=1.5),
    "the number zero": body(number=0),
    "a number as text": body(number="1"),
    "a truth as text": body(dry_run="false"),
    "a truth as number": body(create_missing=1),
    **{f"no {name}": without(name) for name in ("run_id", "number", "token", "read_at", "dry_run", "users")},
    "no object": [MARK],
    "null": None,
}


# Versions


@pytest.fixture
def raise_version(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """As in a release that changes the format, and in those after it."""
    return lambda version: monkeypatch.setattr(page_module, "VERSION", version)


def test_page_of_the_previous_version_is_read(raise_version: Callable[[int], None]) -> None:
    sent = example().dump()
    raise_version(page_module.VERSION + 1)
    assert Page.load(sent) == example(version=page_module.VERSION - 1)
    assert json.loads(example().dump())["version"] == page_module.VERSION


def test_page_of_version_2_carries_the_default_fields() -> None:
    sent = {name: value for name, value in body(version=2).items() if name != "names"}
    assert Page.load(json.dumps(sent)) == example(version=2)


def test_page_of_two_versions_before_is_refused(raise_version: Callable[[int], None]) -> None:
    sent = example().dump()
    raise_version(page_module.VERSION + 2)
    with pytest.raises(MessageError, match="version: it is too old") as error:
        Page.load(sent)
    assert not isinstance(error.value, NewerVersion)


def test_page_names_the_fields_that_are_synced() -> None:
    carried = User("user_1", 5, {"phoneNumber": "+1555"}, (*DEFAULT_NAMES, "phoneNumber", "banned"))
    refused = User("user_2", 5, {}, carried.names, {"banned": "it is odd"})
    page = Page.load(example(names=carried.names, users=(carried, refused)).dump())
    assert page.users == (carried, refused)
    assert json.loads(page.dump())["names"] == list(carried.names)
    part = Page.load(page.next_part(page.users[1:], page.done).dump())
    assert (part.names, part.users) == (carried.names, (refused,))


def test_next_part_has_the_users_and_deletions_that_are_left() -> None:
    user, deletion = User("user_1", 1, {}), Deletion("user_2", 5)
    page = example(users=(user,), deletions=(deletion,))
    lefts: list[list[Change]] = [[user, deletion], [deletion], [user]]
    for left in lefts:
        assert page.next_part(left, page.done).changes == left


@pytest.mark.parametrize("changes", [{}, {"users": MARK}, {"extra": MARK}, {"number": None}])
def test_page_of_a_newer_version_is_recognized_whatever_changed(changes: dict[str, Any]) -> None:
    with pytest.raises(NewerVersion) as error:
        Page.load(json.dumps(body(version=page_module.VERSION + 1) | changes))
    assert MARK not in str(error.value)


def test_page_with_a_field_that_a_newer_version_syncs_is_of_a_newer_version() -> None:
    """While a new version is deployed, its pages may reach a worker of the version before."""
    page = with_user(fields={"nickname": MARK}) | {"names": [*DEFAULT_NAMES, "nickname"]}
    with pytest.raises(NewerVersion) as error:
        Page.load(json.dumps(page))
    assert MARK not in str(error.value)


@pytest.mark.parametrize("message", REFUSED.values(), ids=REFUSED.keys())
def test_message_that_is_not_a_page_is_refused_without_quoting_it(message: Any) -> None:
    with pytest.raises(MessageError) as error:
        Page.load(json.dumps(message))
    assert not isinstance(error.value, NewerVersion)
    assert MARK not in str(error.value)


@pytest.mark.parametrize(
    "message",
    [
        "",
        MARK,
        f'{{"kind": "{MARK}',
        f'{{"kind": {MARK}}}',
        f'"{MARK}\\ud800"',
        f'{{"{MARK}\x00": 1}}',
        "[" * 100_000,
    ],
)
def test_message_that_is_not_json_is_refused_without_quoting_it(message: str) -> None:
    with pytest.raises(MessageError) as error:
        Page.load(message)
    assert MARK not in str(error.value)


@given(
    json_values
    | st.dictionaries(st.sampled_from([*body(), "other"]), json_values).map(lambda odd: body() | odd)
)
def test_any_message_is_a_page_or_refused(message: Any) -> None:
    try:
        page = Page.load(json.dumps(message))
    except MessageError:
        return
    assert json.loads(page.dump()) == message


@given(any_text)
def test_any_text_is_refused(message: str) -> None:
    with pytest.raises(MessageError):
        Page.load(message)


@pytest.mark.parametrize("message", [body(**{MARK: 1}), with_user(fields={MARK: [1]})])
def test_unknown_keys_are_not_quoted(message: Any) -> None:
    with pytest.raises(MessageError) as error:
        Page.load(json.dumps(message))
    assert MARK not in str(error.value)


# Cutting

problems = st.builds(UserProblem, st.none() | st.text(), st.text())


def bytes_of(part: Any) -> int:
    return sum(
        len(json.dumps({"id": user.id, "updated_at": user.updated_at, "fields": user.fields}, default=asdict))
        for user in part
        if isinstance(user, User)
    )


@given(st.lists(users | problems, max_size=12), st.integers(1, 1_000))
def test_parts_hold_every_user_in_order_within_the_limit(
    everybody: list[User | UserProblem], most: int
) -> None:
    parts = list(batches(everybody, message_size, most, 999))
    assert [user for part in parts for user in part] == everybody
    assert all(parts) or not everybody
    for part in parts:
        assert bytes_of(part) <= most or len(part) == 1 + sum(isinstance(u, UserProblem) for u in part)
    # Not many more of them than needed: sizes are taken as they are at worst.
    for part, following in pairwise(parts):
        assert sum(300 + 12 * bytes_of([user]) for user in [*part, following[0]]) > most


def test_full_page_of_usual_users_is_one_part() -> None:
    [part] = batches([parse_user(payload, NOW) for payload in make_users(500)], message_size, MAX_BYTES, 999)
    assert len(part) == 500


@pytest.mark.parametrize("character", ["a", "ü", "\x00", "\U0001f98a"])
def test_longest_possible_users_fit_in_messages(character: str) -> None:
    longest = User("user_" + "x" * 250, 5, {"firstName": character * MAX_CHARACTERS})
    for part in batches([longest] * 5 + [User("u", 1, {})] * 500, message_size, MAX_BYTES, 999):
        assert len(example(users=tuple(part)).dump()) < SQS_BYTES


@pytest.mark.parametrize("character", ["a", '"', "\u00fc", "\U0001f98a"])
def test_full_page_of_users_with_8_kb_of_metadata_fits_in_messages(character: str) -> None:
    size = len(character.encode())
    metadata = {f"key {n}": character * (100 // size) for n in range(70)}
    names = synced(["publicMetadata"])
    payloads = [payload | {"public_metadata": metadata} for payload in make_users(500)]
    parts = list(
        batches([parse_user(payload, NOW, names) for payload in payloads], message_size, MAX_BYTES, 999)
    )
    bodies = [
        example(names=names, users=tuple(user for user in part if isinstance(user, User))).dump()
        for part in parts
    ]
    assert max(map(len, bodies)) < SQS_BYTES
    assert sum(map(len, parts)) == 500
    assert all(user.fields["publicMetadata"] == Json.of(metadata) for user in Page.load(bodies[0]).users)


@pytest.mark.parametrize("character", ["a", "\x00", "\U0001f98a"])
def test_longest_possible_users_with_metadata_fit_in_messages(character: str) -> None:
    longest = Json.of({"a": '"' * (MAX_LENGTH // 2 - 10)})
    names = synced(["publicMetadata", "unsafeMetadata"])
    fields: dict[str, FieldValue] = {"publicMetadata": longest, "unsafeMetadata": longest}
    user = User("u" * 255, 5, {"firstName": character * MAX_CHARACTERS, **fields}, names)
    for part in batches([user] * 3, message_size, MAX_BYTES, 999):
        assert len(example(names=names, users=tuple(part)).dump()) < SQS_BYTES
