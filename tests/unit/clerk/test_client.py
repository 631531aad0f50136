import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from clerk_sync.clerk.client import ClerkClient
from clerk_sync.errors import ClerkRefused, ClerkUnavailable, CursorRefused, OutOfTime, UserUnknown
from tests.support.fake_transport import KEY, SECRET, URL, FakeTime, FakeTransport, clerk_failure, client_of


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    time = FakeTime()
    monkeypatch.setattr("clerk_sync.clerk.client.time", SimpleNamespace(monotonic=lambda: time.now))
    return time


def html(status: int, **headers: str) -> httpx.Response:
    """What a firewall, a proxy or a captive portal answers."""
    return httpx.Response(
        status, content="<html>Ada, log in</html>", headers={"Content-Type": "text/html", **headers}
    )


NO_USERS = httpx.Response(200, json=[])
ONE_USER = httpx.Response(200, json=[{"id": "user_1"}])
NOT_A_LIST = httpx.Response(200, json={"data": []})


# Requests


def test_users_are_requested_oldest_first_with_the_key_and_a_pinned_version(time: FakeTime) -> None:
    transport = FakeTransport([httpx.Response(200, json=[{"id": "user_1"}, None])])
    with client_of(transport, time) as clerk:
        assert clerk.users(limit=7, starting_after="user_0") == [{"id": "user_1"}, None]
    [request] = transport.requests
    assert request.method == "GET"
    assert request.url.copy_with(query=None) == URL + "/users"
    assert dict(request.url.params) == {"order_by": "created_at", "limit": "7", "starting_after": "user_0"}
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Clerk-API-Version"] == "2026-05-12"


def test_order_by_replaces_the_default_order(time: FakeTime) -> None:
    transport = FakeTransport([NO_USERS])
    with client_of(transport, time) as clerk:
        clerk.users(order_by="-updated_at")
    assert transport.requests[0].url.params.get_list("order_by") == ["-updated_at"]


def test_user_with_invalid_unicode_does_not_affect_the_others(time: FakeTime) -> None:
    users = [{"id": "user_1", "first_name": "\ud800"}, {"id": "user_2"}]
    transport = FakeTransport([httpx.Response(200, content=json.dumps(users).encode())])
    assert client_of(transport, time).users() == users


def test_count_returns_the_total_count(time: FakeTime) -> None:
    transport = FakeTransport([httpx.Response(200, json={"object": "total_count", "total_count": 1234})])
    with client_of(transport, time) as clerk:
        assert clerk.count() == 1234
    assert transport.requests[0].url.path == "/v1/users/count"


def test_instance_id_returns_the_instances_id(time: FakeTime) -> None:
    transport = FakeTransport([httpx.Response(200, json={"object": "instance", "id": "ins_1"})])
    with client_of(transport, time) as clerk:
        assert clerk.instance_id() == "ins_1"
    assert transport.requests[0].url.path == "/v1/instance"


# Retries

NOT_FROM_CLERK: dict[str, httpx.Response] = {
    "301": html(301, Location="https://portal.test/"),
    "302 to nowhere": html(302, Location="::"),
    "204": httpx.Response(204),
    "400": html(400),
    "401": html(401),
    "403": html(403, **{"cf-mitigated": "challenge", "Server": "cloudflare"}),
    "403 in JSON": httpx.Response(403, json={"message": "Ada is forbidden"}),
    "403 without errors": httpx.Response(403, json={"errors": []}),
    "403 with a number as its code": httpx.Response(403, json={"errors": [{"code": 1010}]}),
    "404": html(404),
    "405": html(405),
    "407": html(407),
    "410": html(410),
    "421": html(421),
    "422": html(422),
    "429": html(429),
    "451": html(451),
    "a captive portal": html(200),
}
RETRIED: dict[str, httpx.Response | Exception] = {
    **NOT_FROM_CLERK,
    "408": clerk_failure(408),
    "Clerk's 429": clerk_failure(429),
    "500": clerk_failure(500),
    "502 in HTML": html(502),
    "503": clerk_failure(503),
    "504": clerk_failure(504),
    "520": clerk_failure(520),
    "half JSON": httpx.Response(200, content=b'[{"id": "user_1", "first_'),
    "not a list": NOT_A_LIST,
    "too deep": httpx.Response(200, content=b"[" * 200_000),
    "not text": httpx.Response(200, content=b"\xff\xfe\x00"),
    "an empty body": httpx.Response(200, content=b""),
    "time-out": httpx.ReadTimeout("slow"),
    "no connection": httpx.ConnectError("refused"),
    "cut off": httpx.RemoteProtocolError("peer closed connection"),
    "garbled": httpx.DecodingError("bad gzip"),
    "a proxy that refuses": httpx.ProxyError("407 Proxy Authentication Required"),
}
retried = pytest.mark.parametrize("answer", RETRIED.values(), ids=RETRIED.keys())
not_from_clerk = pytest.mark.parametrize("answer", NOT_FROM_CLERK.values(), ids=NOT_FROM_CLERK.keys())


@retried
@pytest.mark.parametrize("query", [{}, {"starting_after": "user_0"}])
def test_a_transient_failure_is_retried(
    answer: httpx.Response | Exception, query: dict[str, str], time: FakeTime
) -> None:
    transport = FakeTransport([answer, answer, ONE_USER])
    with client_of(transport, time) as clerk:
        assert clerk.users(limit=1, **query) == [{"id": "user_1"}]
    first, *others = transport.requests
    assert [request.url for request in others] == [first.url] * 2
    assert [seconds for seconds, _ in time.waits] == [pause for pause in time.pauses if pause > 0.01]


@retried
def test_a_lasting_failure_is_given_up_after_some_minutes(
    answer: httpx.Response | Exception, time: FakeTime
) -> None:
    transport = FakeTransport([answer])
    with client_of(transport, time) as clerk, pytest.raises(ClerkUnavailable) as error:
        clerk.users(limit=1)
    assert 5 <= len(transport.requests) <= 12
    assert sum(time.pauses) < 180
    assert "Ada" not in str(error.value)
    assert KEY not in str(error.value)
    assert not str(error.value).endswith("."), "another sentence follows"


@not_from_clerk
@pytest.mark.parametrize("query", [{}, {"starting_after": "user_0"}])
def test_a_lasting_answer_that_is_not_from_clerk_blames_the_network_and_not_the_key(
    answer: httpx.Response, query: dict[str, str], time: FakeTime
) -> None:
    with client_of(FakeTransport([answer]), time) as clerk, pytest.raises(ClerkUnavailable) as error:
        clerk.users(limit=1, **query)
    message = str(error.value)
    if answer.headers.get("Location") != "::":  # httpx itself refuses that one
        assert "something between here and Clerk answers" in message
        assert f"{answer.status_code} (" in message
    assert SECRET.source not in message
    assert SECRET.remedy not in message


def test_a_lasting_404_that_is_not_from_clerk_names_the_address_too(time: FakeTime) -> None:
    with client_of(FakeTransport([html(404)]), time) as clerk, pytest.raises(ClerkUnavailable) as error:
        clerk.users()
    assert "ClerkApiUrl" in str(error.value)
    assert URL in str(error.value)


@not_from_clerk
@pytest.mark.parametrize("method", ["count", "instance_id", "user"])
def test_every_method_retries_what_is_not_from_clerk(
    answer: httpx.Response, method: str, time: FakeTime
) -> None:
    body = {"total_count": 7, "id": "user_1"}
    arguments = ["user_1"] if method == "user" else []
    with client_of(FakeTransport([answer, httpx.Response(200, json=body)]), time) as clerk:
        assert getattr(clerk, method)(*arguments) in (7, "user_1", body)
    with client_of(FakeTransport([answer]), time) as clerk, pytest.raises(ClerkUnavailable):
        getattr(clerk, method)(*arguments)


def test_the_headers_of_a_firewall_are_named_in_the_error_and_before_each_pause(time: FakeTime) -> None:
    with (
        client_of(FakeTransport([NOT_FROM_CLERK["403"]]), time) as clerk,
        pytest.raises(ClerkUnavailable) as error,
    ):
        clerk.users()
    answer = "403 (text/html, server: cloudflare, cf-mitigated: challenge)"
    assert answer in str(error.value)
    assert {reason for _, reason in time.waits} == {answer}


def test_an_invalid_total_count_is_retried(time: FakeTime) -> None:
    bodies: list[Any] = [
        [],
        {},
        {"total_count": "7"},
        {"total_count": True},
        {"total_count": -1},
        {"total_count": 7},
    ]
    transport = FakeTransport([httpx.Response(200, json=body) for body in bodies])
    with client_of(transport, time) as clerk:
        assert clerk.count() == 7


def test_backoff_grows_to_a_limit_with_jitter(time: FakeTime, monkeypatch: pytest.MonkeyPatch) -> None:
    highest: list[float] = []
    for draw in (max, min):
        monkeypatch.setattr("clerk_sync.clerk.client.random.uniform", draw)
        time.waits.clear()
        with client_of(FakeTransport([clerk_failure(500)]), time) as clerk, pytest.raises(ClerkUnavailable):
            clerk.users()
        pauses = [seconds for seconds, _ in time.waits]
        assert pauses == sorted(pauses)
        assert pauses[0] < pauses[-1] <= 20
        highest.append(pauses[-1])
    assert highest[0] > highest[1], "no jitter"


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(status: int, time: FakeTime) -> None:
    transport = FakeTransport([clerk_failure(status, **{"Retry-After": "7"}), NO_USERS])
    with client_of(transport, time) as clerk:
        clerk.users()
    assert [seconds for seconds, _ in time.waits] == [7]
    assert 7 in time.pauses


def test_a_429_with_retry_after_does_not_count_as_a_failed_try(time: FakeTime) -> None:
    transport = FakeTransport([*[clerk_failure(429, **{"Retry-After": "1"})] * 50, NO_USERS])
    with client_of(transport, time) as clerk:
        assert clerk.users() == []


@pytest.mark.parametrize(
    "answer", [html(403, **{"Retry-After": "3"}), clerk_failure(500, **{"Retry-After": "3"})]
)
def test_other_answers_with_retry_after_wait_at_least_as_long_and_are_given_up(
    answer: httpx.Response, time: FakeTime
) -> None:
    transport = FakeTransport([answer])
    with client_of(transport, time) as clerk, pytest.raises(ClerkUnavailable):
        clerk.users()
    assert len(transport.requests) <= 12
    pauses = [seconds for seconds, _ in time.waits]
    assert pauses[0] == 3
    assert pauses[-1] > 3, "it backs off too"


def test_a_retry_after_of_zero_waits_a_second(time: FakeTime) -> None:
    with client_of(FakeTransport([clerk_failure(429, **{"Retry-After": "0"}), NO_USERS]), time) as clerk:
        clerk.users()
    assert time.waits[0][0] == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "value", ["soon", "-5", "nan", "inf", "1e9", "9999999999", "Wed, 21 Oct 2026 07:28:00 GMT"]
)
def test_invalid_retry_after_falls_back_to_backoff(status: int, value: str, time: FakeTime) -> None:
    time.ends = time.now + 800
    transport = FakeTransport([clerk_failure(status, **{"Retry-After": value}), NO_USERS])
    with client_of(transport, time) as clerk:
        clerk.users()
    assert 0.4 <= time.waits[0][0] <= 1
    lasting = FakeTransport([clerk_failure(status, **{"Retry-After": value})])
    with client_of(lasting, time) as clerk, pytest.raises(ClerkUnavailable):
        clerk.users()
    assert len(lasting.requests) <= 12, "it counts as a failed try"


def test_on_wait_is_called_before_the_pause(time: FakeTime) -> None:
    order: list[str] = []
    with client_of(
        FakeTransport([clerk_failure(500), NO_USERS]),
        time,
        on_wait=lambda _, reason: order.append(reason),
        sleep=lambda seconds: order.append("pause") if seconds > 0.01 else None,
    ) as clerk:
        clerk.users()
    assert order == ["500 (some_code, trace id trace123)", "pause"]


@pytest.mark.parametrize(
    "answer", [clerk_failure(429, **{"Retry-After": "5"}), html(403, **{"Retry-After": "5"})]
)
def test_a_pause_that_does_not_fit_into_the_time_left_raises_out_of_time(
    answer: httpx.Response, time: FakeTime
) -> None:
    time.ends = time.now + 4
    transport = FakeTransport([answer])
    with client_of(transport, time) as clerk, pytest.raises(OutOfTime, match=str(answer.status_code)):
        clerk.users()
    assert len(transport.requests) == 1
    assert time.waits == []


def test_a_retry_after_of_an_hour_is_given_up_at_once(time: FakeTime) -> None:
    time.ends = time.now + 800
    transport = FakeTransport([clerk_failure(429, **{"Retry-After": "3600"})])
    with client_of(transport, time) as clerk, pytest.raises(ClerkUnavailable):
        clerk.users()
    assert time.waits == []


def test_retries_end_with_the_time_left(time: FakeTime) -> None:
    time.ends = time.now + 30
    transport = FakeTransport([clerk_failure(429, **{"Retry-After": "2"})])
    with client_of(transport, time) as clerk, pytest.raises(OutOfTime):
        clerk.users()
    assert 10 <= len(transport.requests) <= 15
    assert time.now < time.ends


# Rate limit


@pytest.mark.parametrize("per_second", [0.5, 1, 3, 20])
def test_requests_never_exceed_the_rate(per_second: float, time: FakeTime) -> None:
    sent_at: list[float] = []
    answers = iter([*[NO_USERS] * 4, clerk_failure(500), *[NO_USERS] * 30])

    def transport(request: httpx.Request) -> httpx.Response:
        sent_at.append(time.now)
        time.now += 0.02
        return next(answers)

    with client_of(transport, time, requests_per_second=per_second) as clerk:
        for n in range(30):
            clerk.users()
            time.now += 2 if n == 10 else 0  # idle time earns no burst
    for start in sent_at:
        in_one_second = [at for at in sent_at if start <= at < start + max(1, 1 / per_second) - 1e-6]
        assert len(in_one_second) <= max(1, per_second)


def test_slow_answers_are_not_delayed_further_by_the_rate(time: FakeTime) -> None:
    def transport(request: httpx.Request) -> httpx.Response:
        time.now += 0.5
        return httpx.Response(200, json=[])

    with client_of(transport, time, requests_per_second=2) as clerk:
        for _ in range(5):
            clerk.users()
    assert sum(time.pauses) == 0


# Clerk's own refusals


def refused(answer: httpx.Response, time: FakeTime, **query: str | int) -> Exception:
    transport = FakeTransport([answer])
    with client_of(transport, time) as clerk, pytest.raises((ClerkRefused, CursorRefused)) as error:
        clerk.users(**query)
    assert len(transport.requests) == 1, "it is final"
    assert KEY not in str(error.value)
    assert "Ada" not in str(error.value)
    assert "mail.test" not in str(error.value)
    return error.value


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("query", [{}, {"starting_after": "user_1"}])
def test_a_key_that_clerk_refuses_is_named_with_its_place_and_remedy(
    status: int, query: dict[str, str], time: FakeTime
) -> None:
    error = refused(clerk_failure(status, code="secret_key_invalid"), time, **query)
    assert isinstance(error, ClerkRefused)
    for part in (str(status), "secret_key_invalid", "trace123", SECRET.source, SECRET.remedy):
        assert part in str(error)


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_another_refusal_of_clerks_asks_about_the_address(status: int, time: FakeTime) -> None:
    error = refused(clerk_failure(status), time)
    assert isinstance(error, ClerkRefused)
    assert "ClerkApiUrl" in str(error)
    assert URL in str(error)


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_a_cursor_that_clerk_refuses_raises_cursor_refused(status: int, time: FakeTime) -> None:
    error = refused(clerk_failure(status), time, starting_after="user_1")
    assert isinstance(error, CursorRefused)
    assert "some_code" in str(error)


def test_a_refusal_stays_short(time: FakeTime) -> None:
    assert len(str(refused(clerk_failure(404, code="x" * 10_000), time))) < 500


@pytest.mark.parametrize(
    "url", ["clerk.test/v1", "ftp://clerk.test", "https://clerk.test:port", "https://", ""]
)
def test_an_invalid_address_is_refused_with_the_parameters_name(url: str, time: FakeTime) -> None:
    # With httpx's own transport, as a mock takes any address.
    with (
        client_of(FakeTransport([NO_USERS]), time, url=url, http=httpx.Client()) as clerk,
        pytest.raises(ClerkRefused) as error,
    ):
        clerk.users()
    assert "ClerkApiUrl" in str(error.value)


# One user


def test_one_user_is_requested_by_id(time: FakeTime) -> None:
    transport = FakeTransport([httpx.Response(200, json={"id": "user_1"})])
    with client_of(transport, time) as clerk:
        assert clerk.user("user_1") == {"id": "user_1"}
    [request] = transport.requests
    assert (request.method, str(request.url)) == ("GET", f"{URL}/users/user_1")
    assert request.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("user_id", ["../count", "a/b", "?limit=500", "#", "%2F", "...", "é", " ", "a\nb"])
def test_an_id_is_never_more_than_one_part_of_the_path(user_id: str, time: FakeTime) -> None:
    transport = FakeTransport([httpx.Response(200, json={"id": user_id})])
    with client_of(transport, time) as clerk:
        clerk.user(user_id)
    [request] = transport.requests
    prefix, _, last = request.url.raw_path.decode().rpartition("/")
    assert (prefix, unquote(last)) == ("/v1/users", user_id)


def test_an_answer_with_another_user_is_not_used(time: FakeTime) -> None:
    transport = FakeTransport([httpx.Response(200, json={"id": "user_2"})])
    with client_of(transport, time) as clerk, pytest.raises(ClerkUnavailable):
        clerk.user("user_1")


def test_clerks_resource_not_found_raises_user_unknown(time: FakeTime) -> None:
    transport = FakeTransport([clerk_failure(404, code="resource_not_found")])
    with client_of(transport, time) as clerk, pytest.raises(UserUnknown):
        clerk.user("user_1")
    assert len(transport.requests) == 1


@pytest.mark.parametrize("answer", [clerk_failure(404), clerk_failure(400), clerk_failure(422)])
def test_another_refusal_of_one_user_is_not_an_unknown_user(answer: httpx.Response, time: FakeTime) -> None:
    with client_of(FakeTransport([answer]), time) as clerk, pytest.raises(ClerkRefused, match="ClerkApiUrl"):
        clerk.user("user_1")


def test_a_404_page_that_mentions_resource_not_found_is_not_an_unknown_user(time: FakeTime) -> None:
    page = httpx.Response(404, content="<html>resource_not_found</html>")
    traced = httpx.Response(
        404, json={"errors": [{"code": "some_code"}], "clerk_trace_id": "resource_not_found"}
    )
    with client_of(FakeTransport([page]), time) as clerk, pytest.raises(ClerkUnavailable):
        clerk.user("user_1")
    with client_of(FakeTransport([traced]), time) as clerk, pytest.raises(ClerkRefused):
        clerk.user("user_1")


def test_resource_not_found_for_a_list_is_a_refusal(time: FakeTime) -> None:
    answer = clerk_failure(404, code="resource_not_found")
    with client_of(FakeTransport([answer]), time) as clerk, pytest.raises(ClerkRefused):
        clerk.users()


@pytest.mark.parametrize("answer", [answer for answer in RETRIED.values() if answer is not NOT_A_LIST])
def test_one_user_is_retried_within_the_time_left(answer: httpx.Response | Exception, time: FakeTime) -> None:
    time.ends = time.now + 5
    transport = FakeTransport([answer, httpx.Response(200, json={"id": "user_1"})])
    with client_of(transport, time) as clerk:
        assert clerk.user("user_1") == {"id": "user_1"}
    with (
        client_of(FakeTransport([answer]), time) as clerk,
        pytest.raises((ClerkUnavailable, OutOfTime)) as error,
    ):
        clerk.user("user_1")
    assert "gives no usable answer" in str(error.value)
    assert time.now <= time.ends


# Several threads


def test_retry_after_holds_back_every_thread(time: FakeTime) -> None:
    sent_at: list[float] = []

    def transport(_: httpx.Request) -> httpx.Response:
        sent_at.append(time.now)
        if len(sent_at) == 1:
            return httpx.Response(429, headers={"Retry-After": "7"})
        return httpx.Response(200, json={"total_count": 3})

    def on_wait(seconds: float, reason: str) -> None:
        assert clerk.count() == 3  # as another thread would

    clerk = client_of(transport, time, on_wait=on_wait)
    assert clerk.count() == 3
    assert sent_at[1] - sent_at[0] == pytest.approx(7)


def test_threads_share_one_rate(time: FakeTime) -> None:
    pauses: list[float] = []  # in a time that stands still
    clerk = client_of(FakeTransport([NO_USERS]), time, requests_per_second=10, sleep=pauses.append)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: clerk.users(limit=1), range(40)))
    assert clerk.requests_made == 40
    assert sorted(pauses) == pytest.approx([n / 10 for n in range(1, 40)])


def test_a_request_that_fails_because_the_client_was_closed_is_not_retried(time: FakeTime) -> None:
    def transport(_: httpx.Request) -> httpx.Response:
        clerk.__exit__()
        raise httpx.ReadError("closed")

    clerk: ClerkClient = client_of(transport, time)
    with pytest.raises(ClerkUnavailable, match="closed"):
        clerk.count()
    assert not time.waits


def test_requests_and_throttled_ones_are_counted(time: FakeTime) -> None:
    answers: list[httpx.Response | Exception] = [clerk_failure(429), html(429), clerk_failure(500), NO_USERS]
    with client_of(FakeTransport(answers), time) as clerk:
        clerk.users()
    assert (clerk.requests_made, clerk.throttled) == (4, 2)
