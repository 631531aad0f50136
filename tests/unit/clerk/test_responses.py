import json

import httpx
import pytest

from clerk_sync.clerk.responses import clerk_error, describe, retry_after, where_to_look
from tests.support.fake_transport import clerk_failure

NOT_CLERKS_ERRORS = [
    "",
    "[]",
    "7",
    "null",
    "<html>Ada</html>",
    '{"message": "Ada is forbidden"}',
    '{"errors": null}',
    '{"errors": []}',
    '{"errors": {}}',
    '{"errors": "Ada"}',
    '{"errors": ["Ada"]}',
    '{"errors": [{"message": "Ada"}]}',
    '{"errors": [{"code": null}]}',
    '{"errors": [{"code": 403}]}',
    '{"errors": [{"code": ""}]}',
    '{"errors": [{"code": ["Ada"]}], "clerk_trace_id": "trace123"}',
    "[" * 200_000,
]


def test_clerks_error_has_its_code_and_trace_id() -> None:
    assert clerk_error(clerk_failure(422)) == ("some_code", "trace id trace123")
    assert describe(clerk_failure(422)) == "422 (some_code, trace id trace123)"


@pytest.mark.parametrize("trace_id", [None, 7, {"name": "Ada"}])
def test_an_error_without_a_usable_trace_id_is_still_clerks(trace_id: object) -> None:
    body = {"errors": [{"code": "some_code"}], "clerk_trace_id": trace_id}
    assert describe(httpx.Response(404, json=body)) == "404 (some_code, no trace id)"


@pytest.mark.parametrize("body", NOT_CLERKS_ERRORS)
@pytest.mark.parametrize("status", [301, 401, 403, 404, 407, 421, 422, 451])
def test_an_answer_without_clerks_error_code_is_not_from_clerk(status: int, body: str) -> None:
    response = httpx.Response(status, content=body, headers={"Content-Type": "text/html"})
    assert clerk_error(response) is None
    assert describe(response) == f"{status} (text/html)", "nothing of the body is shown"
    assert "something between here and Clerk answers" in str(where_to_look(response))


def test_headers_that_show_who_answered_are_described() -> None:
    headers = {
        "Content-Type": "text/html",
        "Server": "cloudflare",
        "cf-mitigated": "challenge",
        "X-Name": "Ada",
    }
    response = httpx.Response(403, content="<title>Just a moment...</title>", headers=headers)
    assert describe(response) == "403 (text/html, server: cloudflare, cf-mitigated: challenge)"


def test_a_description_stays_short() -> None:
    long = {"Content-Type": "x" * 10_000, "Server": "y" * 10_000}
    assert len(describe(httpx.Response(403, headers=long))) < 300
    body = {"errors": [{"code": "x" * 10_000}], "clerk_trace_id": "y" * 10_000}
    assert len(describe(httpx.Response(403, json=body))) < 300


@pytest.mark.parametrize(("status", "is_named"), [(200, True), (302, True), (404, True), (403, False)])
def test_the_address_is_named_where_it_may_be_wrong(status: int, is_named: bool) -> None:
    response = httpx.Response(status, content="<html></html>", headers={"Content-Type": "text/html"})
    assert ("ClerkApiUrl" in str(where_to_look(response))) is is_named


@pytest.mark.parametrize(
    "response",
    [
        clerk_failure(403),
        clerk_failure(429),
        httpx.Response(502, content="<html></html>"),
        httpx.Response(200, content=json.dumps([])[:1], headers={"Content-Type": "application/json"}),
    ],
)
def test_there_is_no_advice_for_what_clerk_may_have_sent(response: httpx.Response) -> None:
    assert where_to_look(response) is None


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7), ("0", 1), ("1.5", 1.5), (" 30 ", 30), ("3600", 3600)]
)
def test_retry_after_is_in_seconds_and_at_least_one(value: str, seconds: float) -> None:
    assert retry_after(httpx.Response(429, headers={"Retry-After": value})) == seconds


@pytest.mark.parametrize(
    "value", ["", "soon", "-5", "nan", "inf", "1e3", "5, 5", "Wed, 21 Oct 2026 07:28:00 GMT", "9" * 400]
)
def test_an_invalid_retry_after_is_none(value: str) -> None:
    assert retry_after(httpx.Response(429, headers={"Retry-After": value})) is None


def test_a_response_without_retry_after_has_none() -> None:
    assert retry_after(httpx.Response(429)) is None
