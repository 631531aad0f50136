"""Page loads as ProfileFunction is invoked with them, and what it works on, in memory."""

from types import SimpleNamespace
from typing import Any

from clerk_sync.handlers.settings import ProfileSettings
from clerk_sync.profile.page_load import PageLoads
from clerk_sync.profile.profile import Profiles
from clerk_sync.profile.session_token import key_source
from tests.local.clerk.session_tokens import public_pem, session_key, session_token
from tests.support.fake_refresh_claims import FakeRefreshClaims
from tests.support.fake_users_table import FakeUsersTable

USER = "user_1"
ISSUER = "https://clerk.app.test"
ORIGINS = ("https://app.test", "http://localhost:3000")
SETTINGS = ProfileSettings.from_env(
    {
        "CLERK_API_URL": "https://api.clerk.test/v1",
        "CLERK_SECRET_KEY_PARAMETER": "/clerk/key",
        "CLERK_ISSUER": ISSUER,
        "CLERK_AUTHORIZED_PARTIES": ",".join(ORIGINS),
        "CLERK_JWT_KEY": public_pem(session_key()),
        "PROFILE_MAX_AGE_SECONDS": "300",
        "USERS_TABLE": "Users",
        "USERS_TABLE_KEY": "clerkUserId",
        "CREATE_MISSING_USERS": "true",
        "RUNS_TABLE": "Runs",
    }
)
CONTEXT = SimpleNamespace(
    function_name="profile", memory_limit_in_mb=512, invoked_function_arn="arn:made:up", aws_request_id="r1"
)


def event(
    method: str = "PUT",
    *,
    token: str | None = None,
    path: str = "me",
    body: str | None = None,
    headers: dict[str, str] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """The request as API Gateway's REST API passes it on."""
    signed_in = {"Authorization": f"Bearer {token or session_token(USER, ISSUER)}"}
    return {
        "resource": "/users/{userId}",
        "path": f"/users/{path}",
        "httpMethod": method,
        "headers": {"Accept": "*/*", **(signed_in if headers is None else headers)},
        "queryStringParameters": None,
        "pathParameters": {"userId": path},
        "requestContext": {"resourcePath": "/users/{userId}", "httpMethod": method, "stage": "v1"},
        "body": body,
        "isBase64Encoded": False,
        **changes,
    }


def ask_clerk(user_id: str) -> Any:
    """A Clerk that knows everybody."""
    return {
        "id": user_id,
        "updated_at": 1_700_000_000_001,
        "first_name": "Grace",
        "last_name": "Hopper",
        "private_metadata": {"score": 1},
    }


def page_loads_with(profiles: Any) -> PageLoads:
    """Page loads whose tokens `session_token` makes."""
    return PageLoads(profiles, key_source(SETTINGS.clerk_jwt_key, ISSUER), ISSUER, ORIGINS)


def page_loads_on(table: FakeUsersTable, ask: Any) -> PageLoads:
    """Page loads of which each asks Clerk."""
    claims = FakeRefreshClaims()
    return page_loads_with(
        Profiles(table, claims, ask, max_age_ms=0, create_missing=True, sleep=lambda _: None)
    )
