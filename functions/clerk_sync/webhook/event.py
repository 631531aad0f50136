"""Clerk's webhook events: what each means for the table."""

import json
from dataclasses import dataclass
from typing import Any

from clerk_sync.errors import MessageError
from clerk_sync.users.user import MAX_MS, Change, Deletion, SignIn, UserProblem, is_id, parse_user

USER_EVENTS = frozenset({"user.created", "user.updated", "user.deleted", "session.created"})
"""The types that the endpoint in Clerk's dashboard subscribes to."""
_FIRST_MS = 100_000_000_000
"""Smaller timestamps are in seconds: Clerk's description has both."""


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """One event, and what it tells the table; None for the types that tell it nothing. `timestamp` in ms."""

    type: str
    timestamp: int
    change: Change | UserProblem | None


def parse_webhook(body: bytes) -> WebhookEvent:
    """Read an envelope `{"type", "timestamp", "data", …}`.

    Raises MessageError, which quotes nothing, if it is not one.
    """
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        raise MessageError("The body is not JSON") from None
    match envelope:
        case {"type": str(kind), "data": data, "timestamp": timestamp} if _is_time(timestamp):
            timestamp = timestamp if timestamp >= _FIRST_MS else timestamp * 1000
            return WebhookEvent(kind, timestamp, _change(kind, data, timestamp))
    raise MessageError("The body is not an event with type, timestamp and data")


def _is_time(timestamp: Any) -> bool:
    return type(timestamp) is int and 0 < timestamp < MAX_MS


def _change(kind: str, data: Any, timestamp: int) -> Change | UserProblem | None:
    match kind, data:
        case "user.created" | "user.updated", _:
            return parse_user(data)
        case "user.deleted", {"id": user_id} if is_id(user_id):
            return Deletion(user_id, timestamp)
        case "session.created", {"user": dict(user)}:
            return parse_user(user)
        case "session.created", {"user_id": user_id} if is_id(user_id):
            return SignIn(user_id, timestamp)
        case "user.deleted" | "session.created", _:
            return UserProblem(None, f"The {kind} event names no user")
    return None
