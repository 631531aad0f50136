"""The session tokens of the other tests, as PyJWT reads them."""

import stat
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.local.clerk import session_tokens as session
from tests.local.clerk.session_tokens import (
    KID,
    LOCAL_ORIGIN,
    jwks,
    new_key,
    public_pem,
    session_key,
    session_token,
)

ISSUER = "https://clerk.local.test"


def decoded(token: str, key: Any = None) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, key or public_pem(session_key()), algorithms=["RS256"])
    return claims


def test_a_token_has_the_claims_of_clerks_second_version() -> None:
    now = time.time()
    token = session_token("user_1", ISSUER)
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": KID, "typ": "JWT"}
    claims = decoded(token)
    assert now - 1 < claims.pop("iat") <= now + 1
    assert now - 11 < claims.pop("nbf") <= now - 9
    assert now + 59 < claims.pop("exp") <= now + 61
    assert claims == {
        "iss": ISSUER,
        "sub": "user_1",
        "azp": LOCAL_ORIGIN,
        "sid": "sess_local",
        "sts": "active",
        "v": 2,
    }


def test_claims_are_replaced_and_left_out() -> None:
    claims = decoded(session_token("user_1", ISSUER, azp=None, sid=None, sts="pending", org="org_1"))
    assert not {"azp", "sid"} & claims.keys()
    assert (claims["sts"], claims["org"]) == ("pending", "org_1")


def test_the_published_key_verifies_and_another_does_not() -> None:
    other = new_key()
    [key, others] = jwks({KID: session_key(), "ins_other": other})["keys"]
    assert {name: key[name] for name in ("kty", "use", "kid", "alg")} == {
        "kty": "RSA",
        "use": "sig",
        "kid": KID,
        "alg": "RS256",
    }
    assert key.keys() == {"kty", "use", "kid", "alg", "n", "e"}
    assert decoded(session_token("user_1", ISSUER), jwt.PyJWK(key))["sub"] == "user_1"
    token = session_token("user_1", ISSUER, key=other, kid="ins_other")
    assert decoded(token, jwt.PyJWK(others))["sub"] == "user_1"
    with pytest.raises(jwt.InvalidSignatureError):
        decoded(token)


def test_forged_tokens_have_the_requested_header_and_claims() -> None:
    unsigned = session_token("user_1", ISSUER, algorithm="none")
    assert unsigned.endswith(".")
    assert jwt.get_unverified_header(unsigned)["alg"] == "none"
    # The classic one: the public key, which everybody has, as the secret of an HMAC.
    pem = public_pem(session_key()).encode()
    forged = session_token("user_1", ISSUER, key=pem, algorithm="HS256")
    data, _, signature = forged.rpartition(".")
    hs256 = jwt.get_algorithm_by_name("HS256")
    assert hs256.verify(data.encode(), pem, jwt.utils.base64url_decode(signature))


def test_key_file_is_kept_and_readable_only_by_its_owner() -> None:
    key = session_key()
    session_key.cache_clear()
    assert session_key().private_numbers() == key.private_numbers()
    assert stat.S_IMODE(session._KEY_FILE.stat().st_mode) == 0o600


def test_second_process_to_create_the_key_uses_the_first_ones(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    session._make_key_file(path)
    first = path.read_bytes()
    session._make_key_file(path)
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]
