"""Secrets in SSM: are they there and well-formed? They are never shown."""

import re
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from clerk_sync.text import counted
from tests.cloud.result import Result, ok, wrong

_SECRET_KEY = re.compile(r"sk_(live|test)_[!-~]+")
_ENVIRONMENTS = {"live": "production", "test": "development"}


@dataclass(frozen=True, slots=True)
class Stored:
    """An SSM parameter's value, without the white space around it, and its type."""

    value: str = field(repr=False)
    type: str


def read(ssm: Any, parameter: str) -> Stored | None:
    """The secret in an SSM parameter, None if there is none."""
    try:
        found = ssm.get_parameter(Name=parameter, WithDecryption=True)["Parameter"]
    except ssm.exceptions.ParameterNotFound:
        return None
    return Stored(found["Value"].strip(), found["Type"])


def secret_key_result(parameter: str, stored: Stored | None) -> Result:
    """Whether Clerk's secret key is there and well-formed."""
    to_do = f"Copy the secret key from Clerk's dashboard, API keys, and {_put(parameter, 'sk_live_…')}"
    if fault := _fault(parameter, stored):
        return wrong("secret key", fault, to_do)
    assert stored
    match = _SECRET_KEY.fullmatch(stored.value)
    if not match:
        kind = _other_kind(stored.value, own="sk_")
        return wrong("secret key", f"What SSM has in {parameter} is {kind}, not a secret key.", to_do)
    return ok("secret key", f"{parameter} holds the key of a {environment(stored)} instance")


def environment(secret_key: Stored) -> str:
    """The kind of instance that a well-formed secret key is of."""
    return _ENVIRONMENTS[secret_key.value.split("_")[1]]


def webhook_secret_result(parameter: str, stored: Stored | None) -> Result:
    """Whether the webhook's signing secrets are there and well-formed."""
    to_do = (
        f"Copy the signing secret from the endpoint's page in Clerk's dashboard, and "
        f"{_put(parameter, 'whsec_…')}"
    )
    if fault := _fault(parameter, stored):
        return wrong("webhook secret", fault, to_do)
    assert stored
    secrets = each(stored)
    bad = [secret for secret in secrets if not _is_signing_secret(secret)]
    if bad:
        which = "What SSM has" if len(secrets) == 1 else f"{len(bad)} of the {len(secrets)} that SSM has"
        kind = _other_kind(bad[0], own="whsec_")
        return wrong("webhook secret", f"{which} in {parameter} is {kind}, not a signing secret.", to_do)
    return ok("webhook secret", f"{parameter} holds {counted(len(secrets), 'signing secret')}")


def each(stored: Stored) -> list[str]:
    """The signing secrets: several are separated by spaces or commas."""
    return stored.value.replace(",", " ").split()


def _fault(parameter: str, stored: Stored | None) -> str | None:
    if stored is None:
        return f"There is no SSM parameter {parameter}."
    if stored.type != "SecureString":
        return f"The SSM parameter {parameter} is a {stored.type}: it is stored in plain text."
    return None if stored.value else f"The SSM parameter {parameter} is empty."


def _is_signing_secret(secret: str) -> bool:
    try:
        Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        return False
    return secret.startswith("whsec_")


def _other_kind(value: str, own: str) -> str:
    kinds = {"sk_": "a secret key", "pk_": "a publishable key", "whsec_": "a signing secret"}
    if value.startswith(own):
        return "damaged or cut"
    found = [kind for prefix, kind in kinds.items() if value.startswith(prefix)]
    return found[0] if found else "something else"


def _put(parameter: str, value: str) -> str:
    command = f"aws ssm put-parameter --name {parameter} --type SecureString --overwrite --value '{value}'"
    return f"store it: {command}"
