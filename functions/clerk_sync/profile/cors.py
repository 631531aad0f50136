"""Which web pages may call, and with which headers: the answers to a browser's CORS preflight."""

import re
from collections.abc import Collection, Mapping

MAX_HEADERS = 50
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""RFC 9110's token. A lone * would mean every header, so it is not allowed."""


def cors_headers(request: Mapping[str, str], origins: Collection[str]) -> dict[str, str]:
    """The response headers for a request with these headers, their names in lower case. Only a page of one of
    the origins may call.

    Tracing tools add headers of their own to every call of a page, so a preflight allows each well-formed
    name that it asks for.
    """
    origin = request.get("origin", "")
    headers = {"Vary": "Origin"}
    if origin in origins:
        headers |= {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "GET, PUT",
            "Access-Control-Allow-Headers": ", ".join(_allowed_headers(request)),
            "Access-Control-Expose-Headers": "Retry-After",
            "Access-Control-Max-Age": "7200",
        }
    return headers


def _allowed_headers(request: Mapping[str, str]) -> Collection[str]:
    allowed = {"authorization": "Authorization", "content-type": "Content-Type"}
    requested = request.get("access-control-request-headers", "")
    for text in requested.split(",", MAX_HEADERS)[:MAX_HEADERS]:
        name = text.strip(" \t")
        if name != "*" and _HEADER_NAME.fullmatch(name):
            allowed.setdefault(name.lower(), name)
    return allowed.values()
