"""What each function is configured with: the environment variables that template.yaml gives it."""

from typing import Annotated

from clerk_sync.handlers.environment import Environment, Flag, OneUrl, Texts, Url, Urls, between
from clerk_sync.users.fields import FIELDS, Names, synced
from clerk_sync.users.write_rule import owned


def _not_owned(key: str) -> str:
    if key in owned(tuple(FIELDS)):
        raise ValueError("The sync writes this attribute. Set UsersTableKey to the one with Clerk's user id")
    return key


class FunctionSettings(Environment):
    """What all functions have in common."""

    users_table: str
    users_table_key: Annotated[str, _not_owned]
    runs_table: str


class WorkerSettings(FunctionSettings):
    """Settings of WorkerFunction."""

    pages_queue_url: str
    max_receive_count: Annotated[int, between(int, 1, 1000)]
    placeholder_patterns: Texts = ()


class FieldsSettings(FunctionSettings):
    """What the functions that take users from Clerk have in common."""

    extra_fields: Annotated[Texts, lambda names: synced(names) and names] = ()

    @property
    def names(self) -> Names:
        """The names of the fields that are synced."""
        return synced(self.extra_fields)


class WebhookSettings(FieldsSettings):
    """Settings of WebhookFunction."""

    clerk_webhook_secret_parameter: str
    create_missing_users: Flag


class DashboardSettings(FieldsSettings):
    """Settings of DashboardFunction, and of the others that ask Clerk."""

    clerk_api_url: Url
    clerk_secret_key_parameter: str


class ProfileSettings(DashboardSettings):
    """Settings of ProfileFunction. Without a `clerk_jwt_key` the issuer's published keys are fetched."""

    clerk_issuer: OneUrl
    clerk_authorized_parties: Urls
    clerk_jwt_key: str | None = None
    profile_max_age_seconds: Annotated[int, between(int, 0, 86400)]
    create_missing_users: Flag


class BackfillSettings(DashboardSettings):
    """Settings of BackfillFunction."""

    clerk_requests_per_second: Annotated[float, between(float, 0.1, 100)]
    page_size: Annotated[int, between(int, 1, 500)]
    create_missing_users: Flag
    pages_queue_url: str


class AuditSettings(BackfillSettings):
    """Settings of AuditFunction."""

    max_deletions_percent: Annotated[float, between(float, 0, 100)]
