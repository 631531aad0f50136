"""What a page load may hold: a session token, and nothing but the caller's own id."""

import json
from collections.abc import Mapping

from clerk_sync.errors import MessageError, TokenError

MAX_BYTES = 4 * 1024
_ID_KEYS = ("clerkUserId", "userId", "user_id", "id")


def bearer_token(headers: Mapping[str, str]) -> str:
    """The token of the Authorization header; `headers` have lower-case names. Raises TokenError."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise TokenError("no bearer token")
    return token.strip()


def check_is_about(user_id: str, path_user_id: str, body: str) -> None:
    """Raise TokenError if the path or the body names another user than the caller, who is `me` too, and
    MessageError if the body holds anything else. `null`, `{}` and no body are the same."""
    try:
        values = json.loads(body or "{}")
    except (ValueError, RecursionError):
        values = body
    if not isinstance(values, dict | None):
        raise MessageError("The body must be empty.")
    values = values or {}
    named = {values.pop(key) for key in _ID_KEYS if isinstance(values.get(key), str)}
    if not named | {path_user_id} <= {"me", user_id}:
        raise TokenError("another user's row")
    if values:
        raise MessageError("The body must be empty: what is stored comes from Clerk.")
