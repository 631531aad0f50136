"""What the properties are tried on."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from clerk_sync.users.drift import Finding, FindingKind
from clerk_sync.users.fields import FIELDS, FLAG, METADATA, TEXT, TIME, FieldType
from clerk_sync.users.user import Change, Deletion, SignIn, User
from clerk_sync.users.values import FieldValue, Json, Opaque, Value
from clerk_sync.users.write_rule import ACTIVITY, DELETED, VERSION, owned

NOW = 1_800_000_000_000
"""The clock: later than any time here."""
TIMES = ("lastSignInAt", "createdAt", "lastActiveAt")

any_text = st.text(st.characters(exclude_categories=()), max_size=12)
"""Halves of surrogate pairs too."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)

CLERK_NAMES = (
    "id",
    "updated_at",
    "first_name",
    "last_name",
    "username",
    "image_url",
    "last_sign_in_at",
    "created_at",
    "last_active_at",
    "primary_email_address_id",
    "email_addresses",
    "primary_phone_number_id",
    "phone_numbers",
    "external_id",
    "banned",
    "legal_accepted_at",
    "public_metadata",
    "unsafe_metadata",
)

metadata = st.sampled_from(
    [{}, {"plan": "pro"}, {"a": [None, True, 1, 1.5, {}]}, {"a": [None, 1, 1, "1.5", []]}]
)
_OF_TYPE: dict[FieldType, st.SearchStrategy[FieldValue]] = {
    TEXT: st.sampled_from(["", "a", "b"]),
    TIME: st.integers(0, 9),
    FLAG: st.booleans().map(Json.of),
    METADATA: metadata.map(Json.of),
}
ALL_NAMES = tuple(FIELDS)
ALL_OWNED = owned(ALL_NAMES)

fields: st.SearchStrategy[Mapping[str, FieldValue]] = st.fixed_dictionaries(
    {}, optional={name: _OF_TYPE[field.type] for name, field in FIELDS.items()}
)
"""Of all fields in the catalogue."""

_ONE_ID = st.just("user_1")
_VERSIONS = st.integers(0, 9)


def users(
    ids: st.SearchStrategy[str] = _ONE_ID, versions: st.SearchStrategy[int] = _VERSIONS
) -> st.SearchStrategy[User]:
    return st.builds(plausible, ids, versions, fields)


def plausible(user_id: str, version: int, values: Mapping[str, FieldValue]) -> User:
    """A snapshot as Clerk may give it: no activity after its own version."""
    return User(
        user_id,
        version,
        {
            name: min(value, version) if name in ACTIVITY and isinstance(value, int) else value
            for name, value in values.items()
        },
        ALL_NAMES,
    )


changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(User, _ONE_ID, _VERSIONS, fields, st.just(ALL_NAMES)),
    users(),
    st.builds(Deletion, _ONE_ID, _VERSIONS),
    st.builds(SignIn, _ONE_ID, _VERSIONS),
)
"""Of one user. `lastActiveAt` moves without a new version, so some snapshots are active after theirs."""

findings = st.builds(
    Finding,
    st.sampled_from(FindingKind),
    st.lists(st.sampled_from(ALL_NAMES), unique=True, max_size=3).map(tuple),
    st.booleans(),
)

odd_values: st.SearchStrategy[Value] = st.sampled_from(
    [
        Opaque({"NULL": True}),
        Json("false"),
        Json("true"),
        Json("{}"),
        1,
        "",
        "17",
        Opaque({"N": "1.5"}),
        Opaque({"L": []}),
        Opaque({"M": {"a": {"SS": ["a"]}}}),
        Opaque({"SS": ["a"]}),
    ]
)

app_attributes: st.SearchStrategy[dict[str, Value]] = st.dictionaries(
    st.sampled_from(["theme", "orders", "clerkOther", "updatedAt"]), odd_values
)


_right_values: dict[str, st.SearchStrategy[Value]] = {
    **{name: _OF_TYPE[field.type] for name, field in FIELDS.items()},
    **dict.fromkeys((VERSION, DELETED), st.integers(0, 9)),
}

rows: st.SearchStrategy[dict[str, Value]] = st.builds(
    lambda theirs, mine: {**theirs, **mine},
    app_attributes,
    st.fixed_dictionaries({}, optional={name: right | odd_values for name, right in _right_values.items()}),
)
"""With and without a version or a mark; placeholders and values of wrong types; an app's own."""


def owned_part(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ALL_OWNED if name in row}


def foreign_part(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ALL_OWNED}


def stored_as(user: User) -> dict[str, Any]:
    """The owned attributes of a row that holds just this snapshot."""
    return {**user.fields, VERSION: user.updated_at}
