"""The edge to SSM: secrets, each with what to do if it is wrong."""

import os
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

from clerk_sync.aws.clients import client, translated
from clerk_sync.errors import AwsError, SettingsError


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, where it was found, and what to do if it is wrong."""

    value: str = field(repr=False)
    source: str
    remedy: str


@dataclass
class CachedSecret:
    """A secret that is kept for `KEPT_SECONDS`, and read again sooner if it seems to have been replaced."""

    KEPT_SECONDS: ClassVar = 300.0
    AGAIN_SECONDS: ClassVar = 60.0

    parameter: str
    variable: str
    _secret: Secret | None = None
    _read_at: float = 0.0

    def get(self) -> Secret:
        """Raises what `read_secret` does; while SSM does not answer, the last secret is kept."""
        if self._secret is None or self._age() > self.KEPT_SECONDS:
            try:
                self._secret = read_secret(self.parameter, self.variable)
            except AwsError:
                if self._secret is None:
                    raise
            self._read_at = time.monotonic()
        return self._secret

    def replaced(self) -> Secret | None:
        """The secret that replaced the last one; None if it is the same. Looks at most once in
        `AGAIN_SECONDS`, so that callers can't make it ask SSM for each request."""
        before = self._secret
        if self._age() < self.AGAIN_SECONDS:
            return None
        self._read_at = time.monotonic()  # a look that fails counts too
        self._secret = read_secret(self.parameter, self.variable)
        return self._secret if self._secret != before else None

    def _age(self) -> float:
        return time.monotonic() - self._read_at


def ssm() -> Any:
    """SSM, with limits that leave time to answer with the last secret: WebhookFunction has 14 s."""
    return client("ssm", read_timeout=2, total_attempts=3)


def read_secret(parameter: str, variable: str) -> Secret:
    """The secret in the environment variable, so that `sam local invoke` needs no SSM, or else in the SSM
    SecureString. Raises SettingsError if there is none, AwsError if SSM does not answer."""
    if value := os.environ.get(variable, "").strip():
        source, remedy = f"the environment variable {variable}", f"Correct {variable}."
    else:
        source = f"the SSM parameter {parameter}"
        remedy = (
            f"Set it with: aws ssm put-parameter --name '{parameter}' --type SecureString --overwrite "
            "--value '…'"
        )
        with translated(f"reading {source}"):
            try:
                found = ssm().get_parameter(Name=parameter, WithDecryption=True)["Parameter"]
            except ssm().exceptions.ParameterNotFound as error:
                raise SettingsError(f"There is no secret in {source}. {remedy}") from error
        value = found["Value"].strip()
    if not value or not value.isascii() or not value.isprintable():
        raise SettingsError(f"The secret in {source} is empty or not plain text. {remedy}")
    return Secret(value, source, remedy)
