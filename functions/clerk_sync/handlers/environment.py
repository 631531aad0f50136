"""Reads environment variables into settings. Without pydantic, which takes a third of a cold start."""

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from functools import reduce
from typing import Annotated, Self, dataclass_transform

from clerk_sync.errors import SettingsError

ONE_URL = r"^(?!https:.*:443(/|$)|http:.*:80(/|$))https?://[a-z0-9.-]+(:[0-9]+)?(/__clerk)?/?$"
"""As in template.yaml. No issuer has the default port; a proxied one ends with `/__clerk`:
https://clerk.com/docs/guides/dashboard/dns-domains/proxy-fapi."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True)
class Environment:
    """Base of the settings, which become frozen dataclasses. Each field is the environment variable of its
    name, in upper case; an empty one is missing. Its annotations are functions that parse the text."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def from_env(cls, variables: Mapping[str, str] = os.environ) -> Self:
        values, missing, wrong = {}, [], []
        for field in fields(cls):
            variable, readers = field.name.upper(), getattr(field.type, "__metadata__", ())
            if text := variables.get(variable, "").strip():
                try:
                    values[field.name] = reduce(lambda value, read: read(value), readers, text)
                except ValueError as error:
                    quoted = repr(text) if len(text) <= 12 else "wrong"  # a longer one may be a secret
                    wrong.append(f"The environment variable {variable} is {quoted}. {error}.")
            elif field.default is MISSING:
                missing.append(variable)
        if missing:
            raise SettingsError(f"Environment variables are missing: set {', '.join(missing)}.")
        if wrong:
            raise SettingsError(" ".join(wrong))
        return cls(**values)


def between[N: (int, float)](kind: type[N], low: N, high: N) -> Callable[[str], N]:
    """Reads a number within these bounds."""

    def read(text: str) -> N:
        with suppress(ValueError):
            if low <= (number := kind(text)) <= high:
                return number
        raise ValueError(f"It must be a {'whole ' if kind is int else ''}number from {low:g} to {high:g}")

    return read


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("It must be true or false")
    return text.lower() == "true"


def _one_url(text: str) -> str:
    if not re.search(ONE_URL, text):
        raise ValueError("It must be one URL, such as https://clerk.your.app, without a default port")
    return text.rstrip("/")


def _urls(text: str) -> tuple[str, ...]:
    if not (urls := tuple(url.rstrip("/") for url in text.replace(",", " ").split() if url.strip("/"))):
        raise ValueError("It must be URLs, separated by commas or spaces")
    return urls


Flag = Annotated[bool, _flag]
Url = Annotated[str, lambda text: text.rstrip("/")]
OneUrl = Annotated[str, _one_url]
Urls = Annotated[tuple[str, ...], _urls]
Texts = Annotated[tuple[str, ...], lambda text: tuple(text.split(","))]
