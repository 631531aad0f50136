"""What each function is configured with: its environment variables, read in one place."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from clerk_sync.errors import SettingsError
from clerk_sync.users.row import OWNED


class _Environment:
    """Environment variables with an error that names the one at fault."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str) -> str:
        value = self._variables.get(name, "").strip()
        if not value:
            raise SettingsError(f"The environment variable {name} is missing: set it to run this function.")
        return value

    def optional(self, name: str) -> str | None:
        return self._variables.get(name, "").strip() or None

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(self.text(name).replace(",", " ").split())

    def number(self, name: str, low: float, high: float) -> float:
        try:
            value = float(self.text(name))
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise SettingsError(
                f"The environment variable {name} is {self.text(name)!r}; it must be a number from {low:g} "
                f"to {high:g}."
            )
        return value

    def whole(self, name: str, low: int, high: int) -> int:
        value = self.number(name, low, high)
        if not value.is_integer():
            raise SettingsError(f"The environment variable {name} is {value:g}; it must be a whole number.")
        return int(value)

    def flag(self, name: str) -> bool:
        value = self.text(name).lower()
        if value not in ("true", "false"):
            raise SettingsError(f"The environment variable {name} is {value!r}; it must be true or false.")
        return value == "true"

    def table_key(self, name: str) -> str:
        key = self.text(name)
        if key in OWNED:
            raise SettingsError(
                f"The environment variable {name} is {key!r}, an attribute that the sync writes: the key "
                "(parameter UsersTableKey) must be the one that holds Clerk's user id."
            )
        return key


@dataclass(frozen=True, slots=True)
class BackfillSettings:
    """Settings of BackfillFunction."""

    clerk_api_url: str
    clerk_secret_key_parameter: str
    clerk_requests_per_second: float
    page_size: int
    users_table: str
    users_table_key: str
    create_missing: bool
    runs_table: str
    pages_queue_url: str

    @classmethod
    def from_env(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Raises SettingsError."""
        env = _Environment(variables)
        return cls(
            clerk_api_url=env.text("CLERK_API_URL").rstrip("/"),
            clerk_secret_key_parameter=env.text("CLERK_SECRET_KEY_PARAMETER"),
            clerk_requests_per_second=env.number("CLERK_REQUESTS_PER_SECOND", 0.1, 100),
            page_size=env.whole("PAGE_SIZE", 1, 500),
            users_table=env.text("USERS_TABLE"),
            users_table_key=env.table_key("USERS_TABLE_KEY"),
            create_missing=env.flag("CREATE_MISSING_USERS"),
            runs_table=env.text("RUNS_TABLE"),
            pages_queue_url=env.text("PAGES_QUEUE_URL"),
        )


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Settings of AuditFunction: BackfillFunction's, and how many rows one audit may mark as deleted."""

    backfill: BackfillSettings
    max_deletions_percent: float

    @classmethod
    def from_env(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Raises SettingsError."""
        env = _Environment(variables)
        return cls(
            backfill=BackfillSettings.from_env(variables),
            max_deletions_percent=env.number("MAX_DELETIONS_PERCENT", 0, 100),
        )


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Settings of WorkerFunction."""

    users_table: str
    users_table_key: str
    runs_table: str
    pages_queue_url: str
    max_receive_count: int
    placeholder_patterns: tuple[str, ...]

    @classmethod
    def from_env(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Raises SettingsError."""
        env = _Environment(variables)
        return cls(
            users_table=env.text("USERS_TABLE"),
            users_table_key=env.table_key("USERS_TABLE_KEY"),
            runs_table=env.text("RUNS_TABLE"),
            pages_queue_url=env.text("PAGES_QUEUE_URL"),
            max_receive_count=env.whole("MAX_RECEIVE_COUNT", 1, 1000),
            placeholder_patterns=tuple((env.optional("PLACEHOLDER_PATTERNS") or "").split(",")),
        )


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Settings of WebhookFunction."""

    clerk_webhook_secret_parameter: str
    users_table: str
    users_table_key: str
    create_missing: bool
    runs_table: str

    @classmethod
    def from_env(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Raises SettingsError."""
        env = _Environment(variables)
        return cls(
            clerk_webhook_secret_parameter=env.text("CLERK_WEBHOOK_SECRET_PARAMETER"),
            users_table=env.text("USERS_TABLE"),
            users_table_key=env.table_key("USERS_TABLE_KEY"),
            create_missing=env.flag("CREATE_MISSING_USERS"),
            runs_table=env.text("RUNS_TABLE"),
        )


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """Settings of ProfileFunction. Without a `clerk_jwt_key` the issuer's published keys are fetched."""

    clerk_api_url: str
    clerk_secret_key_parameter: str
    clerk_issuer: str
    clerk_authorized_parties: tuple[str, ...]
    clerk_jwt_key: str | None
    profile_max_age_seconds: int
    users_table: str
    users_table_key: str
    create_missing: bool
    runs_table: str

    @classmethod
    def from_env(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Raises SettingsError."""
        env = _Environment(variables)
        return cls(
            clerk_api_url=env.text("CLERK_API_URL").rstrip("/"),
            clerk_secret_key_parameter=env.text("CLERK_SECRET_KEY_PARAMETER"),
            clerk_issuer=env.text("CLERK_ISSUER").rstrip("/"),
            clerk_authorized_parties=tuple(
                origin.rstrip("/") for origin in env.words("CLERK_AUTHORIZED_PARTIES") if origin.strip("/")
            ),
            clerk_jwt_key=env.optional("CLERK_JWT_KEY"),
            profile_max_age_seconds=env.whole("PROFILE_MAX_AGE_SECONDS", 0, 86400),
            users_table=env.text("USERS_TABLE"),
            users_table_key=env.table_key("USERS_TABLE_KEY"),
            create_missing=env.flag("CREATE_MISSING_USERS"),
            runs_table=env.text("RUNS_TABLE"),
        )


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """Settings of DashboardFunction."""

    clerk_api_url: str
    clerk_secret_key_parameter: str
    users_table: str
    users_table_key: str
    runs_table: str

    @classmethod
    def from_env(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Raises SettingsError."""
        env = _Environment(variables)
        return cls(
            clerk_api_url=env.text("CLERK_API_URL").rstrip("/"),
            clerk_secret_key_parameter=env.text("CLERK_SECRET_KEY_PARAMETER"),
            users_table=env.text("USERS_TABLE"),
            users_table_key=env.table_key("USERS_TABLE_KEY"),
            runs_table=env.text("RUNS_TABLE"),
        )
