"""One page load: who is calling, whether the request is only about them, and what they get."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from clerk_sync.errors import MessageError, Unauthorized
from clerk_sync.log import logger
from clerk_sync.profile.profile import Profiles
from clerk_sync.profile.session_token import KeyOf, verified_user_id

_ID_KEYS = ("clerkUserId", "userId", "user_id", "id")


@dataclass(frozen=True, slots=True)
class PageLoads:
    """Answers page loads that have a session token of `issuer`, for an origin in `authorized_parties`."""

    profiles: Profiles
    key_of: KeyOf
    issuer: str
    authorized_parties: Collection[str]

    def answer(
        self, method: str, path_user_id: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, Any] | None:
        """What the caller gets for a GET or a PUT, or None for a 404. `headers` have lower-case names.

        Raises Unauthorized for a caller who is not signed in or asks for another user's row, MessageError for
        a body that is not empty, and what Profiles does.
        """
        token = _bearer_token(headers)
        user_id = verified_user_id(token, self.key_of, self.issuer, self.authorized_parties)
        logger.append_keys(clerkUserId=user_id)
        _check_is_about(user_id, path_user_id, body)
        profile = self.profiles.get(user_id) if method == "GET" else self.profiles.ensure(user_id)
        return profile.shown(user_id, self.profiles.users_table.names) if profile else None


def _bearer_token(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("no bearer token")
    return token.strip()


def _check_is_about(user_id: str, path_user_id: str, body: bytes) -> None:
    """The path and the body may name the caller, who is `me` too. HTTP clients send `null`, `{}`, `""` or
    white space where there is no body."""
    try:
        values = json.loads(body) if body.strip() else None
    except (ValueError, RecursionError):
        values = body
    if values != "" and not isinstance(values, dict | None):
        raise MessageError("The body must be empty.")
    values = values or {}
    named = {values.pop(key) for key in _ID_KEYS if isinstance(values.get(key), str)}
    if not named | {path_user_id} <= {"me", user_id}:
        raise Unauthorized("another user's row")
    if values:
        raise MessageError("The body must be empty: what is stored comes from Clerk.")
