import pytest

from clerk_sync.errors import SettingsError
from clerk_sync.handlers.settings import (
    AuditSettings,
    BackfillSettings,
    DashboardSettings,
    ProfileSettings,
    WebhookSettings,
    WorkerSettings,
)
from clerk_sync.users.row import OWNED

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
def test_a_variable_that_is_missing_is_named(settings: Settings, name: str, value: str | None) -> None:
    variables = {key: text for key, text in RIGHT.items() if key != name}
    with pytest.raises(SettingsError, match=rf"\b{name}\b"):
        settings.from_env(variables if value is None else variables | {name: value})


@pytest.mark.parametrize("settings", NEEDED)
def test_nothing_is_needed_that_a_function_does_not_use(settings: Settings) -> None:
    settings.from_env({name: RIGHT[name] for name in NEEDED[settings]})


def test_values_are_read_as_what_they_mean() -> None:
    assert BackfillSettings.from_env(RIGHT) == BackfillSettings(
        clerk_api_url="https://api.clerk.com/v1",
        clerk_secret_key_parameter="/clerk/key",
        clerk_requests_per_second=2.5,
        page_size=250,
        users_table="Users",
        users_table_key="clerkUserId",
        create_missing=True,
        runs_table="Runs",
        pages_queue_url="https://sqs.test/pages",
    )


def test_a_pages_origins_are_separated_by_commas_or_spaces() -> None:
    settings = ProfileSettings.from_env(RIGHT)
    assert settings.clerk_authorized_parties == ("https://example.org", "http://localhost:3000")
    assert settings.clerk_issuer == "https://clerk.example.org"
    assert settings.clerk_jwt_key is None


def test_an_origin_has_no_slash_at_its_end() -> None:
    text = "https://example.org/,http://localhost:3000// https://a.example.org"
    settings = ProfileSettings.from_env(RIGHT | {"CLERK_AUTHORIZED_PARTIES": text})
    assert settings.clerk_authorized_parties == (
        "https://example.org",
        "http://localhost:3000",
        "https://a.example.org",
    )


@pytest.mark.parametrize(("text", "meant"), [("true", True), (" True ", True), ("FALSE", False)])
def test_truths_may_be_written_in_any_case(text: str, meant: bool) -> None:
    assert WebhookSettings.from_env(RIGHT | {"CREATE_MISSING_USERS": text}).create_missing is meant


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
def test_a_variable_that_is_wrong_is_named_with_its_value(settings: Settings, name: str, value: str) -> None:
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
def test_the_bounds_themselves_are_right(name: str, low: str, high: str) -> None:
    for text in (low, high):
        for settings in NEEDED:
            settings.from_env(RIGHT | {name: text})


@pytest.mark.parametrize("settings", NEEDED)
@pytest.mark.parametrize("key", OWNED)
def test_a_key_that_the_sync_would_overwrite_is_refused(settings: Settings, key: str) -> None:
    with pytest.raises(SettingsError, match="USERS_TABLE_KEY") as error:
        settings.from_env(RIGHT | {"USERS_TABLE_KEY": key})
    assert "UsersTableKey" in str(error.value)
