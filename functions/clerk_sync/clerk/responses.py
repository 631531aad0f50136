"""What a response says: whether Clerk's API wrote it, what to show of it, and when to try again."""

import json
import re
from dataclasses import dataclass

import httpx

LONGEST_RETRY_AFTER = 24 * 3600.0
_MAX_LENGTH = 80
_HINTS = ("server", "via", "cf-mitigated", "retry-after")
"""Headers that show which firewall, proxy or bot protection answered."""


@dataclass(frozen=True, slots=True)
class ClerkApiError:
    """An error that Clerk's API wrote: `{"errors": [{"code": …}, …], "clerk_trace_id": …}`.

    Source: `ClerkErrors` in the OpenAPI description. Its messages are left out, as they can quote input.
    """

    code: str
    trace_id: str


def clerk_error(response: httpx.Response) -> ClerkApiError | None:
    """The error that Clerk's API wrote; None for what a firewall, a proxy or a wrong address answers."""
    try:
        body = json.loads(response.content)
        code, trace_id = body["errors"][0]["code"], body.get("clerk_trace_id")
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return None
    if not isinstance(code, str) or not code.strip():
        return None
    return ClerkApiError(code, trace_id if isinstance(trace_id, str) else "no trace id")


def describe(response: httpx.Response) -> str:
    """The status with Clerk's error code and trace id, or with the headers that show who answered; never the
    body's text."""
    error = clerk_error(response)
    if error:
        details = [error.code, error.trace_id]
    else:
        details = [response.headers.get("content-type", "no content type")]
        details += [f"{name}: {response.headers[name]}" for name in _HINTS if name in response.headers]
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
