import base64
import io
import json
from contextlib import suppress
from datetime import datetime
from email.message import Message
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.request import HTTPSHandler, Request
from urllib.response import addinfourl

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from jwt.utils import base64url_encode

from clerk_sync.errors import ClerkUnavailable, SettingsError, TokenError
from clerk_sync.profile.session_token import KeyOf, PublishedKeys, fixed_key, verified_user_id
from tests.local.clerk.session_tokens import KID, jwks, new_key, public_pem, session_key, session_token
from tests.support.strategies import any_text, json_values

USER = "user_1"
ISSUER = "https://clerk.app.test"
ORIGIN = "https://app.test"
PARTIES = (ORIGIN, "https://other.test")
NOW = 1_800_000_000
MARK = "Quetzalcoatl"
PEM = public_pem(session_key())
FOREIGN_KEY = new_key()


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyJWT's clock stands still."""
    standing = SimpleNamespace(now=partial(datetime.fromtimestamp, NOW))
    monkeypatch.setattr("jwt.api_jwt.datetime", standing)


def token(user_id: str = USER, issuer: str = ISSUER, **options: Any) -> str:
    times = {"iat": NOW, "nbf": NOW - 10, "exp": NOW + 60}
    return session_token(user_id, issuer, **(times | {"azp": ORIGIN} | options))


def claims(**changes: Any) -> dict[str, Any]:
    made = {"iss": ISSUER, "sub": USER, "azp": ORIGIN, "iat": NOW, "nbf": NOW - 10, "exp": NOW + 60}
    return made | changes


def header(**changes: Any) -> dict[str, Any]:
    return {"alg": "RS256", "kid": KID, "typ": "JWT"} | changes


def signed(head: dict[str, Any] | bytes, payload: dict[str, Any] | bytes) -> str:
    """Whatever these are, with the right key's right signature."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, payload)]
    data = b".".join(map(base64url_encode, parts))
    signature = jwt.get_algorithm_by_name("RS256").sign(data, session_key())
    return b".".join((data, base64url_encode(signature))).decode()


def user_of(text: str, key_of: KeyOf | None = None) -> str:
    return verified_user_id(text, key_of or fixed_key(PEM), ISSUER, PARTIES)


def refusal(text: str, key_of: KeyOf | None = None) -> str:
    """Why the token is refused, once it is sure that no word of it is in there."""
    with pytest.raises(TokenError) as error:
        user_of(text, key_of)
    told = str(error.value)
    assert told
    assert len(told) < 100
    assert MARK not in told
    assert [part for part in text.split(".") if len(part) > 3 and part in told] == []
    assert error.value.__cause__ is None, "a log with the cause would quote it"
    assert error.value.__context__ is None or error.value.__suppress_context__, "and so would this"
    return told


def user_or_none(text: str) -> str | None:
    """Who is signed in, or None if the token is refused as it should be."""
    with suppress(TokenError):
        return user_of(text)
    refusal(text)
    return None


# Who is signed in


@pytest.mark.parametrize("azp", [*PARTIES, None])
def test_a_good_token_tells_who_is_signed_in(azp: str | None) -> None:
    assert user_of(token(azp=azp)) == USER


def test_an_azp_of_null_is_none() -> None:
    assert user_of(signed(header(), claims(azp=None))) == USER


@pytest.mark.parametrize("sts", ["active", None])
def test_a_session_that_is_not_pending_counts(sts: str | None) -> None:
    assert user_of(token(sts=sts)) == USER


@pytest.mark.parametrize("aud", ["somebody else", ["a", "b"]])
def test_an_audience_does_not_matter(aud: Any) -> None:
    assert user_of(token(aud=aud)) == USER


@pytest.mark.parametrize("length", [1, 255])
def test_an_id_may_be_as_long_as_a_key_takes(length: int) -> None:
    assert user_of(token("u" * length)) == "u" * length


def test_a_pending_session_is_not_signed_in() -> None:
    assert refusal(token(sts="pending")) == "the session is pending"


@pytest.mark.parametrize("user_id", ["", "u" * 256, MARK * 30])
def test_an_id_that_is_none_is_refused(user_id: str) -> None:
    assert refusal(token(user_id)) == "sub is no user's id"


# When

SKEW = 5


@pytest.mark.parametrize(
    "times", [{"exp": NOW - SKEW + 1}, {"exp": NOW + 1}, {"nbf": NOW + SKEW}, {"nbf": NOW}]
)
def test_clocks_may_differ_by_five_seconds(times: dict[str, Any]) -> None:
    assert user_of(token(**times)) == USER


@pytest.mark.parametrize("exp", [NOW - SKEW, NOW - 3600, 0, -1])
def test_a_token_that_has_expired_is_refused(exp: int) -> None:
    assert refusal(token(exp=exp)) == "ExpiredSignatureError"


@pytest.mark.parametrize("nbf", [NOW + SKEW + 1, NOW + 3600])
def test_a_token_that_is_not_valid_yet_is_refused(nbf: int) -> None:
    assert refusal(token(nbf=nbf)) == "ImmatureSignatureError"


@pytest.mark.parametrize("name", ["exp", "nbf"])
@pytest.mark.parametrize("value", [MARK, "", "soon", [], {}, [NOW], {"at": NOW}, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(name: str, value: Any) -> None:
    refusal(signed(header(), claims(**{name: value})))


@pytest.mark.parametrize("number", ["1e999", "9" * 10_000])
def test_a_time_past_all_numbers_is_refused(number: str) -> None:
    payload = json.dumps(claims(exp=0)).replace('"exp": 0', f'"exp": {number}')
    refusal(signed(header(), payload.encode()))


# By whom, for whom


@pytest.mark.parametrize(
    "issuer",
    [
        *(f"{ISSUER}/", f"{ISSUER}.evil.test", f"https://evil.test/{ISSUER}", f"{ISSUER}@evil.test"),
        *(ISSUER[:-1], ISSUER.upper(), f" {ISSUER}", f"{ISSUER}\n", ISSUER.replace("https", "http")),
        *("", "https://", MARK),
    ],
)
def test_a_token_of_another_issuer_is_refused(issuer: str) -> None:
    assert refusal(token(issuer=issuer)) == "InvalidIssuerError"


@pytest.mark.parametrize("issuer", [7, [ISSUER], {ISSUER: 1}, True])
def test_an_issuer_that_is_no_text_is_refused(issuer: Any) -> None:
    assert refusal(token(iss=issuer)) == "InvalidIssuerError"


@pytest.mark.parametrize(
    "azp",
    [
        *(f"{ORIGIN}/", f"{ORIGIN}.evil.test", ORIGIN[:-1], ORIGIN.upper(), "http://app.test", "", MARK),
        *("null", " ", ",".join(PARTIES), 0, False, 7, list(PARTIES), [ORIGIN], {ORIGIN: 1}, {}, []),
    ],
)
def test_a_token_for_another_app_is_refused(azp: Any) -> None:
    assert refusal(signed(header(), claims(azp=azp))) == "azp is none of ClerkAuthorizedParties"


@pytest.mark.parametrize("name", ["iss", "sub", "exp", "nbf"])
@pytest.mark.parametrize("is_null", [False, True])
def test_a_token_without_what_is_needed_is_refused(name: str, is_null: bool) -> None:
    payload = claims(**{name: None})
    if not is_null:
        del payload[name]
    assert refusal(signed(header(), payload)) == "MissingRequiredClaimError"


@pytest.mark.parametrize("sub", [7, 1.5, True, [USER], {"id": USER}])
def test_a_user_that_is_no_text_is_refused(sub: Any) -> None:
    assert refusal(token(sub=sub)) == "InvalidSubjectError"


# Signed how

CURVE_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("case", ["none", "None", "NONE", "nOnE"])
def test_an_unsigned_token_is_refused(case: str) -> None:
    assert refusal(token(algorithm="none")) == "InvalidAlgorithmError"
    data = token().rpartition(".")[0]
    bare = base64url_encode(json.dumps(header(alg=case)).encode()).decode() + "." + data.partition(".")[2]
    for text in (f"{bare}.", f"{bare}.AAAA", f"{data}."):
        refusal(text)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize(
    "secret",
    [
        *(PEM.encode(), PEM.strip().encode(), PEM.replace("\n", "").encode(), b""),
        session_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ],
)
def test_the_public_key_is_no_secret_to_sign_with(algorithm: str, secret: bytes) -> None:
    assert refusal(token(algorithm=algorithm, key=secret)) == "InvalidAlgorithmError"


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "PS512"])
def test_the_right_key_in_another_algorithm_is_refused(algorithm: str) -> None:
    assert refusal(token(algorithm=algorithm)) == "InvalidAlgorithmError"


def test_a_key_of_another_kind_is_refused() -> None:
    curve: Any = CURVE_KEY
    assert refusal(token(algorithm="ES256", key=curve)) == "InvalidAlgorithmError"


def test_another_key_under_the_same_id_is_refused() -> None:
    assert refusal(token(key=FOREIGN_KEY)) == "InvalidSignatureError"


@pytest.mark.parametrize("algorithm", [MARK, "", None, 7, ["RS256"], {"RS256": 1}])
def test_an_algorithm_that_is_none_is_refused(algorithm: Any) -> None:
    refusal(signed(header(alg=algorithm), claims()))


def test_a_key_that_the_token_brings_along_is_not_used() -> None:
    [brought] = jwks({KID: FOREIGN_KEY})["keys"]
    head = header(jwk=brought, jku="https://evil.test/keys", x5u="https://evil.test/cert")
    data = b".".join(base64url_encode(json.dumps(part).encode()) for part in (head, claims()))
    signature = jwt.get_algorithm_by_name("RS256").sign(data, FOREIGN_KEY)
    assert refusal(b".".join((data, base64url_encode(signature))).decode()) == "InvalidSignatureError"


def test_what_the_header_calls_critical_is_not_passed_over() -> None:
    refusal(signed(header(crit=[MARK], **{MARK: 1}), claims()))
    refusal(signed(header(crit=["b64"], b64=False), claims()))


# Not tokens at all


def test_every_tampered_claim_is_noticed() -> None:
    head, _, signature = token().split(".")
    for changes in ({"sub": "user_2"}, {"exp": NOW + 999}, {"azp": None}, {"sts": "active"}):
        payload = base64url_encode(json.dumps(claims(**changes)).encode()).decode()
        assert refusal(f"{head}.{payload}.{signature}") == "InvalidSignatureError"


def test_a_token_cut_anywhere_is_refused() -> None:
    good = token()
    for length in range(0, len(good), 7):
        refusal(good[:length])
    refusal(good[:-1])
    refusal(good[1:])


GOOD = token()
DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            ".",
            "..",
            "...",
            "....",
            MARK,
            f"{MARK}.{MARK}",
            f"{MARK}.{MARK}.{MARK}",
            "\x00.\x00.\x00",
        ),
        *(f"{GOOD}.", f".{GOOD}", f"{GOOD}.{GOOD}", f"{GOOD}.AAAA", f"{GOOD}\n", f" {GOOD}", f'"{GOOD}"'),
        *(GOOD.replace(".", ".."), GOOD.replace(".", " "), GOOD.replace(".", "。"), GOOD.swapcase()),
        *("ключ.ключ.ключ", GOOD + "é", "\ud800", GOOD + "\udfff", "😀.😀.😀"),
        *("x" * 1_000_000, "." * 1_000_000, GOOD + "A" * 1_000_000, "e30." * 250_000),
        f"{'=' * 1_000_000}.{'=' * 1_000_000}.{'=' * 1_000_000}",
    ],
    ids=lambda text: f"{text[:12]!a} {len(text)}",
)
def test_garbage_is_refused(text: str) -> None:
    refusal(text)


@pytest.mark.parametrize(
    "odd",
    [
        *(b"", b"{", b"null", b"[]", b"7", b'"text"', b"\xff\xfe\x00", MARK.encode(), b"{'alg': 'RS256'}"),
        *(DEEP, b'{"alg":' * 50_000, b'{"a": ' + DEEP + b"]" * len(DEEP) + b"}", b"NaN", b"9" * 10_000),
    ],
    ids=lambda odd: f"{odd[:8]!r} {len(odd)}",
)
def test_a_header_or_payload_that_is_no_object_is_refused(odd: bytes) -> None:
    refusal(signed(odd, claims()))
    refusal(signed(header(), odd))


def test_of_a_key_given_twice_no_half_gets_around_a_check() -> None:
    twice = json.dumps(header(alg="none"))[:-1] + ', "alg": "RS256"}'
    data = base64url_encode(twice.encode()).decode() + "." + GOOD.split(".")[1]
    refusal(f"{data}.")
    assert refusal(f"{data}.{GOOD.split('.')[2]}") == "InvalidSignatureError"
    for name, bad in (("sub", 7), ("iss", MARK), ("exp", 0), ("sts", "pending"), ("azp", MARK)):
        payload = json.dumps(claims())[:-1] + f', "{name}": {json.dumps(bad)}}}'
        refusal(signed(header(), payload.encode()))


@pytest.mark.parametrize("kid", [7, None, [KID], {KID: 1}])
def test_a_key_id_that_is_no_text_is_refused(kid: Any) -> None:
    refusal(signed(header(kid=kid), claims()))


@given(any_text | st.text(alphabet="eyJhbGci.=-_ \n", max_size=60) | st.binary().map(bytes.hex))
def test_any_text_is_refused(text: str) -> None:
    refusal(text)


@given(st.lists(st.binary(max_size=30), min_size=3, max_size=3))
def test_any_bytes_in_a_tokens_shape_are_refused(parts: list[bytes]) -> None:
    refusal(b".".join(map(base64url_encode, parts)).decode())


cuts = st.tuples(st.integers(0, len(GOOD)), st.integers(0, 4), st.text("eyJ.=_-A\x00é", max_size=4))


@given(st.lists(cuts, min_size=1, max_size=3))
def test_a_good_token_with_any_mutation_is_still_its_users_or_refused(mutations: list[Any]) -> None:
    text = GOOD
    for at, length, put in mutations:
        text = text[:at] + put + text[at + length :]
    user = user_or_none(text)
    assert user in (USER, None)
    assert not user or text.rstrip("=") == GOOD, "only the padding of the signature may differ"


@given(st.sampled_from(["iss", "sub", "exp", "nbf", "azp", "sts", "iat", "jti"]), json_values)
def test_any_signed_claim_is_its_users_or_refused(name: str, value: Any) -> None:
    text = signed(header(), claims(**{name: value}))
    assert user_or_none(text) in (value if name == "sub" else USER, None)


@given(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "cty", "jwk"]), json_values)
def test_any_signed_header_is_its_users_or_refused(name: str, value: Any) -> None:
    text = signed(header(**{name: value}), claims())
    assert user_or_none(text) in (USER, None)


# The key from the dashboard

BODY = "".join(PEM.strip().splitlines()[1:-1])


@pytest.mark.parametrize(
    "text",
    [
        *(PEM, PEM.strip(), f"\n\n{PEM}\n", PEM.replace("\n", "\r\n"), PEM.replace("\n", "\r")),
        *(PEM.replace("\n", "\\n"), PEM.replace("\n", "\\r\\n"), PEM.replace("\n", "\\n\n")),
        *(PEM.replace("\n", " "), PEM.replace("\n", "\t"), PEM.replace("\n", ""), PEM.replace("\n", "\n  ")),
        *(BODY, f"  {BODY}\n", " ".join((BODY[:64], BODY[64:])), "\n".join((BODY[:100], BODY[100:]))),
    ],
)
def test_the_dashboards_key_is_taken_however_it_was_pasted(text: str) -> None:
    key_of = fixed_key(text)
    assert user_of(GOOD, key_of) == USER
    assert refusal(token(key=FOREIGN_KEY), key_of) == "InvalidSignatureError"


def test_the_key_is_told_by_no_key_id() -> None:
    assert user_of(token(kid="any other")) == USER
    assert user_of(signed({"alg": "RS256"}, claims())) == USER


def _spki(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def _private(key: Any, form: PrivateFormat) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return pem.decode()


NO_KEYS = {
    "nothing": "",
    "spaces": " \n\\n ",
    "frame only": "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----",
    "text": MARK,
    "not base64": "MIIB!!!!",
    "not ASCII": "ключ",
    "half of it": PEM[: len(PEM) // 2],
    "last line lost": "".join(PEM.strip().splitlines(keepends=True)[:-2]),
    "in quotes": f'"{PEM}"',
    "another's bytes": base64.b64encode(MARK.encode() * 20).decode(),
    "twice": PEM + PEM,
    "secret key": "sk_test_" + MARK,
    "publishable key": "pk_test_" + base64.b64encode(b"clerk.app.test$").decode(),
    "private": _private(FOREIGN_KEY, PrivateFormat.PKCS8),
    "old private": _private(FOREIGN_KEY, PrivateFormat.TraditionalOpenSSL),
    "curve": _spki(CURVE_KEY),
    "Edwards curve": _spki(Ed25519PrivateKey.generate()),
    "JSON": json.dumps(jwks({KID: session_key()})),
}


@pytest.mark.parametrize("text", NO_KEYS.values(), ids=NO_KEYS.keys())
def test_what_is_no_rsa_public_key_is_named_by_its_parameter(text: str) -> None:
    with pytest.raises(SettingsError, match=r"\bClerkJwtKey\b") as error:
        fixed_key(text)
    assert MARK not in str(error.value)
    assert not any(line in str(error.value) for line in text.split() if len(line) > 20)


def test_a_key_of_a_kind_that_nobody_knows_is_named_by_its_parameter() -> None:
    with pytest.raises(SettingsError, match="ClerkJwtKey"):
        fixed_key(base64.b64encode(bytes.fromhex("3011300506032a0304030800") + b"1234567").decode())


# The keys that the issuer publishes

HOUR_SECONDS = 60 * 60


class Issuer:
    """Answers the requests that urllib makes, the last answer again and again, at a time of its own."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.answers: list[bytes | int | Exception] = []
        self.requests: list[Request] = []

    def publish(self, **keys: rsa.RSAPrivateKey) -> None:
        self.answers = [json.dumps(jwks(keys)).encode()]

    def open(self, _: HTTPSHandler, request: Request) -> addinfourl:
        self.requests.append(request)
        assert len(self.requests) < 20, "it never gives up"
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        headers = Message()
        status, body = (200, answer) if isinstance(answer, bytes) else (answer, b"<html>no</html>")
        if status in (301, 302, 307):
            headers["Location"] = "https://evil.test/keys"
        response = addinfourl(io.BytesIO(body), headers, request.full_url, status)
        response.msg = "said"  # type: ignore[attr-defined]
        return response


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Issuer:
    issuer = Issuer()
    issuer.publish(**{KID: session_key()})
    monkeypatch.setattr(HTTPSHandler, "https_open", lambda handler, request: issuer.open(handler, request))
    for module in ("jwt.jwks_client", "jwt.jwk_set_cache", "jwt.api_jwk", "clerk_sync.profile.session_token"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: issuer.now))
    return issuer


def test_the_keys_are_at_the_issuers_well_known_address(issuer: Issuer) -> None:
    assert user_of(GOOD, PublishedKeys(ISSUER)) == USER
    [request] = issuer.requests
    assert request.full_url == f"{ISSUER}/.well-known/jwks.json"
    assert request.get_method() == "GET"
    assert request.headers["User-agent"] == "clerk-sync", "proxies refuse urllib's own"
    assert request.timeout is not None
    assert 0 < request.timeout <= 5


def test_nothing_is_asked_before_the_first_token(issuer: Issuer) -> None:
    key_of = PublishedKeys(ISSUER)
    assert issuer.requests == []
    refusal(MARK, key_of)
    assert issuer.requests == [], "what is no token needs no key"


def test_the_keys_are_kept_for_an_hour(issuer: Issuer) -> None:
    key_of = PublishedKeys(ISSUER)
    for seconds in (0, 60, 1800, 1600):
        issuer.now += seconds
        assert user_of(GOOD, key_of) == USER
    assert len(issuer.requests) == 1
    issuer.now += 3601
    assert user_of(GOOD, key_of) == USER
    assert len(issuer.requests) == 2


def test_any_of_several_keys_will_do(issuer: Issuer) -> None:
    issuer.publish(ins_next=FOREIGN_KEY, **{KID: session_key()})
    key_of = PublishedKeys(ISSUER)
    assert user_of(GOOD, key_of) == USER
    assert user_of(token(kid="ins_next", key=FOREIGN_KEY), key_of) == USER
    assert refusal(token(kid="ins_next"), key_of) == "InvalidSignatureError"
    assert refusal(token(key=FOREIGN_KEY), key_of) == "InvalidSignatureError"
    assert len(issuer.requests) == 1


def test_a_new_key_is_found_half_a_minute_after_the_last_look(issuer: Issuer) -> None:
    key_of = PublishedKeys(ISSUER)
    assert user_of(GOOD, key_of) == USER
    issuer.publish(ins_next=FOREIGN_KEY)
    rotated = token(kid="ins_next", key=FOREIGN_KEY)
    issuer.now += 31
    assert user_of(rotated, key_of) == USER
    assert refusal(GOOD, key_of) == "no key of the issuer's signs like this"


def test_unknown_keys_make_at_most_one_request_in_half_a_minute(issuer: Issuer) -> None:
    key_of = PublishedKeys(ISSUER)
    for n in range(300):
        issuer.now += 0.3
        refusal(token(kid=f"{MARK}{n}"), key_of)
    assert len(issuer.requests) <= 4, "in 90 s"
    assert len(issuer.requests) >= 3


@pytest.mark.parametrize("kid", ["", "unknown", MARK, "x" * 10_000, "../..", "\x00"])
def test_a_token_by_an_unknown_key_is_refused(kid: str, issuer: Issuer) -> None:
    assert refusal(token(kid=kid), PublishedKeys(ISSUER)) == "no key of the issuer's signs like this"


def test_a_token_that_names_no_key_is_refused(issuer: Issuer) -> None:
    assert (
        refusal(signed({"alg": "RS256"}, claims()), PublishedKeys(ISSUER))
        == "no key of the issuer's signs like this"
    )


@pytest.mark.parametrize("algorithm", ["none", "RS512", "PS256"])
def test_a_published_key_is_for_its_own_algorithm(algorithm: str, issuer: Issuer) -> None:
    refusal(token(algorithm=algorithm), PublishedKeys(ISSUER))


def test_a_published_key_is_no_secret_either(issuer: Issuer) -> None:
    refusal(token(algorithm="HS256", key=PEM.encode()), PublishedKeys(ISSUER))


def test_a_key_published_for_something_else_signs_nothing(issuer: Issuer) -> None:
    keys = jwks({KID: session_key(), "ins_next": FOREIGN_KEY})
    keys["keys"][1]["use"] = "enc"
    issuer.answers = [json.dumps(keys).encode()]
    refusal(token(kid="ins_next", key=FOREIGN_KEY), PublishedKeys(ISSUER))


def for_something_else() -> bytes:
    keys = jwks({KID: session_key()})
    keys["keys"][0]["use"] = "enc"
    return json.dumps(keys).encode()


NO_ANSWERS: dict[str, bytes | int | Exception] = {
    "no connection": ConnectionRefusedError("refused"),
    "time-out": TimeoutError("slow"),
    "no such name": OSError("no such name"),
    **{str(status): status for status in (301, 302, 307, 400, 401, 403, 404, 429, 500, 502, 503)},
    "nothing": b"",
    "HTML": b"<html>Bad gateway</html>",
    "half": json.dumps(jwks({KID: session_key()})).encode()[:99],
    "not text": b"\xff\xfe\x00",
    "no keys": b'{"keys": []}',
    "keys of null": b'{"keys": null}',
    "an error": b'{"errors": [{"code": "x"}]}',
    "no key that signs": for_something_else(),
    "no usable key": b'{"keys": [{"kty": "made up", "kid": "ins_local"}, 7]}',
}
unanswered = pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())


@unanswered
def test_no_keys_are_no_fault_of_the_token(answer: bytes | int | Exception, issuer: Issuer) -> None:
    issuer.answers = [answer]
    key_of = PublishedKeys(ISSUER)
    with pytest.raises(ClerkUnavailable, match=r"clerk\.app\.test/\.well-known/jwks\.json") as error:
        user_of(GOOD, key_of)
    assert GOOD not in str(error.value)
    assert len(issuer.requests) == 1, "a redirect is not followed, and the caller does not wait twice"
    issuer.publish(**{KID: session_key()})
    assert user_of(GOOD, key_of) == USER, "it comes back by itself"


@unanswered
def test_keys_that_are_known_outlast_an_issuer_that_is_down(
    answer: bytes | int | Exception, issuer: Issuer
) -> None:
    key_of = PublishedKeys(ISSUER)
    assert user_of(GOOD, key_of) == USER
    issuer.answers = [answer]
    issuer.now += 60
    with pytest.raises(ClerkUnavailable):
        user_of(token(kid="unknown"), key_of)
    assert user_of(GOOD, key_of) == USER


@pytest.mark.parametrize("answer", [b"[]", b"7", b"null", b'"text"', DEEP, b'{"keys": ' + DEEP])
def test_keys_of_another_shape_are_no_fault_of_the_token(answer: bytes, issuer: Issuer) -> None:
    issuer.answers = [answer]
    with pytest.raises(ClerkUnavailable):
        user_of(GOOD, PublishedKeys(ISSUER))


@unanswered
def test_keys_that_are_known_outlast_their_day_where_there_are_no_better_ones(
    answer: bytes | int | Exception, issuer: Issuer
) -> None:
    key_of = PublishedKeys(ISSUER)
    assert user_of(GOOD, key_of) == USER
    issuer.answers = [answer]
    issuer.now += HOUR_SECONDS + 1
    for _ in range(10):
        assert user_of(GOOD, key_of) == USER
    assert refusal(token(key=FOREIGN_KEY), key_of) == "InvalidSignatureError"
    assert len(issuer.requests) == 2


@unanswered
def test_a_key_that_is_not_known_when_the_day_is_over_makes_one_request(
    answer: bytes | int | Exception, issuer: Issuer
) -> None:
    key_of = PublishedKeys(ISSUER)
    assert user_of(GOOD, key_of) == USER
    issuer.answers = [answer]
    issuer.now += HOUR_SECONDS + 1
    rotated = token(kid="ins_next", key=FOREIGN_KEY)
    with pytest.raises((ClerkUnavailable, TokenError)):
        user_of(rotated, key_of)
    assert len(issuer.requests) == 2, "the caller does not wait twice"
    issuer.publish(ins_next=FOREIGN_KEY)
    issuer.now += 31
    assert user_of(rotated, key_of) == USER, "it comes back by itself"
    assert refusal(GOOD, key_of) == "no key of the issuer's signs like this"


@unanswered
def test_a_first_look_that_fails_is_made_again_with_the_next_token(
    answer: bytes | int | Exception, issuer: Issuer
) -> None:
    key_of = PublishedKeys(ISSUER)
    issuer.answers = [answer]
    for n in range(1, 4):
        with pytest.raises(ClerkUnavailable):
            user_of(GOOD, key_of)
        assert len(issuer.requests) == n


def test_an_issuer_that_is_down_is_not_asked_for_each_unknown_key(issuer: Issuer) -> None:
    key_of = PublishedKeys(ISSUER)
    assert user_of(GOOD, key_of) == USER
    issuer.answers = [TimeoutError("slow")]
    issuer.now += 60
    for _ in range(10):
        with pytest.raises((ClerkUnavailable, TokenError)):
            user_of(token(kid="unknown"), key_of)
    assert len(issuer.requests) == 2
