"""Asks Clerk for one user, within the time that a page load has."""

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from clerk_sync.aws.secrets import CachedSecret
from clerk_sync.metrics import count

if TYPE_CHECKING:
    import httpx

_SECONDS = 4.0


class ClerkLookup:
    """The connection and the secret key are kept from one page load to the next."""

    def __init__(self, api_url: str, secret_key: CachedSecret) -> None:
        self._api_url = api_url
        self._secret_key = secret_key

    def user(self, user_id: str) -> Any:
        """Clerk's user object. Raises what ClerkClient.user and CachedSecret.get do."""
        # Imported only now, as most page loads find a fresh row and this takes a while.
        from clerk_sync.clerk.client import ClerkClient

        deadline = time.monotonic() + _SECONDS
        clerk = ClerkClient(
            self._api_url,
            self._secret_key.get(),
            time_left=lambda: deadline - time.monotonic(),
            http=self._http,
        )
        try:
            return clerk.user(user_id)
        finally:
            count(ClerkRequests=clerk.requests_made, ClerkThrottles=clerk.throttled)

    @cached_property
    def _http(self) -> "httpx.Client":
        import httpx

        return httpx.Client(timeout=httpx.Timeout(3.0, connect=2.0))
