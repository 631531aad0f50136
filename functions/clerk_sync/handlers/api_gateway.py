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


def headers(event: Any, *methods: str) -> dict[str, str]:
    """The headers of a request with one of these methods, if any are given. Their names are in lower case.

    Raises MessageError unless API Gateway may have sent the event, rather than a person who wrote it by hand.
    """
    match event:
        case {"headers": found, "body": None | str()} if not methods or event.get("httpMethod") in methods:
            if _are_texts(found) and _are_texts(event.get("pathParameters")):
                return {name.lower(): value for name, value in (found or {}).items()}
    raise MessageError("The event is not a request of API Gateway.")


def body(event: dict[str, Any]) -> bytes:
    """The request's body as it was sent. Raises MessageError."""
    text = event.get("body") or ""
    try:
        return base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    except ValueError:
        raise MessageError("The body is not text, or not the base64 it is said to be.") from None


def dynamodb() -> Any:
    """DynamoDB, with limits that leave time to answer after two requests that hang, of 6 s at most each: Svix
    gives up after 15 s, API Gateway after 29."""
    return client("dynamodb", read_timeout=1, total_attempts=3)


def _are_texts(values: Any) -> bool:
    return values is None or (isinstance(values, dict) and {*map(type, values.values())} <= {str})
