"""Clerk's webhook events: what each means for the table."""

from dataclasses import dataclass
from typing import Any

from clerk_sync.clock import is_from_future
from clerk_sync.errors import MessageError
from clerk_sync.users.fields import DEFAULT_NAMES, Names
from clerk_sync.users.user import Change, Deletion, SignIn, User, UserProblem, is_id, parse_user
from clerk_sync.users.values import read_json

USER_EVENTS = frozenset({"user.created", "user.updated", "user.deleted", "session.created"})
"""The types that the endpoint in Clerk's dashboard subscribes to."""
_FIRST_MS = 100_000_000_000
"""Smaller times are in seconds: Clerk's description has both."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event changes nothing, for this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """One event and the change it brings.

    `as_of` (ms) dates the user in it; 0, which is older than any deletion, where Clerk gives no time.
    `instance_id` is the Clerk instance it comes from, where Clerk names it.
    """

    type: str
    instance_id: str | None
    as_of: int
    change: Change | UserProblem | Ignored


def parse_webhook(body: bytes, signed_at: int, names: Names = DEFAULT_NAMES) -> WebhookEvent:
    """Read an envelope `{"type", "timestamp", "data", "instance_id", …}`, and these fields of the user in it.

    `signed_at` (ms) dates a deletion or a sign-in where the envelope has no usable time. It is the time of
    this delivery, which can be a day later than the event.
    Raises MessageError, which quotes nothing, if the body is not an event.
    """
    try:
        envelope = read_json(body)
    except (ValueError, RecursionError):
        raise MessageError("The body is not JSON") from None
    match envelope:
        case {"type": str(kind)} if "data" in envelope or kind not in USER_EVENTS:
            timestamp = _time(envelope.get("timestamp"), signed_at)
            instance_id = envelope.get("instance_id")
            return WebhookEvent(
                kind,
                instance_id if is_id(instance_id) else None,
                timestamp or 0,
                _change(kind, envelope.get("data"), timestamp or signed_at, signed_at, names),
            )
    raise MessageError("The body is not an event with type and data")


def _time(value: Any, signed_at: int) -> int | None:
    """A time in ms or s as ms; None if it is not one, or is over a day ahead of the clock."""
    if type(value) is not int or value <= 0:
        return None
    ms = value if value >= _FIRST_MS else value * 1000
    return None if is_from_future(ms, signed_at) else ms


def _change(kind: str, data: Any, at: int, signed_at: int, names: Names) -> Change | UserProblem | Ignored:
    match kind, data:
        case "user.created" | "user.updated", _:
            return parse_user(data, signed_at, names)
        case "user.deleted", {"id": user_id} if is_id(user_id):
            return Deletion(user_id, at)
        case "session.created", {"actor": actor} if actor:
            return Ignored("Somebody else signed in as this user (impersonation)")
        case "session.created", dict():
            # A session embeds its user, as a rule; where that is unusable, the sign-in alone is known.
            user, user_id = parse_user(data.get("user"), signed_at, names), data.get("user_id")
            if isinstance(user, User) and (user.id == user_id or not is_id(user_id)):
                return user
            if is_id(user_id):
                return SignIn(str(user_id), _time(data.get("created_at"), signed_at) or at)
    if kind in USER_EVENTS:
        return UserProblem(None, f"The {kind} event names no user")
    return Ignored("This type of event is not about a user")
