"""Which web pages may call, and with which headers: the answers to a browser's CORS preflight."""

import re
from collections.abc import Collection

MAX_HEADERS = 50
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""RFC 9110's token. A lone * would mean every header, so it is not allowed."""


def cors_headers(origin: str, requested: str, origins: Collection[str]) -> dict[str, str]:
    """The response headers for a page of `origin`, which is allowed to call only if it is in `origins`.

    `requested` is the preflight's Access-Control-Request-Headers: tracing tools add headers of their own to
    every call of the page, so each well-formed name is allowed.
    """
    headers = {"Vary": "Origin"}
    if origin in origins:
        headers |= {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "GET, PUT",
            "Access-Control-Allow-Headers": ", ".join(_allowed_headers(requested)),
            "Access-Control-Expose-Headers": "Retry-After",
            "Access-Control-Max-Age": "7200",
        }
    return headers


def _allowed_headers(requested: str) -> Collection[str]:
    allowed = {"authorization": "Authorization", "content-type": "Content-Type"}
    for text in requested.split(",", MAX_HEADERS)[:MAX_HEADERS]:
        name = text.strip(" \t")
        if name != "*" and _HEADER_NAME.fullmatch(name):
            allowed.setdefault(name.lower(), name)
    return allowed.values()
