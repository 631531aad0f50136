"""ProfileFunction: `PUT` and `GET /users/me`, which the app calls on page load with a Clerk session token."""

import json
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from clerk_sync.aws.items import Items
from clerk_sync.aws.secrets import CachedSecret
from clerk_sync.errors import AwsError, ClerkUnavailable, MessageError, SettingsError, Unauthorized
from clerk_sync.handlers.api_gateway import body, dynamodb, headers, prepare
from clerk_sync.handlers.settings import ProfileSettings
from clerk_sync.log import logger
from clerk_sync.profile.clerk_lookup import clerk_user
from clerk_sync.profile.cors import cors_headers
from clerk_sync.profile.page_load import PageLoads
from clerk_sync.profile.profile import Profiles
from clerk_sync.profile.refresh_claims import RefreshClaims
from clerk_sync.profile.session_token import key_source
from clerk_sync.users.table import UsersTable

MAX_BYTES = 4 * 1024


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, _context: object) -> dict[str, Any]:
    """A request of API Gateway's REST API → the caller's row as JSON: 200; 400 the body is not empty, 401 no
    valid token or another user's row, 404 no row, 413 too big, 500, and 503 with `Retry-After`."""
    response_headers = {"Cache-Control": "no-store"}
    try:
        request_headers = headers(event, "GET", "PUT", "OPTIONS")
        response_headers |= cors_headers(request_headers, _settings().clerk_authorized_parties)
        if event["httpMethod"] == "OPTIONS":
            return {"statusCode": 204, "headers": response_headers}
        status, answer = _answer(event, request_headers)
    except (MessageError, Unauthorized) as error:
        logger.warning("profile_rejected", reason=str(error))
        is_known = isinstance(error, MessageError)
        status, answer = (400, {"error": str(error)}) if is_known else (401, {"error": "Sign in."})
    except SettingsError as error:
        logger.error("profile_failed", reason=str(error))
        status, answer = 500, {"error": "ProfileFunction is not set up right. Its log says why."}
    except (AwsError, ClerkUnavailable) as error:
        logger.error("profile_failed", reason=str(error))
        status, answer = 503, {"error": "Try again later."}
        response_headers["Retry-After"] = "5"
    response_headers["Content-Type"] = "application/json"
    return {"statusCode": status, "headers": response_headers, "body": json.dumps(answer)}


def _answer(event: dict[str, Any], request_headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    content = body(event)
    if len(content) > MAX_BYTES:
        return 413, {"error": "The body must be empty."}
    path_user_id = (event.get("pathParameters") or {}).get("userId", "me")
    answer = _page_loads().answer(event["httpMethod"], path_user_id, request_headers, content)
    return (404, {"error": "There is no such user here."}) if answer is None else (200, answer)


@cache
def _settings() -> ProfileSettings:
    return ProfileSettings.from_env()


@cache
def _page_loads() -> PageLoads:
    settings = _settings()
    secret_key = CachedSecret(settings.clerk_secret_key_parameter, "CLERK_SECRET_KEY")
    profiles = Profiles(
        UsersTable(dynamodb(), settings.users_table, settings.users_table_key, settings.names),
        RefreshClaims(Items(dynamodb(), settings.runs_table)),
        partial(clerk_user, settings.clerk_api_url, secret_key),
        max_age_ms=settings.profile_max_age_seconds * 1000,
        create_missing=settings.create_missing_users,
    )
    keys = key_source(settings.clerk_jwt_key, settings.clerk_issuer)
    return PageLoads(profiles, keys, settings.clerk_issuer, settings.clerk_authorized_parties)


prepare(_page_loads)
