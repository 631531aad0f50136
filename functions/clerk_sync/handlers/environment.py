"""Reads environment variables into a model, with errors that name the variable."""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

from clerk_sync.errors import SettingsError

ONE_URL = r"^https?://[a-z0-9.-]+(:[0-9]+)?(/__clerk)?/?$"
"""ClerkIssuer has the same AllowedPattern in template.yaml. Where an app proxies the Frontend API, its path
is part of the issuer (https://clerk.com/docs/guides/dashboard/dns-domains/proxy-fapi)."""
_MAX_QUOTED = 12
"""A wrong value is quoted in the error up to this length: a longer one may be a secret in the wrong place."""


class Environment(BaseModel):
    """Base of the settings: each field is the environment variable of its name, in upper case."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)

    @classmethod
    def from_env(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """An empty variable is a missing one. Raises SettingsError."""
        texts = {name: variables.get(name.upper(), "").strip() for name in cls.model_fields}
        try:
            return cls.model_validate({name: text for name, text in texts.items() if text})
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False, include_input=False)
            reasons = {str(fault["loc"][0]): fault["msg"] for fault in faults}
        missing = [name.upper() for name in reasons if not texts[name]]
        if missing:
            raise SettingsError(f"Environment variables are missing: set {', '.join(missing)}.")
        raise SettingsError(" ".join(_wrong(name.upper(), texts[name], why) for name, why in reasons.items()))


def _wrong(variable: str, text: str, reason: str) -> str:
    value = repr(text) if len(text) <= _MAX_QUOTED else "wrong"
    return f"The environment variable {variable} is {value}. {reason.removeprefix('Value error, ')}."


def _true_or_false(text: Any) -> Any:
    return {"true": True, "false": False}.get(str(text).lower(), text)


def _one_url(text: str) -> str:
    if not re.search(ONE_URL, text):
        raise ValueError("It must be one URL, such as https://clerk.your.app, without commas or spaces")
    return text.rstrip("/")


def _urls(text: str) -> list[str]:
    return [url.rstrip("/") for url in text.replace(",", " ").split() if url.strip("/")]


Flag = Annotated[bool, Strict(), BeforeValidator(_true_or_false)]
"""`true` or `false`, in any case."""
Url = Annotated[str, AfterValidator(lambda url: url.rstrip("/"))]
OneUrl = Annotated[str, AfterValidator(_one_url)]
Urls = Annotated[tuple[str, ...], BeforeValidator(_urls), Field(min_length=1)]
"""URLs without their trailing slashes, separated by commas or spaces."""
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda text: text.split(","))]
"""Texts that are separated by commas."""
