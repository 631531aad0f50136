"""The catalogue of the fields that are synced. To sync another field, add a line to EXTRA_FIELDS."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from clerk_sync.users.values import Value, plain

Names = tuple[str, ...]
"""Names of fields, which are the attributes of a row."""


class FieldType(NamedTuple):
    """What a field holds: its type in DynamoDB and in Python, and how messages name it."""

    attribute_type: str
    python_type: Any
    noun: str

    def holds(self, value: Value) -> bool:
        """Whether a field of this type may have the value. Raises ValueError for Json that is not valid."""
        return type(plain(value)) is self.python_type


TEXT = FieldType("S", str, "text")
TIME = FieldType("N", int, "a time")
FLAG = FieldType("BOOL", bool, "true or false")
METADATA = FieldType("M", dict, "an object")


@dataclass(frozen=True, slots=True)
class Primary:
    """The primary one of a user's e-mail addresses, phone numbers or wallets: the `value` of the object in
    the list `items` whose `id` is the user's `primary_id`. It is often not the first."""

    items: str
    value: str
    primary_id: str


@dataclass(frozen=True, slots=True)
class Field:
    """A field. `source` is the key of Clerk's user object that it comes from.

    `is_shown`: page loads return it to the user. Flags that an administrator sets are not shown.
    """

    name: str
    type: FieldType
    source: str | Primary
    is_shown: bool = True


# Clerk's description of its API calls them `User`: https://clerk.com/docs/reference/backend-api
DEFAULT_FIELDS = (
    Field("firstName", TEXT, "first_name"),
    Field("lastName", TEXT, "last_name"),
    Field("email", TEXT, Primary("email_addresses", "email_address", "primary_email_address_id")),
    Field("username", TEXT, "username"),
    Field("imageUrl", TEXT, "image_url"),
    Field("lastSignInAt", TIME, "last_sign_in_at"),
    Field("createdAt", TIME, "created_at"),
    Field("lastActiveAt", TIME, "last_active_at"),
)
"""The fields that are always synced."""
# Never private_metadata, nor what a password or a backup code is about: an app's table is no place for them.
EXTRA_FIELDS = (
    Field("phoneNumber", TEXT, Primary("phone_numbers", "phone_number", "primary_phone_number_id")),
    Field("web3Wallet", TEXT, Primary("web3_wallets", "web3_wallet", "primary_web3_wallet_id")),
    Field("externalId", TEXT, "external_id"),
    Field("locale", TEXT, "locale"),
    Field("timezone", TEXT, "timezone"),
    Field("hasImage", FLAG, "has_image"),
    Field("twoFactorEnabled", FLAG, "two_factor_enabled"),
    Field("banned", FLAG, "banned", is_shown=False),
    Field("locked", FLAG, "locked", is_shown=False),
    Field("deprovisioned", FLAG, "deprovisioned", is_shown=False),
    Field("createOrganizationEnabled", FLAG, "create_organization_enabled", is_shown=False),
    Field("deleteSelfEnabled", FLAG, "delete_self_enabled", is_shown=False),
    Field("legalAcceptedAt", TIME, "legal_accepted_at"),
    Field("publicMetadata", METADATA, "public_metadata"),
    Field("unsafeMetadata", METADATA, "unsafe_metadata"),
)
"""The fields that are synced if the parameter ExtraFields names them."""

FIELDS = {field.name: field for field in (*DEFAULT_FIELDS, *EXTRA_FIELDS)}
DEFAULT_NAMES: Names = tuple(field.name for field in DEFAULT_FIELDS)
EXTRA_NAMES: Names = tuple(field.name for field in EXTRA_FIELDS)


def synced(extra: Iterable[str]) -> Names:
    """The names of all fields that are synced: the default ones and these extra ones, each once and in order.

    Raises ValueError, which lists the right names, if an extra one is unknown.
    """
    wanted = set(extra)
    if unknown := sorted(wanted - set(EXTRA_NAMES)):
        raise ValueError(
            f"ExtraFields can't name {', '.join(unknown)}. It can name: {', '.join(EXTRA_NAMES)}"
        )
    return (*DEFAULT_NAMES, *(name for name in EXTRA_NAMES if name in wanted))
