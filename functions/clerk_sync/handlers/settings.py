"""What each function is configured with: the environment variables that template.yaml gives it.

Not pydantic models: pydantic would take a quarter of a cold start of the functions where people wait.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import reduce
from typing import Annotated, Any, Self

from clerk_sync.errors import SettingsError
from clerk_sync.users.fields import FIELDS, Names, synced
from clerk_sync.users.row import owned

ONE_URL = r"^https?://[a-z0-9.-]+(:[0-9]+)?(/__clerk)?/?$"
"""ClerkIssuer has the same AllowedPattern in template.yaml. Where an app proxies the Frontend API, its path
is part of the issuer (https://clerk.com/docs/guides/dashboard/dns-domains/proxy-fapi)."""
_MAX_QUOTED = 12
"""An error quotes a wrong value up to this length: a longer one may be a secret in the wrong place."""


def _url(text: str) -> str:
    return text.rstrip("/")


def _one_url(text: str) -> str:
    if not re.search(ONE_URL, text):
        raise ValueError("It must be one URL, such as https://clerk.your.app, without commas or spaces")
    return _url(text)


def _urls(text: str) -> tuple[str, ...]:
    if not (urls := tuple(filter(None, map(_url, text.replace(",", " ").split())))):
        raise ValueError("It must be URLs, separated by commas or spaces")
    return urls


def _texts(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("It must be true or false")
    return text.lower() == "true"


def _between[N: (int, float)](kind: type[N], low: N, high: N) -> Callable[[str], N]:
    def read(text: str) -> N:
        try:
            number = kind(text)
        except ValueError:
            raise ValueError(f"It must be a {'whole ' if kind is int else ''}number") from None
        if not low <= number <= high:
            raise ValueError(f"It must be between {low:g} and {high:g}")
        return number

    return read


def _not_owned(key: str) -> str:
    if key in owned(tuple(FIELDS)):
        raise ValueError("The sync writes this attribute. Set UsersTableKey to the one with Clerk's user id")
    return key


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Base of the settings: each field is the environment variable of its name, in upper case. The functions
    that annotate a field read its value from the text, one after the other."""

    @classmethod
    def from_env(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """An empty variable is a missing one. Raises SettingsError."""
        values: dict[str, Any] = {}
        missing, wrong = [], []
        for field in fields(cls):
            variable = field.name.upper()
            text = variables.get(variable, "").strip()
            if not text and field.default is MISSING:
                missing.append(variable)
            elif text:
                readers = getattr(field.type, "__metadata__", ())
                try:
                    values[field.name] = reduce(lambda value, read: read(value), readers, text)
                except ValueError as error:
                    quoted = repr(text) if len(text) <= _MAX_QUOTED else "wrong"
                    wrong.append(f"The environment variable {variable} is {quoted}. {error}.")
        if missing:
            raise SettingsError(f"Environment variables are missing: set {', '.join(missing)}.")
        if wrong:
            raise SettingsError(" ".join(wrong))
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class FunctionSettings(Environment):
    """What all functions have in common."""

    users_table: str
    users_table_key: Annotated[str, _not_owned]
    runs_table: str


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(FunctionSettings):
    """Settings of WorkerFunction."""

    pages_queue_url: str
    max_receive_count: Annotated[int, _between(int, 1, 1000)]
    placeholder_patterns: Annotated[tuple[str, ...], _texts] = ()


def _extra(names: tuple[str, ...]) -> tuple[str, ...]:
    synced(names)
    return names


@dataclass(frozen=True, kw_only=True)
class FieldsSettings(FunctionSettings):
    """What the functions that take users from Clerk have in common."""

    extra_fields: Annotated[tuple[str, ...], _texts, _extra] = ()

    @property
    def names(self) -> Names:
        """The names of the fields that are synced."""
        return synced(self.extra_fields)


@dataclass(frozen=True, kw_only=True)
class WebhookSettings(FieldsSettings):
    """Settings of WebhookFunction."""

    clerk_webhook_secret_parameter: str
    create_missing_users: Annotated[bool, _flag]


@dataclass(frozen=True, kw_only=True)
class DashboardSettings(FieldsSettings):
    """Settings of DashboardFunction."""

    clerk_api_url: Annotated[str, _url]
    clerk_secret_key_parameter: str


@dataclass(frozen=True, kw_only=True)
class ProfileSettings(FieldsSettings):
    """Settings of ProfileFunction. Without a `clerk_jwt_key` the issuer's published keys are fetched."""

    clerk_api_url: Annotated[str, _url]
    clerk_secret_key_parameter: str
    clerk_issuer: Annotated[str, _one_url]
    clerk_authorized_parties: Annotated[tuple[str, ...], _urls]
    clerk_jwt_key: str | None = None
    profile_max_age_seconds: Annotated[int, _between(int, 0, 86400)]
    create_missing_users: Annotated[bool, _flag]


@dataclass(frozen=True, kw_only=True)
class BackfillSettings(FieldsSettings):
    """Settings of BackfillFunction."""

    clerk_api_url: Annotated[str, _url]
    clerk_secret_key_parameter: str
    clerk_requests_per_second: Annotated[float, _between(float, 0.1, 100)]
    page_size: Annotated[int, _between(int, 1, 500)]
    create_missing_users: Annotated[bool, _flag]
    pages_queue_url: str


@dataclass(frozen=True, kw_only=True)
class AuditSettings(BackfillSettings):
    """Settings of AuditFunction."""

    max_deletions_percent: Annotated[float, _between(float, 0, 100)]
