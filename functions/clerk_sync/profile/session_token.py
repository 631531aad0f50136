"""The edge to Clerk's session tokens: who is calling.

Facts from https://clerk.com/docs/guides/sessions/session-tokens and .../manual-jwt-verification.
"""

import base64
import math
import re
import time
from collections.abc import Callable, Collection
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from clerk_sync.errors import ClerkUnavailable, SettingsError, TokenError
from clerk_sync.users.user import is_id

SKEW_SECONDS = 5
_HOUR_SECONDS = 60 * 60
_TIMEOUT_SECONDS = 3
_COOLDOWN_SECONDS = 30

type KeyOf = Callable[[str], Any]
"""Token → the public key that it should be signed with. Raises TokenError, ClerkUnavailable."""


def verified_user_id(token: str, key_of: KeyOf, issuer: str, authorized_parties: Collection[str]) -> str:
    """Who is signed in by this token, which lasts about a minute.

    Only the issuer's RS256 signature counts, and only within `exp` and `nbf`, for a session that is not
    pending. `azp`, the origin that the token was made for, must be one of `authorized_parties`; apps that
    are no web pages have none. There is no `aud`. Raises TokenError, or ClerkUnavailable when the key can't
    be had.
    """
    try:
        claims = jwt.decode(
            token,
            key_of(token),
            algorithms=["RS256"],
            issuer=issuer,
            leeway=SKEW_SECONDS,
            options={"require": ["iss", "sub", "exp", "nbf"], "verify_aud": False},
        )
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        # The kind alone: some of the messages quote what is in the token.
        raise TokenError(type(error).__name__) from None
    if claims.get("sts") == "pending":
        raise TokenError("the session is pending")
    if claims.get("azp") is not None and claims["azp"] not in authorized_parties:
        raise TokenError("azp is none of ClerkAuthorizedParties")
    user_id: str = claims["sub"]
    if not is_id(user_id):
        raise TokenError("sub is no user's id")
    return user_id


def fixed_key(pem: str) -> KeyOf:
    """The key from Clerk's dashboard: a PEM, its line breaks real or spelt out, or just what is between its
    first line and its last. Raises SettingsError."""
    body = re.sub(r"-----[^-]+-----|\\n|\\r|\s", "", pem)
    try:
        key = load_der_public_key(base64.b64decode(body, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise SettingsError(
            "ClerkJwtKey is no RSA public key: copy the JWKS Public Key of Clerk's dashboard, under API keys."
        )
    return lambda _: key


class PublishedKeys(jwt.PyJWKClient):
    """The keys at the issuer's own address, as a KeyOf: fetched once an hour, and at most twice a minute for
    one that is not known, as anybody can name one."""

    def __init__(self, issuer: str) -> None:
        super().__init__(
            f"{issuer}/.well-known/jwks.json",
            lifespan=_HOUR_SECONDS,
            timeout=_TIMEOUT_SECONDS,
            cooldown_duration=_COOLDOWN_SECONDS,
            headers={"User-Agent": "clerk-sync"},
        )
        self._failed_at = -math.inf
        self._keys: jwt.PyJWKSet | None = None

    def __call__(self, token: str) -> Any:
        key_id = jwt.get_unverified_header(token).get("kid", "")
        try:
            return self.get_signing_key(key_id)
        except jwt.PyJWKClientError:
            raise TokenError("no key of the issuer's signs like this") from None

    def fetch_data(self) -> Any:
        """The library's own, but that keys which were good stay so when the issuer gives no better ones: then
        it is not asked again at once, and what can't be known without it is ClerkUnavailable."""
        is_refresh = self.jwk_set_cache is not None and self.jwk_set_cache.get() is not None
        if is_refresh and time.monotonic() - self._failed_at < _COOLDOWN_SECONDS:
            raise ClerkUnavailable(f"{self.uri} gave no keys a moment ago")
        try:
            keys = jwt.PyJWKSet.from_dict(super().fetch_data())
            self._get_signing_keys_from_jwk_set(keys)
        except (jwt.PyJWTError, OSError, ValueError, RecursionError) as error:
            self._failed_at = time.monotonic()
            if self.jwk_set_cache is not None:
                self.jwk_set_cache.put(self._keys)
            if self._keys is None or is_refresh:
                raise ClerkUnavailable(f"{self.uri} gives no keys: {error}") from error
            return self._keys
        self._keys = keys
        return keys
