"""Requests of API Gateway's REST API, as the functions behind it receive them."""

from typing import Any


def is_request(event: Any) -> bool:
    """Whether API Gateway may have sent this, rather than a person who wrote the event by hand."""
    match event:
        case {"headers": headers, "body": None | str()}:
            texts = (headers, event.get("pathParameters"), {"": event.get("httpMethod", "")})
            return all(map(_are_texts, texts))
    return False


def headers(event: dict[str, Any]) -> dict[str, str]:
    """The request's headers, names in lower case."""
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}


def _are_texts(values: Any) -> bool:
    return values is None or (
        isinstance(values, dict) and all(isinstance(value, str) for value in values.values())
    )
