"""Clerk's webhook events: what each means for the table."""

import json
from dataclasses import dataclass

from clerk_sync.errors import MessageError
from clerk_sync.user import User, UserProblem, parse_user

_USER_EVENTS = frozenset({"user.created", "user.updated"})
_FIRST_MS = 100_000_000_000
"""Smaller timestamps are in seconds: Clerk's description has both."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """One event; `user` is None for the types that are ignored. `timestamp` in ms."""

    type: str
    timestamp: int
    user: User | UserProblem | None


def parse_webhook(body: bytes) -> WebhookEvent:
    """Read an envelope `{"type", "timestamp", "data", …}`.

    Raises MessageError, which quotes nothing, if it is not one.
    """
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        raise MessageError("The body is not JSON") from None
    match envelope:
        case {"type": str(kind), "data": data, "timestamp": int(timestamp)} if timestamp > 0:
            user = parse_user(data) if kind in _USER_EVENTS else None
            return WebhookEvent(kind, _ms(timestamp), user)
    raise MessageError("The body is not an event with type, timestamp and data")


def _ms(timestamp: int) -> int:
    return timestamp if timestamp >= _FIRST_MS else timestamp * 1000
