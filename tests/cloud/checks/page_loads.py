"""If page loads are on: are the keys of session tokens at hand, are they the instance's, are origins set?"""

from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import jwt

from clerk_sync.errors import SettingsError
from clerk_sync.profile.session_token import key_source
from clerk_sync.text import counted
from tests.cloud.checks.secrets import read
from tests.cloud.result import Result, ok, unknown, wrong
from tests.cloud.stack import Stack

SUBJECT = "page loads"
_TIMEOUT = 10


class NoKeysError(Exception):
    """There are no keys to verify session tokens with. The message says why."""


def look(stack: Stack) -> Iterator[Result]:
    issuer = stack.parameters.get("ClerkIssuer", "").rstrip("/")
    if not issuer:
        yield ok(SUBJECT, "off, as ClerkIssuer is empty")
        return
    pem = stack.parameters.get("ClerkJwtKey", "")
    try:
        keys = pem_moduli(pem) if pem else published_moduli(f"{issuer}/.well-known/jwks.json")
    except NoKeysError as error:
        yield no_keys_result(str(error), is_pem=bool(pem))
    else:
        yield keys_result(keys, _instance_moduli(stack), "ClerkJwtKey" if pem else "ClerkIssuer")
    origins = stack.parameters.get("ClerkAuthorizedParties", "").replace(",", " ").split()
    if not origins:
        yield origins_result(origins, None, None)
        return
    try:
        answer = httpx.options(
            f"{stack.url('ApiUrl')}/users/me",
            headers={
                "Origin": origins[0].rstrip("/"),
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "authorization",
            },
            timeout=_TIMEOUT,
        )
    except httpx.HTTPError as error:
        found = f"The Api does not answer: {type(error).__name__}."
        yield unknown("page load origins", found, "Check the network.")
    else:
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        yield origins_result(origins, answer.status_code, allowed)


def pem_moduli(pem: str) -> set[int]:
    """The modulus of ClerkJwtKey. Raises NoKeysError."""
    try:
        return {key_source(pem, "")("").public_numbers().n}
    except SettingsError as error:
        raise NoKeysError(str(error)) from error


def published_moduli(url: str, **headers: str) -> set[int]:
    """The moduli of the keys at this address. Raises NoKeysError."""
    try:
        answer = httpx.get(url, headers=headers, timeout=_TIMEOUT)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoKeysError(f"{url} does not answer: {type(error).__name__}.") from error
    if answer.status_code != 200:
        raise NoKeysError(f"{url} answers {answer.status_code}.")
    return moduli(answer, url)


def moduli(answer: httpx.Response, url: str) -> set[int]:
    """The moduli in an answer. Raises NoKeysError."""
    try:
        keys: Any = jwt.PyJWKSet.from_dict(answer.json()).keys
    except (ValueError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise NoKeysError(f"{url} answers with something else than keys (JWKS).") from error
    return {key.key.public_numbers().n for key in keys if key.key_type == "RSA"}


def _instance_moduli(stack: Stack) -> set[int]:
    """The keys of the secret key's instance; none where Clerk does not tell."""
    secret_key = read(stack.client("ssm"), stack.parameters["ClerkSecretKeyParameter"])
    if secret_key is None or not secret_key.value.isascii():
        return set()
    url = f"{stack.parameters['ClerkApiUrl'].rstrip('/')}/jwks"
    try:
        return published_moduli(url, Authorization=f"Bearer {secret_key.value}")
    except NoKeysError:
        return set()


def no_keys_result(why: str, *, is_pem: bool) -> Result:
    """What is said where there are no keys."""
    if is_pem:
        return wrong(SUBJECT, why, "Deploy with that key, or with an empty ClerkJwtKey.")
    to_do = (
        "Deploy with the Frontend API URL of Clerk's dashboard, API keys, as ClerkIssuer. If it is that, "
        "check the network."
    )
    return wrong(SUBJECT, why, to_do)


def keys_result(keys: set[int], instance_keys: set[int], parameter: str) -> Result:
    """Whether a session token of the instance's can be verified with these keys."""
    if instance_keys and not keys & instance_keys:
        found = f"{parameter} is another instance's than the secret key."
        return wrong(SUBJECT, found, f"Deploy with {parameter} as Clerk's dashboard, API keys, has it.")
    whose = ", the instance's own" if instance_keys else ""
    return ok(SUBJECT, f"session tokens can be verified with {counted(len(keys), 'key')}{whose}")


def origins_result(origins: Sequence[str], status: int | None, allowed: str | None) -> Result:
    """Whether the Api lets a browser call it from the first origin."""
    subject = "page load origins"
    if not origins:
        to_do = "Deploy with the origins of your web apps as ClerkAuthorizedParties."
        return wrong(subject, "ClerkAuthorizedParties is empty, so no browser may call.", to_do)
    if status != 204 or allowed != origins[0].rstrip("/"):
        found = f"The Api does not let {origins[0]} call: it answers {status}."
        return wrong(subject, found, "ProfileFunction's log says why (profile_failed); else deploy again.")
    return ok(subject, f"{', '.join(origins)} may call")
