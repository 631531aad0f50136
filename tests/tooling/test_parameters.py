"""The template's parameters: what deploys, what is rejected, and how the docs say to set them.

SAM CLI cuts an unquoted value at its first space, without a word.
"""

import json
import re
import shlex
import subprocess
import tomllib
from typing import Any

import pytest

from clerk_sync.users.drift import placeholder_pattern
from clerk_sync.users.fields import FIELDS
from clerk_sync.users.write_rule import owned
from tests.local.aws.local_aws import LOCAL, ROOT
from tests.support.parameters import is_accepted, parameters

KEY = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA" + "q/8+" * 80 + "wIDAQAB"
PARSE = """
import json, sys
from samcli.cli.types import CfnParameterOverridesType
print(json.dumps(CfnParameterOverridesType().convert(json.loads(sys.argv[1]), None, None)))
"""


def parsed_by_sam(overrides: list[str]) -> dict[str, str]:
    """What SAM CLI makes of --parameter-overrides or of the list in samconfig.toml."""
    answer = subprocess.run(
        [LOCAL / "sam/bin/python", "-c", PARSE, json.dumps(overrides)], stdout=subprocess.PIPE, check=True
    )
    values: dict[str, str] = json.loads(answer.stdout)
    return values


ACCEPTED = """
ClerkSecretKeyParameter /a
ClerkSecretKeyParameter /A.b/c_d-1
ClerkApiUrl https://api.clerk.com/v1/
ClerkApiUrl http://host.docker.internal:8400/v1
ClerkRequestsPerSecond 0.1
ClerkRequestsPerSecond 100
PageSize 1
ExistingUsersTable people
ExistingUsersTable Prod.users_2-eu
ExistingUsersTable none-of-them
UsersTableKey sub
UsersTableKey emails
ExtraFields
ExtraFields phoneNumber
ExtraFields phoneNumber,web3Wallet,publicMetadata
ClerkIssuer https://clerk.your.app
ClerkIssuer https://happy-cat-1.clerk.accounts.dev/
ClerkIssuer http://127.0.0.1:8400
ClerkIssuer https://your.app/__clerk
ClerkAuthorizedParties https://your.app
ClerkAuthorizedParties https://your.app/,http://localhost:3000
ClerkAuthorizedParties https://a.test, https://b.test
ClerkAuthorizedParties https://a.test:4430,https://a.test:80,http://a.test:443,http://a.test:8080,https://a.test
ClerkAuthorizedParties capacitor://localhost,chrome-extension://abcdefghijklmnop
FullSyncSchedule never
FullSyncSchedule
FullSyncSchedule rate(1 day)
FullSyncSchedule rate(12 hours)
FullSyncSchedule cron(0/15 2-4 ? JAN,MAR MON-FRI *)
FullSyncSchedule cron(0 2 ? * 2#1 2027-2029)
FullSyncSchedule cron(0 2 L * ? *)
MaxDeletionsPercent 0
MaxDeletionsPercent 0.5
PlaceholderPatterns
PlaceholderPatterns User
PlaceholderPatterns *@example.com,Test?User,N/A
PlaceholderPatterns *@example.com, Test User
WorkerConcurrency 2
WorkerConcurrency 50
WebhookIpRanges 203.0.113.7
WebhookIpRanges 203.0.113.0/24,198.51.100.7/32
WebhookIpRanges 2001:db8::/32,::ffff:203.0.113.7
AlertEmail ops@example.org
AlertEmail first.last+aws@mail.example.co.uk
"""
REJECTED = """
ClerkSecretKeyParameter
ClerkSecretKeyParameter sk_live_abc
ClerkSecretKeyParameter secret-key
ClerkSecretKeyParameter /a/
ClerkSecretKeyParameter arn:aws:ssm:us-east-1:123456789012:parameter/a
ClerkWebhookSecretParameter whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
ClerkWebhookSecretParameter /a,/b
ClerkApiUrl
ClerkApiUrl api.clerk.com/v1
ClerkApiUrl https://api.clerk.com/v1?limit=1
ClerkApiUrl "https://api.clerk.com/v1"
ClerkRequestsPerSecond 0
ClerkRequestsPerSecond 101
PageSize 0
PageSize 501
ExistingUsersTable arn:aws:dynamodb:us-east-1:123456789012:table/people
ExistingUsersTable table/people
ExistingUsersTable my table
ExistingUsersTable none
ExistingUsersTable None
ExistingUsersTable ""
UsersTableKey
UsersTableKey user id
ExtraFields phoneNumber, banned
ExtraFields phoneNumber,
ExtraFields phone-number
ExtraFields public_metadata
ExtraFields ""
CreateMissingUsers yes
CreateMissingUsers True
ClerkIssuer none
ClerkIssuer clerk.your.app
ClerkIssuer pk_live_abc
ClerkIssuer https://a.test,https://b.test
ClerkIssuer https://a.test https://b.test
ClerkIssuer https://clerk.your.app,
ClerkIssuer https://clerk.your.app/v1
ClerkIssuer https://clerk.your.app/.well-known/jwks.json
ClerkIssuer "https://clerk.your.app"
ClerkAuthorizedParties none
ClerkAuthorizedParties your.app
ClerkAuthorizedParties *
ClerkAuthorizedParties https://*.your.app
ClerkAuthorizedParties https://your.app/login
ClerkAuthorizedParties https://Your.App
ClerkAuthorizedParties https://a.test,
ClerkAuthorizedParties ,https://a.test
ClerkAuthorizedParties https://a.test;https://b.test
ClerkAuthorizedParties https://a.test:443
ClerkAuthorizedParties https://a.test:443/
ClerkAuthorizedParties https://b.test:444, https://a.test:443,https://b.test
ClerkAuthorizedParties http://localhost:80
ClerkJwtKey none
ClerkJwtKey -----BEGIN
ClerkJwtKey -----BEGIN PUBLIC KEY-----
ClerkJwtKey MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0Z3VS5JJcds3xfn/yGaX
ClerkJwtKey https://clerk.your.app
ProfileMaxAgeSeconds -1
ProfileMaxAgeSeconds 86401
FullSyncSchedule cron(0
FullSyncSchedule rate(1
FullSyncSchedule off
FullSyncSchedule daily
FullSyncSchedule Never
FullSyncSchedule 0 2 * * 0
FullSyncSchedule cron(0 2 * * 0)
FullSyncSchedule cron(0 2 * * * *)
FullSyncSchedule cron(0 2 ? * ? *)
FullSyncSchedule cron(0 2 ? * SUN *
FullSyncSchedule "cron(0 2 ? * SUN *)"
FullSyncSchedule rate(0 days)
FullSyncSchedule rate(1 week)
FullSyncSchedule at(2027-01-01T00:00:00)
MaxDeletionsPercent 101
PlaceholderPatterns *@example.com,
PlaceholderPatterns ,User
PlaceholderPatterns User,,Test
PlaceholderPatterns ""
WorkerConcurrency 1
WorkerConcurrency 51
WebhookIpRanges any
WebhookIpRanges dead
WebhookIpRanges 203.0.113
WebhookIpRanges 203.0.113.0/24,
WebhookIpRanges 203.0.113.0/24, 198.51.100.0/24
AccessLogs no
AlertEmail none
AlertEmail ops
AlertEmail ops@example
AlertEmail a@b.test,c@d.test
AlertEmail Ops <ops@example.org>
Architecture x86-64
LogLevel WARN
"""


def lines(text: str) -> list[tuple[str, str]]:
    """Each line's parameter and value."""
    return [(name, value) for name, _, value in (line.partition(" ") for line in text.strip().split("\n"))]


@pytest.mark.parametrize(("name", "value"), lines(ACCEPTED))
def test_valid_value_is_accepted(name: str, value: str) -> None:
    assert is_accepted(name, value)


@pytest.mark.parametrize(("name", "value"), lines(REJECTED))
def test_wrong_or_cut_value_is_rejected(name: str, value: str) -> None:
    assert not is_accepted(name, value)


def test_table_key_that_the_sync_writes_is_rejected() -> None:
    assert [name for name in owned(tuple(FIELDS)) if is_accepted("UsersTableKey", name)] == []


def test_jwt_key_on_one_line_only_is_accepted() -> None:
    assert is_accepted("ClerkJwtKey", KEY)
    for between in ("\n", "\\n", " "):
        assert not is_accepted("ClerkJwtKey", f"{KEY[:64]}{between}{KEY[64:]}")
    assert not is_accepted("ClerkJwtKey", f"-----BEGIN PUBLIC KEY-----\n{KEY}\n-----END PUBLIC KEY-----")


def test_every_parameter_rejects_something_and_says_what_it_must_be() -> None:
    for name, parameter in parameters().items():
        assert parameter["ConstraintDescription"].startswith("must be "), name
        assert parameter["Type"] == "Number" or {"AllowedPattern", "AllowedValues"} & parameter.keys(), name


def test_defaults_are_accepted_and_rejected_if_cut_at_a_space() -> None:
    for name, parameter in parameters().items():
        default = str(parameter["Default"])
        assert is_accepted(name, default), name
        if " " in default:
            assert not is_accepted(name, default.split()[0]), name


def test_schedules_take_the_same_values() -> None:
    schedules = [p["AllowedPattern"] for name, p in parameters().items() if name.endswith("Schedule")]
    assert len(schedules) == 3
    assert len(set(schedules)) == 1


def test_default_placeholder_patterns_match_names_with_spaces() -> None:
    pattern = placeholder_pattern(parameters()["PlaceholderPatterns"]["Default"].split(","))
    for text in ("Test User", "John Doe", "unknown user", "user@example.com", "a@b.example", "N/A"):
        assert pattern.fullmatch(text), text
    for text in ("TestUser", "Tester", "user@examples.com"):
        assert not pattern.fullmatch(text), text


# As the docs say to set them

WANTED = {
    "ClerkIssuer": "https://clerk.your.app",
    "ClerkAuthorizedParties": "https://your.app,http://localhost:3000",
    "FullSyncSchedule": "cron(0 3 ? * MON *)",
    "AuditSchedule": "never",
    "PlaceholderPatterns": "*@example.com,Test?User",
    "AlertEmail": "",
}


def documented(language: str) -> list[str]:
    """The code blocks in this language of the section on setting parameters."""
    _, _, rest = (ROOT / "docs/reference.md").read_text().partition("\n### Set a parameter\n")
    section, _, _ = rest.partition("\n## ")
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", section, re.DOTALL | re.MULTILINE)


def test_sam_cli_reads_the_documented_samconfig_whole() -> None:
    [block] = documented("toml")
    values = parsed_by_sam(tomllib.loads(block)["default"]["deploy"]["parameters"]["parameter_overrides"])
    assert values == WANTED
    assert all(is_accepted(*one) for one in values.items())


def test_sam_cli_reads_the_documented_command_whole() -> None:
    command = shlex.split(documented("sh")[0].replace("\\\n", " "))
    values = parsed_by_sam(command[command.index("--parameter-overrides") + 1 :])
    assert values
    assert values.items() <= WANTED.items()


def test_documented_command_puts_the_jwt_key_on_one_line(tmp_path: Any) -> None:
    lines = [KEY[at : at + 64] for at in range(0, len(KEY), 64)]
    pem = "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])
    (tmp_path / "key.pem").write_text(pem)
    _, _, argument = documented("sh")[1].strip().partition("--parameter-overrides ")
    said = subprocess.run(
        ["sh", "-c", f"printf %s {argument}"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    values = parsed_by_sam([said.stdout])
    assert values == {"ClerkJwtKey": KEY}
    assert is_accepted("ClerkJwtKey", KEY)


def test_samconfig_sets_only_values_that_are_accepted() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    values = parsed_by_sam(config["dev"]["deploy"]["parameters"]["parameter_overrides"])
    assert all(is_accepted(*one) for one in values.items())


@pytest.mark.parametrize(
    "overrides",
    [["FullSyncSchedule=cron(0 3 ? * MON *)"], ["ClerkAuthorizedParties=https://a.test, https://b.test"]],
)
def test_values_that_sam_cli_cuts_are_rejected(overrides: list[str]) -> None:
    [(name, value)] = parsed_by_sam(overrides).items()
    assert not is_accepted(name, value)
