"""ProfileFunction: `PUT` and `GET /users/me`, called by the app on page load with a Clerk session token."""

import json
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.aws.clients import client
from clerk_sync.aws.secrets import CachedSecret
from clerk_sync.errors import AwsError, ClerkUnavailable, MessageError, SettingsError, TokenError
from clerk_sync.handlers.api_gateway import NOT_A_REQUEST, check_is_request
from clerk_sync.handlers.api_gateway import headers as request_headers
from clerk_sync.handlers.settings import ProfileSettings
from clerk_sync.log import logger
from clerk_sync.metrics import count
from clerk_sync.profile.cors import cors_headers
from clerk_sync.profile.profile import Profiles
from clerk_sync.profile.refresh_claims import Refreshes
from clerk_sync.profile.request import MAX_BYTES, bearer_token, check_is_about
from clerk_sync.profile.session_token import KeyOf, PublishedKeys, fixed_key, verified_user_id
from clerk_sync.users.row import Opaque, Row
from clerk_sync.users.table import UsersTable

if TYPE_CHECKING:
    import httpx

_METHODS = ("GET", "PUT", "OPTIONS")
_CLERK_SECONDS = 4.0
_RETRY_AFTER_SECONDS = 5

type Answer = tuple[int, dict[str, Any]]


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """A request of API Gateway's REST API → the caller's row as JSON: 200; 400 a body with anything in it,
    401 no valid token or somebody else's row, 404 no row, 413 too big, 500 and 503 with `Retry-After` where
    trying again may help."""
    try:
        settings = _settings()
    except SettingsError as error:
        logger.error("profile_failed", reason=str(error))
        return {"statusCode": 500}
    try:
        check_is_request(event)
        if event.get("httpMethod") not in _METHODS:
            raise MessageError(NOT_A_REQUEST)
    except MessageError as error:
        logger.warning("profile_rejected", reason=str(error))
        return {"statusCode": 400, "body": json.dumps({"error": str(error)})}
    asked = request_headers(event)
    requested = asked.get("access-control-request-headers", "")
    headers = cors_headers(asked.get("origin", ""), requested, settings.clerk_authorized_parties)
    headers["Cache-Control"] = "no-store"
    if event["httpMethod"] == "OPTIONS":
        return {"statusCode": 204, "headers": headers}
    status, body = _answer(event, asked, settings)
    headers["Content-Type"] = "application/json"
    if status == 503:
        headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}


def _answer(event: dict[str, Any], headers: dict[str, str], settings: ProfileSettings) -> Answer:
    if len(event.get("body") or "") > MAX_BYTES:
        return 413, {"error": "The body must be empty."}
    try:
        user_id = verified_user_id(
            bearer_token(headers),
            _key_of(settings),
            settings.clerk_issuer,
            settings.clerk_authorized_parties,
        )
        logger.append_keys(clerkUserId=user_id)
        check_is_about(
            user_id, (event.get("pathParameters") or {}).get("userId", "me"), event.get("body") or ""
        )
        return _row(event["httpMethod"], user_id, _profiles(settings))
    except TokenError as error:
        logger.warning("profile_rejected", reason=str(error))
        return 401, {"error": "Sign in."}
    except MessageError as error:
        return 400, {"error": str(error)}
    except SettingsError as error:
        logger.error("profile_failed", reason=str(error))
        return 500, {"error": "This is not set up right; its log says why."}
    except (AwsError, ClerkUnavailable) as error:
        logger.error("profile_failed", reason=str(error))
        return 503, {"error": "Try again later."}


def _row(method: str, user_id: str, profiles: Profiles) -> Answer:
    if method == "GET":
        row, is_stale = profiles.get(user_id), False
    else:
        profile = profiles.ensure(user_id)
        row, is_stale = (profile.row, profile.is_stale) if profile else (None, False)
    if row is None:
        return 404, {"error": "There is no such user here."}
    return 200, _shown(user_id, row) | ({"stale": True} if is_stale else {})


def _shown(user_id: str, row: Row) -> dict[str, Any]:
    """Only what the sync owns, as it writes it: what else the app keeps in a row may not be for the user."""
    shown = {name: value for name, value in row.items() if not isinstance(value, Opaque)}
    return {"clerkUserId": user_id, **shown}


@cache
def _settings() -> ProfileSettings:
    return ProfileSettings.from_env()


@cache
def _key_of(settings: ProfileSettings) -> KeyOf:
    if settings.clerk_jwt_key:
        return fixed_key(settings.clerk_jwt_key)
    return PublishedKeys(settings.clerk_issuer)


@cache
def _profiles(settings: ProfileSettings) -> Profiles:
    return Profiles(
        UsersTable(client("dynamodb"), settings.users_table, settings.users_table_key),
        Refreshes(client("dynamodb"), settings.runs_table),
        lambda user_id: _ask_clerk(user_id, settings),
        max_age_ms=settings.profile_max_age_seconds * 1000,
        create_missing=settings.create_missing_users,
    )


def _ask_clerk(user_id: str, settings: ProfileSettings) -> Any:
    # Only now, as most page loads find a fresh row and this takes a while to import.
    from clerk_sync.clerk.client import ClerkClient

    deadline = time.monotonic() + _CLERK_SECONDS
    clerk = ClerkClient(
        settings.clerk_api_url,
        _secret_key(settings).get(),
        time_left=lambda: deadline - time.monotonic(),
        http=_http(),
    )
    try:
        return clerk.user(user_id)
    finally:
        count(ClerkRequests=clerk.requests_made, ClerkThrottles=clerk.throttled)


@cache
def _secret_key(settings: ProfileSettings) -> CachedSecret:
    return CachedSecret(settings.clerk_secret_key_parameter, "CLERK_SECRET_KEY")


@cache
def _http() -> "httpx.Client":
    import httpx

    return httpx.Client(timeout=httpx.Timeout(3.0, connect=2.0))
