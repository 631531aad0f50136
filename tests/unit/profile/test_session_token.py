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

from clerk_sync.errors import ClerkUnavailable, SettingsError, Unauthorized
from clerk_sync.profile.session_token import (
    SESSION_CATEGORIES,
    KeyOf,
    PublishedKeys,
    key_source,
    verified_user_id,
)
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
    times = {"iat": NOW, "nbf": NOW - 10, "exp": NOW + 60}
    return {"iss": ISSUER, "sub": USER, "azp": ORIGIN, "sid": "sess_1", **times} | changes


def header(**changes: Any) -> dict[str, Any]:
    return {"alg": "RS256", "kid": KID, "typ": "JWT"} | changes


def signed(head: dict[str, Any] | bytes, payload: dict[str, Any] | bytes) -> str:
    """A token of this header and payload, with a valid signature."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, payload)]
    data = b".".join(map(base64url_encode, parts))
    signature = jwt.get_algorithm_by_name("RS256").sign(data, session_key())
    return b".".join((data, base64url_encode(signature))).decode()


def user_of(text: str, key_of: KeyOf | None = None) -> str:
    return verified_user_id(text, key_of or key_source(PEM, ISSUER), ISSUER, PARTIES)


def no_key_is_fetched(_: str) -> Any:
    raise AssertionError("a key was fetched")


def refusal(text: str, key_of: KeyOf | None = None) -> str:
    """Why the token is refused; asserts that the reason quotes nothing of it."""
    with pytest.raises(Unauthorized) as error:
        user_of(text, key_of)
    message = str(error.value)
    assert message
    assert len(message) < 100
    assert MARK not in message
    assert [part for part in text.split(".") if len(part) > 3 and part in message] == []
    assert error.value.__cause__ is None, "a log with the cause would quote it"
    assert error.value.__context__ is None or error.value.__suppress_context__, "and so would this"
    return message


def user_or_none(text: str) -> str | None:
    """The user's id, or None if the token is refused properly."""
    with suppress(Unauthorized):
        return user_of(text)
    refusal(text)
    return None


# The caller


@pytest.mark.parametrize("azp", [*PARTIES, None])
def test_session_token_gives_its_user_id(azp: str | None) -> None:
    assert user_of(token(azp=azp)) == USER


@pytest.mark.parametrize("azp", [None, ""])
def test_null_or_empty_azp_is_a_native_app(azp: str | None) -> None:
    assert user_of(signed(header(), claims(azp=azp))) == USER


@pytest.mark.parametrize("sts", ["active", None])
def test_session_that_is_not_pending_is_accepted(sts: str | None) -> None:
    assert user_of(token(sts=sts)) == USER


@pytest.mark.parametrize("aud", ["somebody else", ["a", "b"]])
def test_audience_is_not_checked(aud: Any) -> None:
    assert user_of(token(aud=aud)) == USER


@pytest.mark.parametrize("length", [6, 255])
def test_user_id_of_up_to_255_characters_is_accepted(length: int) -> None:
    user_id = "user_".ljust(length, "u")
    assert user_of(token(user_id)) == user_id


def test_pending_session_is_refused() -> None:
    assert refusal(token(sts="pending")) == "the session is pending"


@pytest.mark.parametrize(
    "sub",
    [
        *("", "user_".ljust(256, "u"), MARK * 30, "user_\n", "user_é", "user", "User_1", "USER_1", " user_1"),
        *("mch_1", "client_user_1", "org_1", "sess_1", "sk_live_1"),
    ],
)
def test_sub_that_is_not_a_user_id_is_refused(sub: str) -> None:
    assert refusal(token(sub)) == "sub is not a user's id"


# Kinds of tokens


@pytest.mark.parametrize("typ", ["JWT", "jwt", "Jwt", "jWT"])
@pytest.mark.parametrize("cat", [None, *SESSION_CATEGORIES])
def test_session_token_is_accepted(typ: str, cat: str | None) -> None:
    head = header(typ=typ) | ({"cat": cat} if cat else {})
    assert user_of(signed(head, claims())) == USER


@pytest.mark.parametrize("cat", [None, *SESSION_CATEGORIES])
def test_token_without_typ_is_accepted(cat: str | None) -> None:
    head = header() | ({"cat": cat} if cat else {})
    del head["typ"]
    assert user_of(signed(head, claims())) == USER


@pytest.mark.parametrize(
    "typ",
    [
        *(
            "at+jwt",
            "application/at+jwt",
            "AT+JWT",
            "jwt+at",
            "application/jwt",
            "JWE",
            "JWS",
            "JOSE",
            "JWT ",
        ),
        *("JW", "", " ", "dpop+jwt", "logout+jwt", "secevent+jwt", MARK),
        *(None, 0, 1, True, False, 1.5, [], ["JWT"], {}, {"JWT": "JWT"}),
    ],
)
def test_typ_other_than_jwt_is_refused_before_any_key_is_fetched(typ: Any) -> None:
    assert refusal(signed(header(typ=typ), claims()), no_key_is_fetched) == "typ is not JWT"


@pytest.mark.parametrize(
    "cat",
    [
        *("cl_B7d4PD222AAA", "cl_B7d4PD333AAA", "cl_B7d4PD111AA", "cl_B7d4PD111AAAA", "CL_B7D4PD111AAA"),
        *("cl_b7d4pd111aaa", " cl_B7d4PD111AAA", "cl_I7d4PD222III", "", MARK),
        *(None, 0, True, False, [], list(SESSION_CATEGORIES), {}, {SESSION_CATEGORIES[0]: 1}),
    ],
)
def test_other_category_is_refused_before_any_key_is_fetched(cat: Any) -> None:
    assert refusal(signed(header(cat=cat), claims()), no_key_is_fetched) == "cat is not a session token's"


def test_duplicate_header_name_counts_with_its_last_value() -> None:
    for name, good, bad in (("typ", "JWT", "at+jwt"), ("cat", SESSION_CATEGORIES[0], "cl_B7d4PD222AAA")):
        head = json.dumps(header(**{name: good}))[:-1] + f', "{name}": "{bad}"}}'
        refusal(signed(head.encode(), claims()), no_key_is_fetched)


DAY, DECADE = 86_400, 315_360_000
NO_SESSION = {name: value for name, value in claims().items() if name not in ("sid", "azp")}
OAUTH_ACCESS_TOKEN = NO_SESSION | {"client_id": "third_party_app", "scope": "openid", "exp": NOW + DAY}
JWT_TEMPLATE_TOKEN = NO_SESSION | {"azp": ORIGIN, "aud": "db", "role": "authenticated", "exp": NOW + DECADE}
ID_TOKEN = NO_SESSION | {"aud": "third_party_app", "nonce": "n", "at_hash": "h", "exp": NOW + DAY}
MACHINE_TOKEN = claims(sub="mch_1", exp=NOW + DECADE)


@pytest.mark.parametrize(
    ("head", "payload"),
    [
        (header(typ="at+jwt"), OAUTH_ACCESS_TOKEN),
        (header(typ="application/at+jwt"), OAUTH_ACCESS_TOKEN),
        (header(), OAUTH_ACCESS_TOKEN),
        (header(cat="cl_B7d4PD222AAA"), JWT_TEMPLATE_TOKEN),
        (header(), JWT_TEMPLATE_TOKEN),
        (header(), ID_TOKEN),
        (header(cat="cl_B7d4PD333AAA"), MACHINE_TOKEN),
        (header(), MACHINE_TOKEN),
    ],
)
def test_other_token_that_the_instance_signed_is_refused(
    head: dict[str, Any], payload: dict[str, Any]
) -> None:
    refusal(signed(head, payload))


@pytest.mark.parametrize("sid", ["", " ", "\t", 0, 1, True, [], ["sess_1"], {}, {"id": "sess_1"}])
def test_sid_that_is_not_text_is_refused(sid: Any) -> None:
    assert refusal(signed(header(), claims(sid=sid))) == "sid is not a session's id"


@pytest.mark.parametrize("act", [{"sub": "user_support"}, {"iss": "https://x.test", "sub": "user_2"}, None])
def test_impersonated_user_is_the_caller(act: Any) -> None:
    assert user_of(signed(header(), claims(act=act))) == USER


# Times

SKEW = 5


@pytest.mark.parametrize(
    "times", [{"exp": NOW - SKEW + 1}, {"exp": NOW + 1}, {"nbf": NOW + SKEW}, {"nbf": NOW}]
)
def test_five_seconds_of_clock_skew_are_allowed(times: dict[str, Any]) -> None:
    assert user_of(token(**times)) == USER


@pytest.mark.parametrize("exp", [NOW - SKEW, NOW - 3600, 0, -1])
def test_expired_token_is_refused(exp: int) -> None:
    assert refusal(token(exp=exp)) == "ExpiredSignatureError"


@pytest.mark.parametrize("nbf", [NOW + SKEW + 1, NOW + 3600])
def test_token_before_its_nbf_is_refused(nbf: int) -> None:
    assert refusal(token(nbf=nbf)) == "ImmatureSignatureError"


@pytest.mark.parametrize("name", ["exp", "nbf"])
@pytest.mark.parametrize("value", [MARK, "", "soon", [], {}, [NOW], {"at": NOW}, float("nan"), float("inf")])
def test_exp_or_nbf_that_is_not_a_time_is_refused(name: str, value: Any) -> None:
    refusal(signed(header(), claims(**{name: value})))


@pytest.mark.parametrize("number", ["1e999", "9" * 10_000])
def test_exp_out_of_range_is_refused(number: str) -> None:
    payload = json.dumps(claims(exp=0)).replace('"exp": 0', f'"exp": {number}')
    refusal(signed(header(), payload.encode()))


# Issuer, origin, claims


@pytest.mark.parametrize(
    "issuer",
    [
        *(f"{ISSUER}/", f"{ISSUER}.evil.test", f"https://evil.test/{ISSUER}", f"{ISSUER}@evil.test"),
        *(ISSUER[:-1], ISSUER.upper(), f" {ISSUER}", f"{ISSUER}\n", ISSUER.replace("https", "http")),
        *("", "https://", MARK),
    ],
)
def test_token_of_another_issuer_is_refused(issuer: str) -> None:
    assert refusal(token(issuer=issuer)) == "InvalidIssuerError"


@pytest.mark.parametrize("issuer", [7, [ISSUER], {ISSUER: 1}, True])
def test_issuer_that_is_not_text_is_refused(issuer: Any) -> None:
    assert refusal(token(iss=issuer)) == "InvalidIssuerError"


@pytest.mark.parametrize(
    "azp",
    [
        *(f"{ORIGIN}/", f"{ORIGIN}.evil.test", ORIGIN[:-1], ORIGIN.upper(), "http://app.test", MARK),
        *("null", " ", ",".join(PARTIES), 0, False, 7, list(PARTIES), [ORIGIN], {ORIGIN: 1}, {}, []),
    ],
)
def test_token_for_another_origin_is_refused(azp: Any) -> None:
    assert refusal(signed(header(), claims(azp=azp))) == "azp is not in ClerkAuthorizedParties"


@pytest.mark.parametrize("name", ["iss", "sub", "sid", "exp", "nbf"])
@pytest.mark.parametrize("is_null", [False, True])
def test_missing_or_null_claim_is_refused(name: str, is_null: bool) -> None:
    payload = claims(**{name: None})
    if not is_null:
        del payload[name]
    assert refusal(signed(header(), payload)) == "MissingRequiredClaimError"


@pytest.mark.parametrize("sub", [7, 1.5, True, [USER], {"id": USER}])
def test_sub_that_is_not_text_is_refused(sub: Any) -> None:
    assert refusal(token(sub=sub)) == "InvalidSubjectError"


# Signature

CURVE_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("case", ["none", "None", "NONE", "nOnE"])
def test_unsigned_token_is_refused(case: str) -> None:
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
def test_hmac_with_the_public_key_is_refused(algorithm: str, secret: bytes) -> None:
    assert refusal(token(algorithm=algorithm, key=secret)) == "InvalidAlgorithmError"


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "PS512"])
def test_right_key_with_another_algorithm_is_refused(algorithm: str) -> None:
    assert refusal(token(algorithm=algorithm)) == "InvalidAlgorithmError"


def test_elliptic_curve_signature_is_refused() -> None:
    curve: Any = CURVE_KEY
    assert refusal(token(algorithm="ES256", key=curve)) == "InvalidAlgorithmError"


def test_signature_by_another_key_is_refused() -> None:
    assert refusal(token(key=FOREIGN_KEY)) == "InvalidSignatureError"


@pytest.mark.parametrize("algorithm", [MARK, "", None, 7, ["RS256"], {"RS256": 1}])
def test_unknown_algorithm_is_refused(algorithm: Any) -> None:
    refusal(signed(header(alg=algorithm), claims()))


def test_key_in_the_token_header_is_not_used() -> None:
    [brought] = jwks({KID: FOREIGN_KEY})["keys"]
    head = header(jwk=brought, jku="https://evil.test/keys", x5u="https://evil.test/cert")
    data = b".".join(base64url_encode(json.dumps(part).encode()) for part in (head, claims()))
    signature = jwt.get_algorithm_by_name("RS256").sign(data, FOREIGN_KEY)
    assert refusal(b".".join((data, base64url_encode(signature))).decode()) == "InvalidSignatureError"


def test_unknown_critical_header_is_refused() -> None:
    refusal(signed(header(crit=[MARK], **{MARK: 1}), claims()))
    refusal(signed(header(crit=["b64"], b64=False), claims()))


# Malformed tokens


def test_tampered_claim_is_refused() -> None:
    head, _, signature = token().split(".")
    for changes in ({"sub": "user_2"}, {"exp": NOW + 999}, {"azp": None}, {"sts": "active"}):
        payload = base64url_encode(json.dumps(claims(**changes)).encode()).decode()
        assert refusal(f"{head}.{payload}.{signature}") == "InvalidSignatureError"


def test_truncated_token_is_refused() -> None:
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
def test_text_that_is_not_a_token_is_refused(text: str) -> None:
    refusal(text)


@pytest.mark.parametrize(
    "odd",
    [
        *(b"", b"{", b"null", b"[]", b"7", b'"text"', b"\xff\xfe\x00", MARK.encode(), b"{'alg': 'RS256'}"),
        *(DEEP, b'{"alg":' * 50_000, b'{"a": ' + DEEP + b"]" * len(DEEP) + b"}", b"NaN", b"9" * 10_000),
    ],
    ids=lambda odd: f"{odd[:8]!r} {len(odd)}",
)
def test_header_or_payload_that_is_not_an_object_is_refused(odd: bytes) -> None:
    refusal(signed(odd, claims()))
    refusal(signed(header(), odd))


def test_duplicate_name_bypasses_no_check() -> None:
    twice = json.dumps(header(alg="none"))[:-1] + ', "alg": "RS256"}'
    data = base64url_encode(twice.encode()).decode() + "." + GOOD.split(".")[1]
    refusal(f"{data}.")
    assert refusal(f"{data}.{GOOD.split('.')[2]}") == "InvalidSignatureError"
    for name, bad in (("sub", 7), ("iss", MARK), ("exp", 0), ("sid", ""), ("sts", "pending"), ("azp", MARK)):
        payload = json.dumps(claims())[:-1] + f', "{name}": {json.dumps(bad)}}}'
        refusal(signed(header(), payload.encode()))


@pytest.mark.parametrize("kid", [7, None, [KID], {KID: 1}])
def test_key_id_that_is_not_text_is_refused(kid: Any) -> None:
    refusal(signed(header(kid=kid), claims()))


@given(any_text | st.text(alphabet="eyJhbGci.=-_ \n", max_size=60) | st.binary().map(bytes.hex))
def test_any_text_is_refused(text: str) -> None:
    refusal(text)


@given(st.lists(st.binary(max_size=30), min_size=3, max_size=3))
def test_any_bytes_in_the_shape_of_a_token_are_refused(parts: list[bytes]) -> None:
    refusal(b".".join(map(base64url_encode, parts)).decode())


cuts = st.tuples(st.integers(0, len(GOOD)), st.integers(0, 4), st.text("eyJ.=_-A\x00é", max_size=4))


@given(st.lists(cuts, min_size=1, max_size=3))
def test_mutated_token_gives_its_own_user_or_is_refused(mutations: list[Any]) -> None:
    text = GOOD
    for at, length, put in mutations:
        text = text[:at] + put + text[at + length :]
    user = user_or_none(text)
    assert user in (USER, None)
    assert not user or text.rstrip("=") == GOOD, "only the signature's padding may differ"


@given(
    st.sampled_from(["iss", "sub", "sid", "exp", "nbf", "azp", "sts", "iat", "jti", "act", "aud"]),
    json_values,
)
def test_any_signed_claim_gives_its_own_user_or_is_refused(name: str, value: Any) -> None:
    text = signed(header(), claims(**{name: value}))
    assert user_or_none(text) in (value if name == "sub" else USER, None)


@given(st.sampled_from(["alg", "kid", "typ", "cat", "crit", "b64", "cty", "jwk"]), json_values)
def test_any_signed_header_gives_its_own_user_or_is_refused(name: str, value: Any) -> None:
    text = signed(header(**{name: value}), claims())
    assert user_or_none(text) in (USER, None)


# The key of Clerk's dashboard

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
def test_pem_is_accepted_with_any_line_breaks(text: str) -> None:
    key_of = key_source(text, ISSUER)
    assert user_of(GOOD, key_of) == USER
    assert refusal(token(key=FOREIGN_KEY), key_of) == "InvalidSignatureError"


def test_key_of_a_pem_ignores_the_key_id() -> None:
    assert user_of(token(kid="any other")) == USER
    assert user_of(signed({"alg": "RS256"}, claims())) == USER


def _spki(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def _private(key: Any, form: PrivateFormat) -> str:
    pem: bytes = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return pem.decode()


NO_KEYS = {
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
def test_invalid_pem_names_the_parameter(text: str) -> None:
    with pytest.raises(SettingsError, match=r"\bClerkJwtKey\b") as error:
        key_source(text, ISSUER)
    assert MARK not in str(error.value)
    assert not any(line in str(error.value) for line in text.split() if len(line) > 20)


def test_unknown_kind_of_key_names_the_parameter() -> None:
    with pytest.raises(SettingsError, match="ClerkJwtKey"):
        key_source(base64.b64encode(bytes.fromhex("3011300506032a0304030800") + b"1234567").decode(), ISSUER)


# The keys that the issuer publishes

HOUR_SECONDS = 60 * 60


class Issuer:
    """Answers urllib's requests, repeats the last answer, and has its own clock."""

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
    monkeypatch.setattr(
        "clerk_sync.profile.session_token.time", SimpleNamespace(monotonic=lambda: issuer.now)
    )
    return issuer


def test_keys_are_fetched_from_the_well_known_address(issuer: Issuer) -> None:
    assert user_of(GOOD, PublishedKeys(ISSUER)) == USER
    [request] = issuer.requests
    assert request.full_url == f"{ISSUER}/.well-known/jwks.json"
    assert request.get_method() == "GET"
    assert request.headers["User-agent"] == "clerk-sync", "proxies refuse urllib's own"
    assert request.timeout is not None
    assert 0 < request.timeout <= 5


@pytest.mark.parametrize("pem", [None, ""])
def test_published_keys_are_used_where_there_is_no_pem(pem: str | None, issuer: Issuer) -> None:
    assert user_of(GOOD, key_source(pem, ISSUER)) == USER
    assert len(issuer.requests) == 1


def test_keys_are_fetched_with_the_first_token(issuer: Issuer) -> None:
    key_of = PublishedKeys(ISSUER)
    assert issuer.requests == []
    refusal(MARK, key_of)
    assert issuer.requests == [], "text that is not a token needs no key"


def test_keys_are_cached_for_an_hour(issuer: Issuer) -> None:
    key_of = PublishedKeys(ISSUER)
    for seconds in (0, 60, 1800, 1600):
        issuer.now += seconds
        assert user_of(GOOD, key_of) == USER
    assert len(issuer.requests) == 1
    issuer.now += 3601
    assert user_of(GOOD, key_of) == USER
    assert len(issuer.requests) == 2


def test_any_published_key_is_accepted(issuer: Issuer) -> None:
    issuer.publish(ins_next=FOREIGN_KEY, **{KID: session_key()})
    key_of = PublishedKeys(ISSUER)
    assert user_of(GOOD, key_of) == USER
    assert user_of(token(kid="ins_next", key=FOREIGN_KEY), key_of) == USER
    assert refusal(token(kid="ins_next"), key_of) == "InvalidSignatureError"
    assert refusal(token(key=FOREIGN_KEY), key_of) == "InvalidSignatureError"
    assert len(issuer.requests) == 1


def test_rotated_key_is_found_half_a_minute_after_the_last_fetch(issuer: Issuer) -> None:
    key_of = PublishedKeys(ISSUER)
    assert user_of(GOOD, key_of) == USER
    issuer.publish(ins_next=FOREIGN_KEY)
    rotated = token(kid="ins_next", key=FOREIGN_KEY)
    issuer.now += 31
    assert user_of(rotated, key_of) == USER
    assert refusal(GOOD, key_of) == "the issuer has no such key"


def test_unknown_key_ids_cause_one_fetch_per_half_minute(issuer: Issuer) -> None:
    key_of = PublishedKeys(ISSUER)
    for n in range(300):
        issuer.now += 0.3
        refusal(token(kid=f"{MARK}{n}"), key_of)
    assert len(issuer.requests) <= 4, "in 90 s"
    assert len(issuer.requests) >= 3


@pytest.mark.parametrize("kid", ["", "unknown", MARK, "x" * 10_000, "../..", "\x00"])
def test_token_with_an_unknown_key_id_is_refused(kid: str, issuer: Issuer) -> None:
    assert refusal(token(kid=kid), PublishedKeys(ISSUER)) == "the issuer has no such key"


def test_token_without_a_key_id_is_refused(issuer: Issuer) -> None:
    assert refusal(signed({"alg": "RS256"}, claims()), PublishedKeys(ISSUER)) == "the issuer has no such key"


@pytest.mark.parametrize("algorithm", ["none", "RS512", "PS256"])
def test_published_key_is_used_with_its_own_algorithm_only(algorithm: str, issuer: Issuer) -> None:
    refusal(token(algorithm=algorithm), PublishedKeys(ISSUER))


def test_hmac_with_a_published_key_is_refused(issuer: Issuer) -> None:
    refusal(token(algorithm="HS256", key=PEM.encode()), PublishedKeys(ISSUER))


def test_key_published_for_encryption_verifies_nothing(issuer: Issuer) -> None:
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
def test_failed_first_fetch_raises_clerk_unavailable(answer: bytes | int | Exception, issuer: Issuer) -> None:
    issuer.answers = [answer]
    key_of = PublishedKeys(ISSUER)
    with pytest.raises(ClerkUnavailable, match=r"clerk\.app\.test/\.well-known/jwks\.json") as error:
        user_of(GOOD, key_of)
    assert GOOD not in str(error.value)
    assert len(issuer.requests) == 1, "a redirect is not followed, and the caller does not wait twice"
    issuer.publish(**{KID: session_key()})
    assert user_of(GOOD, key_of) == USER, "it comes back by itself"


@unanswered
def test_failed_fetch_for_an_unknown_key_keeps_the_cached_keys(
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
def test_keys_of_another_shape_raise_clerk_unavailable(answer: bytes, issuer: Issuer) -> None:
    issuer.answers = [answer]
    with pytest.raises(ClerkUnavailable):
        user_of(GOOD, PublishedKeys(ISSUER))


@unanswered
def test_failed_refresh_keeps_the_cached_keys(answer: bytes | int | Exception, issuer: Issuer) -> None:
    key_of = PublishedKeys(ISSUER)
    assert user_of(GOOD, key_of) == USER
    issuer.answers = [answer]
    issuer.now += HOUR_SECONDS + 1
    for _ in range(10):
        assert user_of(GOOD, key_of) == USER
    assert refusal(token(key=FOREIGN_KEY), key_of) == "InvalidSignatureError"
    assert len(issuer.requests) == 2


@unanswered
def test_unknown_key_id_after_the_cache_expires_causes_one_fetch(
    answer: bytes | int | Exception, issuer: Issuer
) -> None:
    key_of = PublishedKeys(ISSUER)
    assert user_of(GOOD, key_of) == USER
    issuer.answers = [answer]
    issuer.now += HOUR_SECONDS + 1
    rotated = token(kid="ins_next", key=FOREIGN_KEY)
    with pytest.raises((ClerkUnavailable, Unauthorized)):
        user_of(rotated, key_of)
    assert len(issuer.requests) == 2, "the caller does not wait twice"
    issuer.publish(ins_next=FOREIGN_KEY)
    issuer.now += 31
    assert user_of(rotated, key_of) == USER, "it comes back by itself"
    assert refusal(GOOD, key_of) == "the issuer has no such key"


@unanswered
def test_failed_first_fetch_is_repeated_with_the_next_token(
    answer: bytes | int | Exception, issuer: Issuer
) -> None:
    key_of = PublishedKeys(ISSUER)
    issuer.answers = [answer]
    for n in range(1, 4):
        with pytest.raises(ClerkUnavailable):
            user_of(GOOD, key_of)
        assert len(issuer.requests) == n


def test_failed_fetch_is_not_repeated_for_each_unknown_key_id(issuer: Issuer) -> None:
    key_of = PublishedKeys(ISSUER)
    assert user_of(GOOD, key_of) == USER
    issuer.answers = [TimeoutError("slow")]
    issuer.now += 60
    for _ in range(10):
        with pytest.raises(ClerkUnavailable, match="slow"):
            user_of(token(kid="unknown"), key_of)
    assert len(issuer.requests) == 2
