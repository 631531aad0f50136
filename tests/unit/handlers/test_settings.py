import re
from dataclasses import FrozenInstanceError

import pytest

from clerk_sync.errors import SettingsError
from clerk_sync.handlers.environment import ONE_URL
from clerk_sync.handlers.settings import (
    AuditSettings,
    BackfillSettings,
    DashboardSettings,
    FieldsSettings,
    ProfileSettings,
    WebhookSettings,
    WorkerSettings,
)
from clerk_sync.users.fields import DEFAULT_NAMES, EXTRA_NAMES, FIELDS
from clerk_sync.users.write_rule import owned
from tests.local.aws.local_aws import ROOT

RIGHT = {
    "CLERK_API_URL": "https://api.clerk.com/v1/",
    "CLERK_SECRET_KEY_PARAMETER": "/clerk/key",
    "CLERK_REQUESTS_PER_SECOND": "2.5",
    "CLERK_WEBHOOK_SECRET_PARAMETER": "/clerk/webhook",
    "PAGE_SIZE": "250",
    "USERS_TABLE": "Users",
    "USERS_TABLE_KEY": "clerkUserId",
    "CREATE_MISSING_USERS": "true",
    "RUNS_TABLE": "Runs",
    "PAGES_QUEUE_URL": "https://sqs.test/pages",
    "MAX_RECEIVE_COUNT": "5",
    "MAX_DELETIONS_PERCENT": "10",
    "CLERK_ISSUER": "https://clerk.example.org/",
    "CLERK_AUTHORIZED_PARTIES": "https://example.org, http://localhost:3000",
    "PROFILE_MAX_AGE_SECONDS": "300",
}

type Settings = type[
    AuditSettings | BackfillSettings | DashboardSettings | ProfileSettings | WebhookSettings | WorkerSettings
]

BACKFILL = {
    "CLERK_API_URL",
    "CLERK_SECRET_KEY_PARAMETER",
    "CLERK_REQUESTS_PER_SECOND",
    "PAGE_SIZE",
    "USERS_TABLE",
    "USERS_TABLE_KEY",
    "CREATE_MISSING_USERS",
    "RUNS_TABLE",
    "PAGES_QUEUE_URL",
}
NEEDED: dict[Settings, set[str]] = {
    BackfillSettings: BACKFILL,
    AuditSettings: BACKFILL | {"MAX_DELETIONS_PERCENT"},
    WorkerSettings: {
        "USERS_TABLE",
        "USERS_TABLE_KEY",
        "RUNS_TABLE",
        "PAGES_QUEUE_URL",
        "MAX_RECEIVE_COUNT",
    },
    WebhookSettings: {
        "CLERK_WEBHOOK_SECRET_PARAMETER",
        "USERS_TABLE",
        "USERS_TABLE_KEY",
        "CREATE_MISSING_USERS",
        "RUNS_TABLE",
    },
    DashboardSettings: {
        "CLERK_API_URL",
        "CLERK_SECRET_KEY_PARAMETER",
        "USERS_TABLE",
        "USERS_TABLE_KEY",
        "RUNS_TABLE",
    },
    ProfileSettings: {
        "CLERK_API_URL",
        "CLERK_SECRET_KEY_PARAMETER",
        "CLERK_ISSUER",
        "CLERK_AUTHORIZED_PARTIES",
        "PROFILE_MAX_AGE_SECONDS",
        "USERS_TABLE",
        "USERS_TABLE_KEY",
        "CREATE_MISSING_USERS",
        "RUNS_TABLE",
    },
}
EACH = [(settings, name) for settings, names in NEEDED.items() for name in sorted(names)]


@pytest.mark.parametrize(("settings", "name"), EACH)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_missing_variable_is_named(settings: Settings, name: str, value: str | None) -> None:
    variables = {key: text for key, text in RIGHT.items() if key != name}
    with pytest.raises(SettingsError, match=rf"\b{name}\b"):
        settings.from_env(variables if value is None else variables | {name: value})


@pytest.mark.parametrize("settings", NEEDED)
def test_function_needs_only_the_variables_it_uses(settings: Settings) -> None:
    settings.from_env({name: RIGHT[name] for name in NEEDED[settings]})


def test_values_are_parsed() -> None:
    assert BackfillSettings.from_env(RIGHT) == BackfillSettings(
        clerk_api_url="https://api.clerk.com/v1",
        clerk_secret_key_parameter="/clerk/key",
        clerk_requests_per_second=2.5,
        page_size=250,
        users_table="Users",
        users_table_key="clerkUserId",
        create_missing_users=True,
        runs_table="Runs",
        pages_queue_url="https://sqs.test/pages",
    )


def test_origins_are_separated_by_commas_or_spaces() -> None:
    settings = ProfileSettings.from_env(RIGHT)
    assert settings.clerk_authorized_parties == ("https://example.org", "http://localhost:3000")
    assert settings.clerk_issuer == "https://clerk.example.org"
    assert settings.clerk_jwt_key is None


def test_trailing_slash_of_an_origin_is_dropped() -> None:
    text = "https://example.org/,http://localhost:3000// https://a.example.org"
    settings = ProfileSettings.from_env(RIGHT | {"CLERK_AUTHORIZED_PARTIES": text})
    assert settings.clerk_authorized_parties == (
        "https://example.org",
        "http://localhost:3000",
        "https://a.example.org",
    )


@pytest.mark.parametrize(("text", "meant"), [("true", True), (" True ", True), ("FALSE", False)])
def test_true_and_false_are_accepted_in_any_case(text: str, meant: bool) -> None:
    assert WebhookSettings.from_env(RIGHT | {"CREATE_MISSING_USERS": text}).create_missing_users is meant


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        *[
            (BackfillSettings, "CLERK_REQUESTS_PER_SECOND", text)
            for text in ("0", "-1", "101", "nan", "inf", "many", "1/2")
        ],
        *[
            (BackfillSettings, "PAGE_SIZE", text)
            for text in ("0", "501", "-5", "nan", "ten", "0.5", "1.5", "1e9")
        ],
        *[
            (ProfileSettings, "PROFILE_MAX_AGE_SECONDS", text)
            for text in ("-1", "86401", "0.5", "nan", "5 minutes")
        ],
        *[(AuditSettings, "MAX_DELETIONS_PERCENT", text) for text in ("-1", "101", "nan", "10%")],
        *[(WorkerSettings, "MAX_RECEIVE_COUNT", text) for text in ("0", "1001", "2.5", "nan", "x")],
        *[(WebhookSettings, "CREATE_MISSING_USERS", text) for text in ("yes", "1", "on", "None")],
    ],
)
def test_wrong_variable_is_named_with_its_value(settings: Settings, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        settings.from_env(RIGHT | {name: value})
    assert name in str(error.value)
    assert value.lower() in str(error.value).lower()


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("PAGE_SIZE", "1", "500"),
        ("MAX_RECEIVE_COUNT", "1", "1000"),
        ("PROFILE_MAX_AGE_SECONDS", "0", "86400"),
        ("MAX_DELETIONS_PERCENT", "0", "100"),
    ],
)
def test_bounds_are_inclusive(name: str, low: str, high: str) -> None:
    for text in (low, high):
        for settings in NEEDED:
            settings.from_env(RIGHT | {name: text})


@pytest.mark.parametrize("settings", NEEDED)
@pytest.mark.parametrize("key", owned(tuple(FIELDS)))
def test_table_key_that_the_sync_writes_is_refused(settings: Settings, key: str) -> None:
    with pytest.raises(SettingsError, match="USERS_TABLE_KEY") as error:
        settings.from_env(RIGHT | {"USERS_TABLE_KEY": key})
    assert "UsersTableKey" in str(error.value)


@pytest.mark.parametrize("settings", [BackfillSettings, AuditSettings, WebhookSettings, ProfileSettings])
def test_extra_fields_join_the_default_ones(settings: type[FieldsSettings]) -> None:
    assert settings.from_env(RIGHT).names == DEFAULT_NAMES
    named = settings.from_env(RIGHT | {"EXTRA_FIELDS": "publicMetadata,phoneNumber"}).names
    assert named == (*DEFAULT_NAMES, "phoneNumber", "publicMetadata")


@pytest.mark.parametrize("text", ["password", "phoneNumber,private_metadata", "email", "phoneNumber,"])
def test_unknown_extra_field_is_an_error_that_lists_the_right_ones(text: str) -> None:
    with pytest.raises(SettingsError, match=r"EXTRA_FIELDS is .* ExtraFields can't name") as error:
        BackfillSettings.from_env(RIGHT | {"EXTRA_FIELDS": text})
    assert ", ".join(EXTRA_NAMES) in str(error.value)


def test_worker_does_not_read_extra_fields_as_pages_name_theirs() -> None:
    WorkerSettings.from_env(RIGHT | {"EXTRA_FIELDS": "password"})


def test_all_missing_variables_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        BackfillSettings.from_env({})
    assert set(re.findall(r"[A-Z_]{5,}", str(error.value))) == BACKFILL


VALIDATED = (
    "CLERK_ISSUER",
    "CREATE_MISSING_USERS",
    "PAGE_SIZE",
    "MAX_RECEIVE_COUNT",
    "MAX_DELETIONS_PERCENT",
)


@pytest.mark.parametrize(("settings", "name"), [each for each in EACH if each[1] in VALIDATED])
@pytest.mark.parametrize("secret", ["sk_live_MadeUpForTheTests", "whsec_MadeUpForTheTests"])
def test_secret_in_the_wrong_variable_is_not_quoted(settings: Settings, name: str, secret: str) -> None:
    with pytest.raises(SettingsError, match=name) as error:
        settings.from_env(RIGHT | {name: secret})
    assert secret not in str(error.value)
    assert error.value.__cause__ is None, "a log with the cause would quote it"


def test_settings_cannot_be_changed() -> None:
    settings = ProfileSettings.from_env(RIGHT)
    with pytest.raises(FrozenInstanceError):
        settings.runs_table = "other"  # type: ignore[misc]
    assert len({settings, ProfileSettings.from_env(RIGHT)}) == 1, "a cache's key"


# ClerkIssuer

ISSUERS = [
    *(
        "https://clerk.shop.test",
        "https://clerk.shop.test/",
        "http://127.0.0.1:8400",
        "https://a-b.clerk.accounts.dev",
    ),
    *("https://shop.test/__clerk", "http://host.docker.internal:9", "https://shop.test:8443/__clerk"),
    *("https://shop.test:4430", "http://127.0.0.1:8080", "https://shop.test:80", "http://shop.test:443"),
]
NOT_ISSUERS = [
    *(
        "https://clerk.shop.test,https://clerk.other.test",
        "https://clerk.shop.test, https://clerk.other.test",
    ),
    *("https://clerk.shop.test https://clerk.other.test", "https://clerk.shop.test;https://clerk.other.test"),
    *(
        "https://clerk.shop.test|https://clerk.other.test",
        "https://clerk.shop.test,",
        ",https://clerk.shop.test",
    ),
    *(
        "https://clerk.shop.test/a,b",
        "https://clerk.shop.test\thttps://b.test",
        "clerk.shop.test",
        "https://",
    ),
    *("https://clerk.shop.test:443", "https://shop.test:443/__clerk", "http://shop.test:80/"),
    *("[https://clerk.shop.test]", '"https://clerk.shop.test"', "ftp://clerk.shop.test", "sk_test_MadeUp"),
]


def deployed_pattern(parameter: str) -> str:
    """A parameter's AllowedPattern, which CloudFormation matches against the whole value."""
    declared = (
        (ROOT / "template.yaml").read_text().partition(f"\n  {parameter}:\n")[2].partition("\n  Clerk")[0]
    )
    [pattern] = re.findall(r"AllowedPattern: (.+)", declared)
    assert "ConstraintDescription: " in declared
    return str(pattern)


def test_template_takes_the_issuers_that_the_function_takes() -> None:
    assert deployed_pattern("ClerkIssuer") == f"^$|{ONE_URL}"


@pytest.mark.parametrize("issuer", ISSUERS)
def test_one_url_is_an_issuer(issuer: str) -> None:
    assert ProfileSettings.from_env(RIGHT | {"CLERK_ISSUER": issuer}).clerk_issuer == issuer.rstrip("/")
    assert re.fullmatch(deployed_pattern("ClerkIssuer"), issuer)


@pytest.mark.parametrize("issuer", NOT_ISSUERS)
def test_several_issuers_or_no_url_are_refused(issuer: str) -> None:
    with pytest.raises(SettingsError, match=r"CLERK_ISSUER.*one URL"):
        ProfileSettings.from_env(RIGHT | {"CLERK_ISSUER": issuer})
    assert not re.fullmatch(deployed_pattern("ClerkIssuer"), issuer)


def test_issuer_may_be_left_out_of_a_deployment() -> None:
    assert re.fullmatch(deployed_pattern("ClerkIssuer"), "")
