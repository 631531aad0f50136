"""The edge to Clerk's session tokens: who is calling.

Facts from https://clerk.com/docs/guides/sessions/session-tokens and .../manual-jwt-verification; the
categories from Clerk's JavaScript SDK (clerk/javascript#9469).
"""

import base64
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from clerk_sync.errors import ClerkUnavailable, SettingsError, Unauthorized
from clerk_sync.users.user import is_id

SKEW_SECONDS = 5
SESSION_CATEGORIES = ("cl_B7d4PD111AAA", "cl_I7d4PD111III")
"""The `cat` of a session token's header: a normal session, and an impersonated one."""

_HOUR_SECONDS = 60 * 60
_TIMEOUT_SECONDS = 3
_COOLDOWN_SECONDS = 30

type KeyOf = Callable[[str], Any]
"""Key id → the public key to verify a token with. Raises Unauthorized, ClerkUnavailable."""


def verified_user_id(token: str, key_of: KeyOf, issuer: str, authorized_parties: Collection[str]) -> str:
    """The id of the user whom this session token signs in.

    The issuer's key signs other tokens too: OAuth access tokens, id tokens, tokens of JWT templates and of
    machines, some of them good for years. A session token has a `sid`, a user in `sub`, and a header that
    names no other kind. Its signature must be RS256, the time between `nbf` and `exp`, and the session not
    pending. `azp`, the origin it was made for, must be in `authorized_parties`; native apps have none.

    Raises Unauthorized, or ClerkUnavailable if the key can't be fetched.
    """
    try:
        header = jwt.get_unverified_header(token)
        _check_kind(header)
        claims = jwt.decode(
            token,
            key_of(header.get("kid", "")),
            algorithms=["RS256"],
            issuer=issuer,
            leeway=SKEW_SECONDS,
            options={"require": ["iss", "sub", "sid", "exp", "nbf"], "verify_aud": False},
        )
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        # Only the error's name: some of the messages quote the token.
        raise Unauthorized(type(error).__name__) from None
    if claims.get("sts") == "pending":
        raise Unauthorized("the session is pending")
    if not isinstance(claims["sid"], str) or not claims["sid"].strip():
        raise Unauthorized("sid is not a session's id")
    azp = claims.get("azp")
    if azp not in (None, "") and azp not in authorized_parties:
        raise Unauthorized("azp is not in ClerkAuthorizedParties")
    user_id: str = claims["sub"]
    if not is_id(user_id) or not user_id.startswith("user_"):
        raise Unauthorized("sub is not a user's id")
    return user_id


def _check_kind(header: Mapping[str, Any]) -> None:
    """Raise Unauthorized for other kinds of tokens, before any key is fetched for them."""
    typ = header.get("typ", "JWT")
    if not isinstance(typ, str) or typ.upper() != "JWT":
        raise Unauthorized("typ is not JWT")
    if "cat" in header and header["cat"] not in SESSION_CATEGORIES:
        raise Unauthorized("cat is not a session token's")


def key_source(pem: str | None, issuer: str) -> KeyOf:
    """The public key of Clerk's dashboard, or the keys that the issuer publishes where there is none. A PEM
    may have real or escaped line breaks, or be only the base64 inside. Raises SettingsError."""
    if not pem:
        return PublishedKeys(issuer)
    body = re.sub(r"-----[^-]+-----|\\n|\\r|\s", "", pem)
    try:
        key = load_der_public_key(base64.b64decode(body, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise SettingsError(
            "ClerkJwtKey is not an RSA public key. Copy the JWKS Public Key of Clerk's dashboard (API keys)."
        )
    return lambda _: key


class PublishedKeys:
    """The issuer's published keys, as a KeyOf. They are fetched once an hour, and at most twice a minute for
    an unknown key id, as anyone can make one up. A fetch that fails leaves the keys of the last one."""

    def __init__(self, issuer: str) -> None:
        self._client = jwt.PyJWKClient(
            f"{issuer}/.well-known/jwks.json",
            cache_jwk_set=False,
            timeout=_TIMEOUT_SECONDS,
            headers={"User-Agent": "clerk-sync"},
        )
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = 0.0
        self._failure: str | None = None

    def __call__(self, key_id: str) -> Any:
        age = time.monotonic() - self._fetched_at
        if not self._keys or age > (_HOUR_SECONDS if key_id in self._keys else _COOLDOWN_SECONDS):
            self._fetch()
        if key_id in self._keys:
            return self._keys[key_id]
        if self._failure:
            raise ClerkUnavailable(f"{self._client.uri} returns no keys: {self._failure}")
        raise Unauthorized("the issuer has no such key")

    def _fetch(self) -> None:
        self._fetched_at = time.monotonic()
        try:
            self._keys = {key.key_id: key for key in reversed(self._client.get_signing_keys())}
            self._failure = None
        except (jwt.PyJWTError, OSError, ValueError, RecursionError) as error:
            self._failure = str(error) or type(error).__name__
