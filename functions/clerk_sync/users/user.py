"""The user record: what is kept of a Clerk user, whichever way it arrived."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from clerk_sync.clock import is_from_future
from clerk_sync.users.fields import DEFAULT_NAMES, FIELDS, Field, FieldType, Names, Primary
from clerk_sync.users.values import FieldValue, Json

MAX_ID_LENGTH = 255
"""Clerk's have some 32 characters. A key of DynamoDB holds 2,048 bytes, and a longer one fails its batch."""
MAX_CHARACTERS = 64_000
"""Of all texts of a user. A row of DynamoDB holds 400 KB, the app's attributes included."""
MAX_MS = 10**15
"""No time of Clerk's is this far from 1970, and a number of DynamoDB has 38 digits."""
FIRST_VERSION = 1
"""The lowest version of a snapshot: 0 is that of a row without one."""


@dataclass(frozen=True, slots=True)
class User:
    """One snapshot of a Clerk user.

    `updated_at` (ms) is the snapshot's version. `names` are the fields that it carries, and `fields` the
    values of those that are not null in Clerk. `refused` says of other fields why it does not carry them:
    their attributes stay as they are stored.
    """

    id: str
    updated_at: int
    fields: Mapping[str, FieldValue]
    names: Names = DEFAULT_NAMES
    refused: Mapping[str, str] = field(default_factory=dict)

    def refusing(self, name: str, reason: str) -> Self:
        """The snapshot without this field."""
        return replace(
            self,
            fields={other: value for other, value in self.fields.items() if other != name},
            names=tuple(other for other in self.names if other != name),
            refused={**self.refused, name: reason},
        )

    def lighter(self, reason: str) -> Self | None:
        """The snapshot without its largest metadata, for a row that DynamoDB refuses; None if it has none."""
        metadata = [name for name in self.names if FIELDS[name].type is FieldType.METADATA]
        sizes = {len(str(self.fields[name])): name for name in metadata if name in self.fields}
        return self.refusing(sizes[max(sizes)], reason) if sizes else None

    @property
    def problem(self) -> "UserProblem | None":
        """The fields that it does not carry, as a problem; None if there are none."""
        if not self.refused:
            return None
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.refused.items())
        return UserProblem(self.id, f"Not stored, unlike the other fields: {reasons}")


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


@dataclass(frozen=True, slots=True)
class UserProblem:
    """A user that could not be synced, and why. `clerk_user_id` is None if it is not known either."""

    clerk_user_id: str | None
    reason: str


def parse_user(payload: Any, now: int, names: Names = DEFAULT_NAMES) -> User | UserProblem:
    """Turn one Clerk user object, from the API or a webhook, into a snapshot that carries these fields.

    A malformed user is a problem that names Clerk's keys, never their values. A malformed extra field, or one
    that DynamoDB can't hold, is refused and does not affect the others. A time more than a day ahead of `now`
    (ms) is not Clerk's: in `updated_at` it makes the user malformed, elsewhere it is absent. So is empty
    text.
    """
    user_id: Any = payload.get("id") if isinstance(payload, dict) else None
    try:
        if not isinstance(payload, dict):
            raise ValueError("it is not an object")
        if not _read("id", _text, user_id) or len(user_id) > MAX_ID_LENGTH:
            raise ValueError(f"id: it has no or more than {MAX_ID_LENGTH} characters")
        version = _read("updated_at", _time, payload.get("updated_at"))
        if is_from_future(version, now):
            raise ValueError("updated_at: more than a day in the future")
        fields: dict[str, FieldValue] = {}
        refused: dict[str, str] = {}
        for name in names:
            try:
                _add(fields, FIELDS[name], payload, now)
            except ValueError as error:
                if name in DEFAULT_NAMES:
                    raise
                refused[name] = str(error)
    except ValueError as error:
        return UserProblem(user_id if is_id(user_id) else None, f"Clerk's user is malformed: {error}")
    carried = tuple(name for name in names if name not in refused) if refused else names
    return User(user_id, max(version, FIRST_VERSION), fields, carried, refused)


def is_id(value: Any) -> bool:
    """Whether this looks like one of Clerk's ids, so that it may be a key, part of a URL, and logged."""
    return (
        isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH and value.isascii() and value.isprintable()
    )


def _add(fields: dict[str, FieldValue], field: Field, payload: Mapping[str, Any], now: int) -> None:
    """Add the field unless it is absent. Raises ValueError, which quotes no value."""
    if isinstance(field.source, Primary):
        key, found = field.source.items, _primary(payload, field.source)
    else:
        key, found = field.source, payload.get(field.source)
    if found is None:
        return
    value = _read(key, _READERS[field.type], found)
    if value == "" or (isinstance(value, int) and is_from_future(value, now)):
        return
    if sum(len(text) for text in (*fields.values(), value) if isinstance(text, str)) > MAX_CHARACTERS:
        raise ValueError(f"{key}: the user has more than {MAX_CHARACTERS:,} characters of text")
    fields[field.name] = value


def _read[T](key: str, reader: Callable[[Any], T], value: Any) -> T:
    try:
        return reader(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _primary(payload: Mapping[str, Any], source: Primary) -> Any:
    primary_id, items = payload.get(source.primary_id), payload.get(source.items)
    if primary_id is None or not isinstance(items, list):
        return None
    _read(source.primary_id, _text, primary_id)
    for item in items:
        if isinstance(item, dict) and item.get("id") == primary_id:
            return _read(source.items, _text, item.get(source.value))
    return None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it is not text")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair; the codec's own message would quote it
        raise ValueError("it is not valid text") from None
    return value


def _time(value: Any) -> int:
    # Before 1970 too: users may be imported with the date on which they joined another system.
    if type(value) is not int or value < -MAX_MS:
        raise ValueError("it is not a time")
    return value


def _flag(value: Any) -> Json:
    if not isinstance(value, bool):
        raise ValueError("it is not true or false")
    return Json.of(value)


def _metadata(value: Any) -> Json:
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    return Json.of(value)


_READERS: Mapping[FieldType, Callable[[Any], FieldValue]] = {
    FieldType.TEXT: _text,
    FieldType.TIME: _time,
    FieldType.FLAG: _flag,
    FieldType.METADATA: _metadata,
}
