"""The user record: what is kept of a Clerk user, whichever way it arrived."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clerk_sync.clock import is_from_future
from clerk_sync.users.fields import DEFAULT_NAMES, FIELDS, TEXT, TIME, FieldType, Names
from clerk_sync.users.values import FieldValue, Json, check_text

MAX_ID_LENGTH = 255
"""Clerk's have some 32 characters. A key of DynamoDB holds 2,048 bytes, and a longer one fails its batch."""
MAX_CHARACTERS = 64_000
"""Of all texts of a user. A row of DynamoDB holds 400 KB, the app's attributes included."""
MAX_MS = 10**15
"""No time of Clerk's is this far from 1970, and a number of DynamoDB has 38 digits."""
FIRST_VERSION = 1
"""The lowest version of a snapshot: 0 is that of a row without one."""


@dataclass(frozen=True, slots=True)
class UserProblem:
    """A user that could not be synced, and why. `clerk_user_id` is None if it is not known either."""

    clerk_user_id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class User:
    """One snapshot of a Clerk user.

    `updated_at` (ms) is the snapshot's version. `names` are the fields that are synced, and `fields` the
    values of those that are not null in Clerk. `refused` says of some why the snapshot does not carry them:
    their attributes stay as they are stored.
    """

    id: str
    updated_at: int
    fields: Mapping[str, FieldValue]
    names: Names = DEFAULT_NAMES
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def problem(self) -> UserProblem | None:
        """The fields that were refused, as a problem."""
        reasons = [f"{name} is not stored, unlike the rest: {why}" for name, why in self.refused.items()]
        return UserProblem(self.id, "; ".join(reasons)) if reasons else None


@dataclass(frozen=True, slots=True)
class Deletion:
    """A user was deleted in Clerk, at `at` (ms). Clerk deletes for good and never reuses an id."""

    id: str
    at: int


@dataclass(frozen=True, slots=True)
class SignIn:
    """A user signed in, at `at` (ms); nothing else is known of them."""

    id: str
    at: int


Change = User | Deletion | SignIn
"""What can happen to a row."""


def is_id(value: Any) -> bool:
    """Whether this looks like one of Clerk's ids, so that it may be a key, part of a URL, and logged."""
    return (
        isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH and value.isascii() and value.isprintable()
    )


def parse_user(payload: Any, now: int, names: Names = DEFAULT_NAMES) -> User | UserProblem:
    """Turn one Clerk user object, from the API or a webhook, into a snapshot that carries these fields.

    A malformed user is a problem that names Clerk's keys, never their values. A malformed extra field, or one
    that DynamoDB can't hold, is refused and does not affect the others. A time more than a day ahead of `now`
    (ms) is not Clerk's: in `updated_at` it makes the user malformed, elsewhere it is absent. So is empty
    text.
    """
    payload = payload if isinstance(payload, dict) else {}
    fields: dict[str, FieldValue] = {}
    refused: dict[str, str] = {}
    try:
        user_id: Any = _read("id", payload.get("id"), TEXT)
        version: Any = _read("updated_at", payload.get("updated_at"), TIME)
        if not user_id or len(user_id) > MAX_ID_LENGTH:
            raise ValueError(f"id: it must have 1 to {MAX_ID_LENGTH} characters")
        if is_from_future(version, now):
            raise ValueError("updated_at: more than a day in the future")
        left = MAX_CHARACTERS
        for name in names:
            try:
                value = _field_value(name, payload)
                size = len(value) if isinstance(value, str) else 0
                if size > left:
                    raise ValueError(f"{name}: the user has more than {MAX_CHARACTERS:,} characters of text")
                left -= size
            except ValueError as error:
                if name in DEFAULT_NAMES:
                    raise
                refused[name] = str(error)
                continue
            if value not in (None, "") and not (isinstance(value, int) and is_from_future(value, now)):
                fields[name] = value
    except ValueError as error:
        user_id = payload.get("id")
        return UserProblem(user_id if is_id(user_id) else None, f"Clerk's user is malformed: {error}")
    return User(user_id, max(version, FIRST_VERSION), fields, names, refused)


def _field_value(name: str, payload: Mapping[str, Any]) -> FieldValue | None:
    source, kind = FIELDS[name].source, FIELDS[name].type
    if isinstance(source, str):
        value = payload.get(source)
        return None if value is None else _read(source, value, kind)
    primary_id, items = payload.get(source.primary_id), payload.get(source.items)
    if primary_id is None or not isinstance(items, list):
        return None
    _read(source.primary_id, primary_id, kind)
    for item in items:
        if isinstance(item, dict) and item.get("id") == primary_id:
            return _read(source.items, item.get(source.value), kind)
    return None


def _read(key: str, value: Any, kind: FieldType) -> FieldValue:
    """Raises ValueError, which names Clerk's key and quotes no value."""
    try:
        if type(value) is not kind.python_type or (kind is TIME and value < -MAX_MS):
            raise ValueError(f"it is not {kind.noun}")
        if kind is TEXT:
            return check_text(value)
        return value if kind is TIME else Json.of(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
