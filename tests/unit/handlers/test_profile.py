import base64
import io
import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from clerk_sync.errors import AwsError, ClerkUnavailable, SettingsError
from clerk_sync.handlers import profile as handlers_profile
from clerk_sync.handlers.profile import handler
from clerk_sync.handlers.settings import ProfileSettings
from clerk_sync.profile.profile import Profile
from clerk_sync.users.fields import synced
from clerk_sync.users.values import Json, Opaque
from clerk_sync.users.write_rule import Row
from tests.local.clerk.session_tokens import new_key, session_token
from tests.support.fake_users_table import FakeUsersTable
from tests.support.page_loads import (
    CONTEXT,
    ISSUER,
    ORIGINS,
    SETTINGS,
    USER,
    ask_clerk,
    event,
    page_loads_on,
    page_loads_with,
)

MAX_BYTES = 4 * 1024
ROW: Row = {"firstName": "Grace", "email": "grace@mail.test", "clerkUpdatedAt": 1_700_000_000_000}
SHOWN = {
    "clerkUserId": USER,
    "firstName": "Grace",
    "email": "grace@mail.test",
    "clerkUpdatedAt": 1_700_000_000_000,
}
PERSONAL = ("Grace", "mail.test")


@dataclass
class ScriptedProfiles:
    """Returns this row, or raises the error; `asked` holds the calls."""

    row: Row | None = field(default_factory=lambda: ROW)
    is_stale: bool = False
    error: Exception | None = None
    users_table: FakeUsersTable = field(default_factory=FakeUsersTable)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def get(self, user_id: str) -> Profile | None:
        return self._answer("GET", user_id)

    def ensure(self, user_id: str) -> Profile | None:
        return self._answer("PUT", user_id)

    def _answer(self, method: str, user_id: str) -> Profile | None:
        self.asked.append((method, user_id))
        if self.error:
            raise self.error
        return None if self.row is None else Profile(self.row, self.is_stale)


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> ScriptedProfiles:
    profiles = ScriptedProfiles()
    monkeypatch.setattr(handlers_profile, "_settings", lambda: SETTINGS)
    page_loads = page_loads_with(profiles)
    monkeypatch.setattr(handlers_profile, "_page_loads", lambda: page_loads)
    return profiles


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The function's answer; asserts that API Gateway would take it."""
    context: Any = CONTEXT
    response = handler(request, context)
    assert isinstance(response["statusCode"], int)
    assert all(isinstance(value, str) for value in response.get("headers", {}).values())
    assert isinstance(response.get("body", ""), str)
    json.dumps(response)
    return response


def status(request: dict[str, Any]) -> int:
    code: int = answer(request)["statusCode"]
    return code


def body(response: dict[str, Any]) -> Any:
    return json.loads(response["body"])


# Answers


@pytest.mark.parametrize("method", ["PUT", "GET"])
@pytest.mark.parametrize("path", ["me", USER])
def test_callers_row_is_returned(method: str, path: str, profiles: ScriptedProfiles) -> None:
    response = answer(event(method, path=path))
    assert (response["statusCode"], body(response)) == (200, SHOWN)
    assert response["headers"]["Content-Type"] == "application/json"
    assert response["headers"]["Cache-Control"] == "no-store"
    assert profiles.asked == [(method, USER)]


def test_only_synced_fields_that_a_user_may_see_are_returned(profiles: ScriptedProfiles) -> None:
    profiles.row = {
        **ROW,
        "phoneNumber": "+1555",
        "banned": Json("true"),
        "twoFactorEnabled": Json("false"),
        "publicMetadata": Json('{"n":1.5}'),
        "unsafeMetadata": Json('{"not":"synced"}'),
    }
    profiles.users_table.names = synced(["phoneNumber", "banned", "twoFactorEnabled", "publicMetadata"])
    extra = {"phoneNumber": "+1555", "twoFactorEnabled": False, "publicMetadata": {"n": 1.5}}
    assert body(answer(event())) == {**SHOWN, **extra}


def test_stale_row_is_marked_stale(profiles: ScriptedProfiles) -> None:
    profiles.is_stale = True
    response = answer(event())
    assert (response["statusCode"], body(response)) == (200, {**SHOWN, "stale": True})


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_missing_row_is_a_404(method: str, profiles: ScriptedProfiles) -> None:
    profiles.row = None
    response = answer(event(method))
    assert (response["statusCode"], body(response)) == (404, {"error": "There is no such user here."})


@pytest.mark.parametrize("method", ["PUT", "GET"])
@pytest.mark.parametrize("error", [AwsError("AWS failed at Grace's"), ClerkUnavailable("Clerk is down")])
def test_failing_table_or_clerk_is_a_503_with_retry_after(
    method: str, error: Exception, profiles: ScriptedProfiles
) -> None:
    profiles.error = error
    response = answer(event(method))
    assert (response["statusCode"], body(response)) == (503, {"error": "Try again later."})
    assert 1 <= int(response["headers"]["Retry-After"]) <= 60


def test_only_a_503_has_retry_after(profiles: ScriptedProfiles) -> None:
    for request in (event(), event(headers={}), event(body="x"), event("OPTIONS")):
        assert "Retry-After" not in answer(request)["headers"]


def test_settings_error_is_a_500_that_only_the_log_explains(
    profiles: ScriptedProfiles, log: io.StringIO
) -> None:
    profiles.error = SettingsError("There is no secret in /made/up")
    response = answer(event())
    assert response["statusCode"] == 500
    assert "/made/up" not in response["body"]
    assert "Retry-After" not in response["headers"], "it does not pass by itself"
    assert "There is no secret in /made/up" in log.getvalue()


def test_wrong_key_is_a_500_that_the_log_explains(monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> None:
    settings = replace(SETTINGS, clerk_jwt_key="no key")
    monkeypatch.setattr(handlers_profile, "_settings", lambda: settings)
    monkeypatch.setattr(handlers_profile, "dynamodb", lambda: None)
    handlers_profile._page_loads.cache_clear()
    assert status(event()) == 500
    assert "ClerkJwtKey" in log.getvalue()


def test_missing_settings_are_a_500(monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> None:
    def missing() -> ProfileSettings:
        return ProfileSettings.from_env({})

    monkeypatch.setattr(handlers_profile, "_settings", missing)
    assert status(event()) == 500
    assert "CLERK_API_URL" in log.getvalue()


def test_unavailable_keys_are_a_503(profiles: ScriptedProfiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_keys(_: str) -> Any:
        raise ClerkUnavailable("down")

    page_loads = replace(page_loads_with(profiles), key_of=no_keys)
    monkeypatch.setattr(handlers_profile, "_page_loads", lambda: page_loads)
    assert status(event()) == 503
    assert profiles.asked == []


# Who is calling

GOOD = session_token(USER, ISSUER, exp=4_000_000_000)
"""Good for longer than all the tests before it take."""


@pytest.mark.parametrize(
    "headers",
    [
        *({}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "}),
        *({"Authorization": GOOD}, {"Authorization": f"Basic {GOOD}"}, {"Authorization": f"Bearer{GOOD}"}),
        *({"Authorization": f"Bearer {GOOD} {GOOD}"}, {"Authorization": f"Token Bearer {GOOD}"}),
        *({"Cookie": f"__session={GOOD}"}, {"X-Authorization": f"Bearer {GOOD}"}),
        *({"Authorization": "Bearer ключ"}, {"Authorization": "Bearer " + "x" * 100_000}),
        {"Authorization": f"Bearer {session_token(USER, ISSUER, key=new_key())}"},
        {"Authorization": f"Bearer {session_token(USER, ISSUER, algorithm='none')}"},
        {"Authorization": f"Bearer {session_token(USER, ISSUER, exp=1)}"},
        {"Authorization": f"Bearer {session_token(USER, ISSUER, azp='https://evil.test')}"},
        {"Authorization": f"Bearer {session_token(USER, ISSUER + '/')}"},
        {"Authorization": f"Bearer {session_token(USER, ISSUER, sts='pending')}"},
    ],
)
@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_caller_who_is_not_signed_in_gets_a_401(
    method: str, headers: dict[str, str], profiles: ScriptedProfiles, log: io.StringIO
) -> None:
    response = answer(event(method, headers=headers))
    assert (response["statusCode"], body(response)) == (401, {"error": "Sign in."})
    assert profiles.asked == []
    assert GOOD not in log.getvalue()


def test_request_without_headers_is_a_401(profiles: ScriptedProfiles) -> None:
    assert status(event() | {"headers": None}) == 401
    assert profiles.asked == []


@pytest.mark.parametrize("name", ["authorization", "AUTHORIZATION", "AuthoriZation"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_header_name_and_scheme_are_accepted_in_any_case(
    name: str, scheme: str, profiles: ScriptedProfiles
) -> None:
    assert status(event(headers={name: f"{scheme} {GOOD}"})) == 200


def test_spaces_around_the_token_are_accepted(profiles: ScriptedProfiles) -> None:
    assert status(event(headers={"Authorization": f"Bearer   {GOOD}  "})) == 200


# Whose row


@pytest.mark.parametrize("method", ["PUT", "GET"])
@pytest.mark.parametrize(
    "path", ["user_2", "", "ME", "Me", " me", USER.upper(), f"{USER}/..", "*", "null", "%6De"]
)
def test_path_of_another_user_is_a_401(method: str, path: str, profiles: ScriptedProfiles) -> None:
    assert status(event(method, path=path)) == 401
    assert profiles.asked == []


@pytest.mark.parametrize("parameters", [None, {}])
def test_missing_path_parameter_means_the_caller(
    parameters: dict[str, str] | None, profiles: ScriptedProfiles
) -> None:
    assert status(event(pathParameters=parameters)) == 200
    assert profiles.asked == [("PUT", USER)]


@pytest.mark.parametrize("key", ["clerkUserId", "userId", "user_id", "id"])
def test_body_may_name_only_the_caller(key: str, profiles: ScriptedProfiles) -> None:
    assert status(event(body=json.dumps({key: USER}))) == 200
    assert status(event(body=json.dumps({key: "me"}))) == 200
    assert profiles.asked == [("PUT", USER)] * 2
    for other in ("user_2", "", "ME", f"{USER} "):
        assert status(event(body=json.dumps({key: other}))) == 401
    assert status(event(body=json.dumps({"id": USER, "clerkUserId": USER, key: "user_2"}))) == 401
    assert status(event(path=USER, body=json.dumps({key: "user_2", "email": "x"}))) == 401
    assert status(event(path="user_2", body=json.dumps({key: USER}))) == 401
    assert len(profiles.asked) == 2


@pytest.mark.parametrize(
    "text", [None, "", "{}", " {} ", "\n{\n}", "null", " null\n", " ", "\r\n\t", '""', ' ""\n', "\ufeffnull"]
)
@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_empty_body_is_accepted(method: str, text: str | None, profiles: ScriptedProfiles) -> None:
    assert status(event(method, body=text)) == 200
    assert status(event(method, path=USER, body=text)) == 200
    assert status(event(method, path="user_2", body=text)) == 401
    encoded = base64.b64encode((text or "").encode()).decode()
    assert status(event(method, body=encoded, isBase64Encoded=True)) == 200


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[]",
            "0",
            "7",
            "false",
            '" "',
            "nil",
            "undefined",
            "NULL",
            "null,null",
            "[null]",
            '"me"',
            "true",
            "hello",
            "{",
            "{'id': 1}",
            "\x00",
            "NaN",
        ),
        *('{"id": null, "email": null}', '{"null": null}'),
        *('{"email": "new@mail.test"}', '{"id": 7}', '{"id": null}', '{"id": ["user_1"]}', '{"": ""}'),
        *(f'{{"id": "{USER}", "firstName": "New"}}', '{"clerkUpdatedAt": 9999999999999}'),
        *("[" * MAX_BYTES, '{"a":' * (MAX_BYTES // 5), "9" * MAX_BYTES),
        base64.b64encode(b"{}").decode(),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_body_that_is_not_empty_is_a_400(method: str, text: str, profiles: ScriptedProfiles) -> None:
    response = answer(event(method, body=text))
    assert response["statusCode"] == 400
    assert "must be empty" in body(response)["error"]
    assert "mail.test" not in response["body"]
    assert profiles.asked == []


def test_base64_body_is_read(profiles: ScriptedProfiles) -> None:
    bodies = {
        b'{"id": "user_2"}': 401,
        b'{"id": "user_1"}': 200,
        b'{"email": "x"}': 400,
        b"hello": 400,
        b"\xff": 400,
    }
    for text, code in bodies.items():
        assert status(event(body=base64.b64encode(text).decode(), isBase64Encoded=True)) == code
    assert profiles.asked == [("PUT", USER)]


def test_body_that_is_not_text_or_not_its_base64_is_a_400(profiles: ScriptedProfiles) -> None:
    for text, is_base64 in (("\ud800", False), ("\ud800", True), ("%", True), ("bnVsbA", True)):
        assert status(event(body=text, isBase64Encoded=is_base64)) == 400
    assert profiles.asked == []


def test_huge_body_is_a_413_before_anything_else(profiles: ScriptedProfiles) -> None:
    assert status(event(body="[" * (MAX_BYTES + 1))) == 413
    assert status(event(body=" " * (MAX_BYTES + 1))) == 413
    assert status(event(body="x" * 6_000_000, headers={})) == 413
    assert status(event(body="{}" + " " * (MAX_BYTES - 2))) == 200
    assert len(profiles.asked) == 1


def test_token_is_checked_before_the_body(profiles: ScriptedProfiles) -> None:
    assert status(event(body="hello", headers={})) == 401
    assert status(event(body='{"id": "user_2"}', headers={})) == 401


# What browsers ask


def preflight(**headers: str) -> dict[str, str]:
    """The answer to a browser's preflight from one of the app's pages."""
    asked = {"Origin": ORIGINS[0], "Access-Control-Request-Method": "PUT"} | headers
    response = answer(event("OPTIONS", headers=asked))
    assert (response["statusCode"], response.get("body", "")) == (204, "")
    found: dict[str, str] = response["headers"]
    return found


def allowed_headers(requested: str) -> list[str]:
    headers = preflight(**{"Access-Control-Request-Headers": requested})
    return [name.lower() for name in headers["Access-Control-Allow-Headers"].split(", ")]


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("name", ["Origin", "origin", "ORIGIN"])
def test_authorized_origin_may_call(name: str, origin: str, profiles: ScriptedProfiles) -> None:
    headers = answer(event("OPTIONS", headers={name: origin}))["headers"]
    assert headers["Access-Control-Allow-Origin"] == origin
    assert headers["Access-Control-Allow-Methods"] == "GET, PUT"
    assert headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    assert headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in headers
    assert profiles.asked == []


@pytest.mark.parametrize(
    ("requested", "added"),
    [
        ("authorization,baggage,sentry-trace", ["baggage", "sentry-trace"]),
        ("Authorization, CONTENT-TYPE , traceparent ,tracestate", ["traceparent", "tracestate"]),
        ("x-datadog-trace-id,x-datadog-trace-id,X-Datadog-Trace-Id", ["x-datadog-trace-id"]),
        ("!#$%&'*+-.^_`|~09azAZ", ["!#$%&'*+-.^_`|~09azaz"]),
        ("", []),
        (",, ,", []),
        ("a" * 100, ["a" * 100]),
    ],
)
def test_preflight_allows_the_headers_it_asks_for(
    requested: str, added: list[str], profiles: ScriptedProfiles
) -> None:
    assert allowed_headers(requested) == ["authorization", "content-type", *added]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "*",
            "a b",
            "a:b",
            "a;b",
            "a(b)",
            "a\r\nSet-Cookie: b",
            "a\n",
            "a\x00",
            "a/b",
            "<script>",
            '"a"',
            "é",
        ),
        *("a" * 101, "x" * 9_000, "a@b", "a[b]", "a{b}", "a=b", "a?b", "a\\b", "\ud800"),
    ],
)
def test_malformed_header_name_is_not_allowed(name: str, profiles: ScriptedProfiles) -> None:
    for requested in (name, f"baggage,{name}", f"{name},baggage"):
        assert set(allowed_headers(requested)) <= {"authorization", "content-type", "baggage"}
    assert "baggage" in allowed_headers(f"baggage,{name}")


def test_preflight_allows_at_most_50_headers(profiles: ScriptedProfiles) -> None:
    names = [f"x-{n}" for n in range(3_000)]
    assert allowed_headers(",".join(names)) == ["authorization", "content-type", *names[:50]]
    assert len(preflight(**{"Access-Control-Request-Headers": "," * 100_000})) > 0


@pytest.mark.parametrize(
    "origin",
    [
        *(None, "", "null", "*", "https://evil.test", f"{ORIGINS[0]}/", f"{ORIGINS[0]}.evil.test"),
        *("http://app.test", ORIGINS[0].upper(), f"https://evil.test?{ORIGINS[0]}", ", ".join(ORIGINS)),
    ],
)
def test_other_origin_may_not_call(origin: str | None, profiles: ScriptedProfiles) -> None:
    asked = {"Access-Control-Request-Headers": "baggage"} | ({} if origin is None else {"Origin": origin})
    for request in (
        event("OPTIONS", headers=asked),
        event(headers=asked | {"Authorization": f"Bearer {GOOD}"}),
    ):
        headers = answer(request)["headers"]
        assert not [name for name in headers if name.startswith("Access-Control-")]
        assert headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ORIGINS)
def test_authorized_origin_may_read_every_answer(origin: str, profiles: ScriptedProfiles) -> None:
    signed_in = {"Authorization": f"Bearer {GOOD}", "Origin": origin}
    requests = {
        200: event(headers=signed_in),
        400: event(headers=signed_in, body="x"),
        401: event(headers={"Origin": origin}),
        413: event(headers=signed_in, body=" " * 9_999),
    }
    for code, request in requests.items():
        response = answer(request)
        assert response["statusCode"] == code
        assert response["headers"]["Access-Control-Allow-Origin"] == origin
        assert response["headers"]["Access-Control-Expose-Headers"] == "Retry-After"
    for code, error in ((503, AwsError("down")), (500, SettingsError("wrong"))):
        profiles.error = error
        response = answer(event(headers=signed_in))
        assert response["statusCode"] == code
        assert response["headers"]["Access-Control-Allow-Origin"] == origin
        assert response["headers"]["Access-Control-Expose-Headers"] == "Retry-After"


# What is shown and what is logged


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> FakeUsersTable:
    """The table behind it, with a row that is partly the app's and partly fresh."""
    row = {"plan": "pro", "passwordHash": "secret", "notes": "Grace"}
    table = FakeUsersTable({USER: {**row, **ROW}})
    monkeypatch.setattr(handlers_profile, "_settings", lambda: SETTINGS)
    page_loads = page_loads_on(table, ask_clerk)
    monkeypatch.setattr(handlers_profile, "_page_loads", lambda: page_loads)
    return table


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_only_owned_attributes_are_returned(method: str, table: FakeUsersTable) -> None:
    shown = body(answer(event(method)))
    assert shown.keys() <= {"clerkUserId", "firstName", "lastName", "email", "clerkUpdatedAt"}
    assert shown["firstName"] == "Grace"


def test_log_holds_no_tokens_and_no_names(
    table: FakeUsersTable, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(user_id: str) -> Any:
        return {"id": user_id, "updated_at": "Grace", "first_name": ["Grace"]}

    def down(_: str) -> Any:
        raise ClerkUnavailable("500 (some_code)")

    requests = [
        event(),
        event("GET"),
        event(body='{"email": "grace@mail.test"}'),
        event(body='{"id": "user_2"}'),
        event(path="Grace"),
        event(token=session_token(USER, ISSUER, exp=1, name="Grace", azp="https://Grace.test")),
        event(token=session_token(USER, ISSUER, azp="https://Grace.test")),
        event(headers={"Authorization": "Basic Grace"}),
    ]
    for ask in (ask_clerk, odd, down):
        page_loads = page_loads_on(table, ask)
        monkeypatch.setattr(handlers_profile, "_page_loads", lambda page_loads=page_loads: page_loads)
        for request in requests:
            answer(request)
    logged = log.getvalue()
    for code in ("profile_refreshed", "profile_not_refreshed", "profile_rejected"):
        assert code in logged
    tokens = [(request["headers"].get("Authorization", "").split(" ")[-1]) for request in requests[:7]]
    parts = [part for token in tokens for part in token.split(".") if part]
    assert [word for word in (*PERSONAL, "Hopper", "secret", *parts) if word in logged] == []
    assert all(json.loads(line)["message"] for line in logged.splitlines())


@pytest.mark.parametrize("stored", [{"NULL": True}, {"N": "1.5"}, {"B": b"\x00"}, {"L": [{"S": "Grace"}]}])
def test_value_of_another_type_is_not_returned(stored: Any, profiles: ScriptedProfiles) -> None:
    profiles.row = {"lastName": Opaque(stored)}
    shown = body(answer(event("GET")))
    assert "lastName" not in shown
