"""Clerk's session tokens, as the local instance signs them."""

import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jwt.algorithms import RSAAlgorithm
from jwt.utils import base64url_encode

from tests.local.paths import LOCAL

KID = "ins_local"
LOCAL_ORIGIN = "http://localhost:3000"
"""Where the local instance's app is said to be; it becomes a token's `azp`."""

_KEY_FILE = LOCAL / "session-key.pem"


@cache
def session_key() -> rsa.RSAPrivateKey:
    """The key that signs local session tokens. All commands share it; it protects nothing."""
    if not _KEY_FILE.exists():
        _make_key_file(_KEY_FILE)
    key = load_pem_private_key(_KEY_FILE.read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def _make_key_file(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    pem = new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # readable only by its owner
        file.write(pem)
        file.flush()
        # Whole or not at all. If another process was faster, its key is used.
        with suppress(FileExistsError):
            os.link(file.name, path)


def new_key() -> rsa.RSAPrivateKey:
    """Another key, to rotate keys and to forge tokens."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """The public key, as Clerk's dashboard shows it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwks(keys: Mapping[str, rsa.RSAPrivateKey]) -> dict[str, Any]:
    """The public keys by their ids, as Clerk publishes them."""
    return {"keys": [_jwk(kid, key) for kid, key in keys.items()]}


def _jwk(kid: str, key: rsa.RSAPrivateKey) -> dict[str, Any]:
    numbers = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {"use": "sig", "kty": "RSA", "kid": kid, "alg": "RS256", "n": numbers["n"], "e": numbers["e"]}


def session_token(
    user_id: str,
    issuer: str,
    *,
    key: rsa.RSAPrivateKey | bytes | None = None,
    kid: str = KID,
    azp: str | None = LOCAL_ORIGIN,
    algorithm: str = "RS256",
    header: Mapping[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A session token of this user, version 2, valid for a minute.

    Claims replace those that Clerk makes, and `header` its header's; None leaves a claim out.
    """
    now = int(time.time())
    made = {
        "iss": issuer,
        "sub": user_id,
        "azp": azp,
        "iat": now,
        "nbf": now - 10,
        "exp": now + 60,
        "sid": "sess_local",
        "sts": "active",
        "v": 2,
    }
    payload = {name: value for name, value in (made | claims).items() if value is not None}
    head = {"alg": algorithm, "kid": kid, "typ": "JWT", **(header or {})}
    data = b".".join(base64url_encode(json.dumps(part).encode()) for part in (head, payload))
    # Not jwt.encode: it rejects a public key as the secret of an HMAC, which a forgery needs.
    signer = session_key() if key is None else key
    signature = jwt.get_algorithm_by_name(algorithm).sign(data, signer)
    return b".".join((data, base64url_encode(signature))).decode()
