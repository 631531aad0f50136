"""Asks Clerk for one user, within the time that a page load has."""

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from clerk_sync.aws.secrets import CachedSecret
from clerk_sync.metrics import record

if TYPE_CHECKING:
    import httpx

_SECONDS = 4.0


def clerk_user(api_url: str, secret_key: CachedSecret, user_id: str) -> Any:
    """Clerk's user object. Raises what ClerkClient.user and CachedSecret.get do."""
    # Imported when Clerk is asked for the first time: it takes long, and fresh rows don't need it.
    from clerk_sync.clerk.client import ClerkClient

    deadline = time.monotonic() + _SECONDS
    secret, time_left = secret_key.get(), lambda: deadline - time.monotonic()
    clerk = ClerkClient(api_url, secret, time_left=time_left, http=_http())
    try:
        return clerk.user(user_id)
    finally:
        record(ClerkRequests=clerk.requests_made, ClerkThrottles=clerk.throttled)


@cache
def _http() -> "httpx.Client":
    """The connection, which is kept from one page load to the next."""
    import httpx

    return httpx.Client(timeout=httpx.Timeout(3.0, connect=2.0))
