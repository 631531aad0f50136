"""Clerk's session tokens, as the local instance signs them. `python3 -m tests.local token` prints one."""

import json
import os
import sys
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

from tests.local.aws import docker
from tests.local.aws.local_aws import LOCAL
from tests.local.clerk.fake_users import make_user

KID = "ins_local"
LOCAL_ORIGIN = "http://localhost:3000"
"""Where the local instance's app is said to be; it becomes a token's `azp`."""

_KEY_FILE = LOCAL / "session-key.pem"
_ENV_FILE = LOCAL / "env.json"
_KEPT_ISSUER = "http://127.0.0.1:8400"


@cache
def session_key() -> rsa.RSAPrivateKey:
    """What local session tokens are signed with, by all commands alike; it protects nothing."""
    if not _KEY_FILE.exists():
        _make_key_file(_KEY_FILE)
    key = load_pem_private_key(_KEY_FILE.read_bytes(), password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def _make_key_file(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    pem = new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # nobody else may read these
        file.write(pem)
        file.flush()
        # Whole or not at all, and if another process was faster, the key is that one's.
        with suppress(FileExistsError):
            os.link(file.name, path)


def new_key() -> rsa.RSAPrivateKey:
    """Another key, for what is rotated or forged."""
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
    """A session token of the user's, version 2, good for a minute.

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
    # Not jwt.encode, which makes no forgeries: it refuses a public key as the secret of an HMAC.
    signer = session_key() if key is None else key
    signature = jwt.get_algorithm_by_name(algorithm).sign(data, signer)
    return b".".join((data, base64url_encode(signature))).decode()


def container_issuer() -> str:
    """What CLERK_ISSUER is in `sam local invoke`: tokens for it must name exactly that."""
    return os.environ.get("CLERK_ISSUER") or _written_issuer() or _KEPT_ISSUER


def local_issuer() -> str:
    """The same, as the local AWS knows it."""
    return container_issuer().replace(docker.HOST, "127.0.0.1")


def _written_issuer() -> str:
    with suppress(OSError, ValueError):
        return str(json.loads(_ENV_FILE.read_text())["Parameters"].get("CLERK_ISSUER", ""))
    return ""


def main(arguments: list[str]) -> int:
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print("usage: python3 -m tests.local token [USER_ID]", file=sys.stderr)
        return 2
    user_id = arguments[0] if arguments else make_user(0)["id"]
    print(session_token(user_id, local_issuer()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
