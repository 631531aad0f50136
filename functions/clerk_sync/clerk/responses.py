"""What a response says: its JSON, whether Clerk's API wrote it, what to show of it, when to try again."""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import httpx
from pydantic_core import SchemaValidator, core_schema

from clerk_sync.users.fields import DEFAULT_NAMES, FIELDS, METADATA, Names, Primary
from clerk_sync.users.values import read_json

LONGEST_RETRY_AFTER = 24 * 3600.0
_MAX_LENGTH = 80
_HINTS = ("server", "via", "cf-mitigated", "retry-after")
"""Headers that show which firewall, proxy or bot protection answered."""


def read_users(body: bytes, names: Names = DEFAULT_NAMES) -> list[Any]:
    """The user objects of a JSON list, each with what `parse_user` needs for these fields. Raises ValueError
    or RecursionError if it is no list."""
    users: list[Any]
    validator = _users_validator(names)
    try:
        if any(FIELDS[name].type is METADATA for name in names):
            raise ValueError("it would read fractions as float")
        users = validator.validate_json(body)  # takes half of the time of json.loads
    except ValueError:
        # It also refuses half of a surrogate pair and long numbers, which must not affect the other users.
        users = validator.validate_python(read_json(body))
    return users


@cache
def _users_validator(names: Names) -> SchemaValidator:
    """It leaves out the other keys of each object in the list, and checks nothing else."""
    keys = ["id", "updated_at"]
    for source in (FIELDS[name].source for name in names):
        keys += [source.items, source.primary_id] if isinstance(source, Primary) else [source]
    anything = core_schema.any_schema()
    user = core_schema.typed_dict_schema(
        dict.fromkeys(keys, core_schema.typed_dict_field(anything, required=False))
    )
    return SchemaValidator(
        core_schema.list_schema(core_schema.union_schema([user, anything], mode="left_to_right"))
    )


def read_object(body: bytes, key: str, is_right: Callable[[Any], bool]) -> Any:
    """The JSON object, which must have a right value under this key. Raises ValueError or RecursionError."""
    found = read_json(body)
    if not isinstance(found, dict) or not is_right(found.get(key)):
        raise ValueError("another object, or none")
    return found


def clerk_error(response: httpx.Response) -> tuple[str, str] | None:
    """The code and the trace id, in words, of an error that Clerk's API wrote: `{"errors": [{"code": …}, …],
    "clerk_trace_id": …}`, `ClerkErrors` in the OpenAPI description. Its messages are left out, as they can
    quote input. None for what a firewall, a proxy or a wrong address answers."""
    try:
        body = json.loads(response.content)
        code, trace_id = body["errors"][0]["code"], body.get("clerk_trace_id")
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return None
    if not isinstance(code, str) or not code.strip():
        return None
    return code, f"trace id {trace_id}" if isinstance(trace_id, str) else "no trace id"


def describe(response: httpx.Response) -> str:
    """The status with Clerk's error code and trace id, or with the headers that show who answered; never the
    body's text."""
    details = clerk_error(response) or (
        response.headers.get("content-type", "no content type"),
        *(f"{name}: {response.headers[name]}" for name in _HINTS if name in response.headers),
    )
    return f"{response.status_code} ({', '.join(detail[:_MAX_LENGTH] for detail in details)})"


def where_to_look(response: httpx.Response) -> str | None:
    """Advice for a response that did not come from Clerk's API; None if it may have."""
    status = response.status_code
    is_json = "json" in response.headers.get("content-type", "").lower()
    if status >= 500 or clerk_error(response) or (status == 200 and is_json):
        return None
    advice = (
        "Clerk's API did not send it: something between here and Clerk answers, such as a firewall or a "
        "proxy. Check this function's network (proxy, firewall, NAT gateway); if it is open, ask Clerk's "
        "support whether its bot protection blocks your address"
    )
    if status < 400 or status == 404:
        advice += ". Check ClerkApiUrl too: Clerk's Backend API is at https://api.clerk.com/v1"
    return advice


def retry_after(response: httpx.Response) -> float | None:
    """How many seconds the response asks to wait, at least 1. None if it does not say, or not in seconds."""
    text = response.headers.get("Retry-After", "").strip()
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or float(text) > LONGEST_RETRY_AFTER:
        return None
    return max(1.0, float(text))
