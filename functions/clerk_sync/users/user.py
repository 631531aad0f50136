"""The user record: what is kept of a Clerk user, however it arrived."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import CoreSchema, SchemaValidator, core_schema

from clerk_sync.clock import is_from_future

SYNCED_FIELDS: Mapping[str, str] = {
    "firstName": "first_name",
    "lastName": "last_name",
    "email": "primary_email",
    "username": "username",
    "imageUrl": "image_url",
    "lastSignInAt": "last_sign_in_at",
    "createdAt": "created_at",
    "lastActiveAt": "last_active_at",
}
"""The table's attribute ← the attribute of `ClerkUser`. To sync another field, add it to both."""


@dataclass(frozen=True, slots=True)
class User:
    """One snapshot of a Clerk user.

    `updated_at` (ms) is the snapshot's version; `fields` holds the attributes of SYNCED_FIELDS that
    are not null in Clerk, strings or ms.
    """

    id: str
    updated_at: int
    fields: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Deletion:
    """A user was deleted in Clerk, at `at` (ms). Clerk deletes for good and gives no id out again."""

    id: str
    at: int


@dataclass(frozen=True, slots=True)
class SignIn:
    """A user signed in, at `at` (ms); nothing else is known of them."""

    id: str
    at: int


Change = User | Deletion | SignIn
"""What there is to tell the table about a user."""


@dataclass(frozen=True, slots=True)
class UserProblem:
    """A user that could not be synced, and why. `clerk_user_id` is None where not even that is known."""

    clerk_user_id: str | None
    reason: str


def _encodable(text: str) -> str:
    text.encode()  # half of a surrogate pair is valid JSON, but nothing that DynamoDB can store
    return text


MAX_ID_LENGTH = 255
"""Clerk's are some 32 long; a key of DynamoDB holds 2,048 bytes, and one that is longer fails its batch."""
MAX_CHARACTERS = 64_000
"""No name or address is this long; a row of DynamoDB holds 400 KB, the app's attributes included."""
MAX_MS = 10**15
"""No time of Clerk's is this far from 1970, and a number of DynamoDB has 38 digits."""

FIRST_VERSION = 1
"""The lowest version of a snapshot: 0 is that of a row without one."""

_Text = Annotated[str, AfterValidator(_encodable)]
_Ms = Annotated[int, Field(ge=-MAX_MS)]
"""Before 1970 too, as users may be imported with the date at which they joined another system."""


class ClerkUser(BaseModel):
    """What is needed of Clerk's user object, checked; all the rest is ignored.

    Shape: https://clerk.com/docs/reference/backend-api, `User`.
    """

    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)

    id: Annotated[_Text, Field(min_length=1, max_length=MAX_ID_LENGTH)]
    updated_at: _Ms
    first_name: _Text | None = None
    last_name: _Text | None = None
    username: _Text | None = None
    image_url: _Text | None = None
    last_sign_in_at: _Ms | None = None
    created_at: _Ms | None = None
    last_active_at: _Ms | None = None
    primary_email_address_id: str | None = None
    email_addresses: Any = None

    @property
    def primary_email(self) -> str | None:
        """The primary address, which is often not the first; None for users who have none.

        Raises ValueError when the address itself is not text.
        """
        if self.primary_email_address_id is None or not isinstance(self.email_addresses, list):
            return None
        for address in self.email_addresses:
            if isinstance(address, dict) and address.get("id") == self.primary_email_address_id:
                return _email_text(address.get("email_address"))
        return None


def _email_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("email_addresses: the primary e-mail address is not text")
    try:
        return _encodable(value)
    except UnicodeEncodeError:
        # The codec's own message would carry a piece of the address.
        raise ValueError("email_addresses: the primary e-mail address is not valid text") from None


def parse_user(payload: Any, now: int) -> User | UserProblem:
    """Turn one Clerk user object, from the API or a webhook, into the user record.

    A payload that cannot be one comes back as a problem that names the fields at fault, never their
    values: one odd user must not cost the others on its page. A time more than a day ahead of `now` (ms)
    is not Clerk's: the user is malformed if it is `updated_at`; any other is absent, and so is empty text.
    """
    try:
        clerk = ClerkUser.model_validate(payload)
        values = {name: getattr(clerk, source) for name, source in SYNCED_FIELDS.items()}
    except ValidationError as error:
        return UserProblem(_id_of(payload), "Clerk's user is malformed: " + _faults(error))
    except ValueError as error:
        return UserProblem(_id_of(payload), f"Clerk's user is malformed: {error}")
    if is_from_future(clerk.updated_at, now):
        reason = "Clerk's user is malformed: updated_at: more than a day in the future"
        return UserProblem(clerk.id, reason)
    fields = {name: value for name, value in values.items() if not _is_absent(value, now)}
    if sum(len(value) for value in fields.values() if isinstance(value, str)) > MAX_CHARACTERS:
        return UserProblem(clerk.id, f"Clerk's user is malformed: more than {MAX_CHARACTERS:,} characters")
    return User(clerk.id, max(clerk.updated_at, FIRST_VERSION), fields)


def _is_absent(value: str | int | None, now: int) -> bool:
    return value is None or value == "" or (isinstance(value, int) and is_from_future(value, now))


def _objects(names: Iterable[str], **values: CoreSchema) -> CoreSchema:
    """A list of objects, of which these names are kept; whatever in it is no object stays as it is."""
    fields = {
        name: core_schema.typed_dict_field(values.get(name, core_schema.any_schema()), required=False)
        for name in names
    }
    return core_schema.list_schema(_or_anything(core_schema.typed_dict_schema(fields)))


def _or_anything(schema: CoreSchema) -> CoreSchema:
    return core_schema.union_schema([schema, core_schema.any_schema()], mode="left_to_right")


_ADDRESSES = _or_anything(_objects(("id", "email_address")))
_USERS = SchemaValidator(_objects(ClerkUser.model_fields, email_addresses=_ADDRESSES))


def read_users(body: bytes) -> list[Any]:
    """The user objects of a JSON list, each with what `parse_user` looks at and no more, in half of
    json.loads's time. Raises ValueError or RecursionError if it is no list."""
    users: list[Any]
    try:
        users = _USERS.validate_json(body)
    except ValueError:
        # It refuses half of a surrogate pair, which is one user's trouble and not the page's.
        users = _USERS.validate_python(json.loads(body))
    return users


def is_id(value: Any) -> bool:
    """Whether this looks like one of Clerk's ids, and may so be a key, a part of an address and logged."""
    return (
        isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH and value.isascii() and value.isprintable()
    )


def _id_of(payload: Any) -> str | None:
    found = payload.get("id") if isinstance(payload, dict) else None
    return found if is_id(found) else None


def _faults(error: ValidationError) -> str:
    """Where a payload fails and how, without a word of the payload."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'it'}: {_fault_text(fault['type'], fault['msg'])}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )


def _fault_text(kind: str, message: str) -> str:
    # A value_error quotes the text that could not be encoded; the other messages quote no input.
    return "not valid text" if kind == "value_error" else message
