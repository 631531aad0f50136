"""What the two functions behind API Gateway's REST API share."""

import base64
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from clerk_sync.aws.clients import client
from clerk_sync.errors import MessageError


def prepare(*makes: Callable[[], object]) -> None:
    """Make in Lambda's init what the first request needs, as init has a whole processor.

    An error is left to the request, which makes it again and logs why. Lambda would repeat a failed init for
    each request and answer without the reason.
    """
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        with suppress(Exception):
            for make in makes:
                make()


def check_is_request(event: Any, *methods: str) -> None:
    """Raise MessageError unless API Gateway may have sent this, rather than a person who wrote it by hand. If
    methods are given, its method is one of them."""
    match event:
        case {"headers": headers, "body": None | str()}:
            is_method = not methods or event.get("httpMethod") in methods
            if is_method and all(map(_are_texts, (headers, event.get("pathParameters")))):
                return
    raise MessageError("The event is not a request of API Gateway.")


def headers(event: dict[str, Any]) -> dict[str, str]:
    """The request's headers, names in lower case."""
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}


def body(event: dict[str, Any]) -> bytes:
    """The request's body as it was sent. Raises MessageError."""
    text = event.get("body") or ""
    try:
        return base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except ValueError:
        raise MessageError("The body is not text, or not the base64 it is said to be.") from None


def dynamodb() -> Any:
    """DynamoDB, with limits that leave time to answer: Svix gives up after 15 s, API Gateway after 29."""
    return client("dynamodb", read_timeout=2, total_attempts=3)


def _are_texts(values: Any) -> bool:
    return values is None or (
        isinstance(values, dict) and all(isinstance(value, str) for value in values.values())
    )
