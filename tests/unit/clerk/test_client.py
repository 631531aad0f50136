import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from clerk_sync.aws.secrets import Secret
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.errors import ClerkRefused, ClerkUnavailable, CursorRefused, OutOfTime, UserUnknown

URL = "https://clerk.test/v1"
KEY = "sk_test_madeUpForTests"
SECRET = Secret(KEY, "the SSM parameter /made/up", "Set it like this.")
TOO_MANY = 100


@dataclass
class Time:
    """A clock that only pauses move."""

    now: float = 1_000.0
    ends: float = float("inf")
    pauses: list[float] = field(default_factory=list)
    told: list[tuple[float, str]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def on_wait(self, seconds: float, why: str) -> None:
        self.told.append((seconds, why))

    def left(self) -> float:
        return self.ends - self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr("clerk_sync.clerk.client.time", SimpleNamespace(monotonic=lambda: time.now))
    return time


@dataclass
class Clerk:
    """Answers one after the other, the last one again and again."""

    answers: list[httpx.Response | Exception]
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert len(self.requests) < TOO_MANY, "it never gives up"
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def client(clerk: Callable[[httpx.Request], httpx.Response], time: Time, **settings: Any) -> ClerkClient:
    options: dict[str, Any] = {
        "requests_per_second": 1_000_000,
        "time_left": time.left,
        "on_wait": time.on_wait,
        "sleep": time.sleep,
        "http": httpx.Client(transport=httpx.MockTransport(clerk)),
    }
    return ClerkClient(settings.pop("url", URL), SECRET, **(options | settings))


def failing(status: int, *, code: str = "some_code", **headers: str) -> httpx.Response:
    body = {
        "errors": [{"message": "Ada said no", "long_message": "ada@mail.test", "code": code, "meta": {}}],
        "clerk_trace_id": "trace123",
    }
    return httpx.Response(status, json=body, headers=headers)


NOBODY = httpx.Response(200, json=[])
BAD_GATEWAY = httpx.Response(
    502, content="<html>Bad gateway of Ada</html>", headers={"Content-Type": "text/html"}
)
HALF = httpx.Response(200, content=b'[{"id": "user_1", "first_')
NOT_A_LIST = httpx.Response(200, json={"data": []})
DEEP = httpx.Response(200, content=b"[" * 200_000)


# Asking


def test_users_are_asked_for_oldest_first_in_a_pinned_version_with_the_key(time: Time) -> None:
    clerk = Clerk([httpx.Response(200, json=[{"id": "user_1"}, None])])
    with client(clerk, time) as api:
        assert api.users(limit=7, starting_after="user_0") == [{"id": "user_1"}, None]
    [request] = clerk.requests
    assert request.method == "GET"
    assert request.url.copy_with(query=None) == URL + "/users"
    assert dict(request.url.params) == {"order_by": "created_at", "limit": "7", "starting_after": "user_0"}
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Clerk-API-Version"] == "2026-05-12"


def test_another_order_may_be_asked_for(time: Time) -> None:
    clerk = Clerk([NOBODY])
    with client(clerk, time) as api:
        api.users(order_by="-updated_at")
    assert clerk.requests[0].url.params.get_list("order_by") == ["-updated_at"]


def test_a_user_that_is_no_valid_text_does_not_cost_the_others(time: Time) -> None:
    users = [{"id": "user_1", "first_name": "\ud800"}, {"id": "user_2"}]
    clerk = Clerk([httpx.Response(200, content=json.dumps(users).encode())])
    assert client(clerk, time).users() == users


def test_users_are_counted(time: Time) -> None:
    clerk = Clerk([httpx.Response(200, json={"object": "total_count", "total_count": 1234})])
    with client(clerk, time) as api:
        assert api.count() == 1234
    assert clerk.requests[0].url.path == "/v1/users/count"


# Trying again

BROKEN: dict[str, httpx.Response | Exception] = {
    "408": failing(408),
    "429": failing(429),
    "429 until a date": failing(429, **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
    "500": failing(500),
    "502 in HTML": BAD_GATEWAY,
    "503": failing(503),
    "504": failing(504),
    "520": failing(520),
    "half JSON": HALF,
    "not a list": NOT_A_LIST,
    "too deep": DEEP,
    "not text": httpx.Response(200, content=b"\xff\xfe\x00"),
    "nothing": httpx.Response(200, content=b""),
    "time-out": httpx.ReadTimeout("slow"),
    "no connection": httpx.ConnectError("refused"),
    "cut off": httpx.RemoteProtocolError("peer closed connection"),
    "garbled": httpx.DecodingError("bad gzip"),
}
broken = pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())


@broken
def test_what_passes_is_tried_again(answer: httpx.Response | Exception, time: Time) -> None:
    clerk = Clerk([answer, answer, httpx.Response(200, json=[{"id": "user_1"}])])
    with client(clerk, time) as api:
        assert api.users(limit=1) == [{"id": "user_1"}]
    first, *others = clerk.requests
    assert [request.url for request in others] == [first.url] * 2
    assert [seconds for seconds, _ in time.told] == [pause for pause in time.pauses if pause > 0.01]


@broken
def test_what_does_not_pass_is_given_up_in_the_end(answer: httpx.Response | Exception, time: Time) -> None:
    clerk = Clerk([answer])
    with client(clerk, time) as api, pytest.raises(ClerkUnavailable) as error:
        api.users(limit=1)
    assert 5 <= len(clerk.requests) <= 12
    assert sum(time.pauses) < 180
    assert "Ada" not in str(error.value)
    assert KEY not in str(error.value)


def test_a_count_that_is_none_is_tried_again(time: Time) -> None:
    bodies: list[Any] = [[], {}, {"total_count": "7"}, {"total_count": 7}]
    clerk = Clerk([httpx.Response(200, json=body) for body in bodies])
    with client(clerk, time) as api:
        assert api.count() == 7


def test_pauses_grow_to_a_limit_and_differ(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    highest: list[float] = []
    for draw in (max, min):
        monkeypatch.setattr("clerk_sync.clerk.client.random.uniform", draw)
        time.told.clear()
        with client(Clerk([failing(500)]), time) as api, pytest.raises(ClerkUnavailable):
            api.users()
        pauses = [seconds for seconds, _ in time.told]
        assert pauses == sorted(pauses)
        assert pauses[0] < pauses[-1] <= 20
        highest.append(pauses[-1])
    assert highest[0] > highest[1], "no jitter"


@pytest.mark.parametrize("status", [429, 503])
def test_clerks_own_waiting_time_is_obeyed(status: int, time: Time) -> None:
    clerk = Clerk([failing(status, **{"Retry-After": "7"}), NOBODY])
    with client(clerk, time) as api:
        api.users()
    assert [seconds for seconds, _ in time.told] == [7]
    assert 7 in time.pauses


def test_being_told_to_wait_is_no_failure_however_often(time: Time) -> None:
    clerk = Clerk([*[failing(429, **{"Retry-After": "1"})] * 50, NOBODY])
    with client(clerk, time) as api:
        assert api.users() == []


@pytest.mark.parametrize("told", ["0", "-5", "nan"])
def test_a_waiting_time_that_is_none_does_not_become_a_rush(told: str, time: Time) -> None:
    clerk = Clerk([failing(429, **{"Retry-After": told}), NOBODY])
    with client(clerk, time) as api:
        api.users()
    assert time.told[0][0] >= 0.1


def test_a_pause_is_told_before_it_is_made(time: Time) -> None:
    order: list[str] = []
    clerk = Clerk([failing(500), NOBODY])
    with client(
        clerk,
        time,
        on_wait=lambda _, why: order.append(why),
        sleep=lambda seconds: order.append("pause") if seconds > 0.01 else None,
    ) as api:
        api.users()
    assert order == ["500 (some_code, trace123)", "pause"]


def test_no_pause_is_begun_that_does_not_fit_into_the_time_left(time: Time) -> None:
    time.ends = time.now + 4
    clerk = Clerk([failing(429, **{"Retry-After": "5"})])
    with client(clerk, time) as api, pytest.raises(OutOfTime):
        api.users()
    assert len(clerk.requests) == 1
    assert time.told == []


@pytest.mark.parametrize("told", ["3600", "inf"])
def test_a_wait_that_no_function_has_time_for_is_given_up(told: str, time: Time) -> None:
    time.ends = time.now + 800
    with client(Clerk([failing(429, **{"Retry-After": told})]), time) as api, pytest.raises(ClerkUnavailable):
        api.users()
    assert time.told == []


def test_waits_end_with_the_time_there_is(time: Time) -> None:
    time.ends = time.now + 30
    clerk = Clerk([failing(429, **{"Retry-After": "2"})])
    with client(clerk, time) as api, pytest.raises(OutOfTime):
        api.users()
    assert 10 <= len(clerk.requests) <= 15
    assert time.now < time.ends


# Pace


@pytest.mark.parametrize("per_second", [0.5, 1, 3, 20])
def test_clerk_is_never_asked_more_often_than_allowed(per_second: float, time: Time) -> None:
    asked_at: list[float] = []
    answers = iter([*[NOBODY] * 4, failing(500), *[NOBODY] * 30])

    def clerk(request: httpx.Request) -> httpx.Response:
        asked_at.append(time.now)
        time.now += 0.02
        return next(answers)

    with client(clerk, time, requests_per_second=per_second) as api:
        for n in range(30):
            api.users()
            time.now += 2 if n == 10 else 0  # idle time earns no burst
    for start in asked_at:
        in_one_second = [at for at in asked_at if start <= at < start + max(1, 1 / per_second) - 1e-6]
        assert len(in_one_second) <= max(1, per_second)


def test_the_pace_costs_nothing_when_the_answers_are_slower(time: Time) -> None:
    def clerk(request: httpx.Request) -> httpx.Response:
        time.now += 0.5
        return httpx.Response(200, json=[])

    with client(clerk, time, requests_per_second=2) as api:
        for _ in range(5):
            api.users()
    assert sum(time.pauses) == 0


# Refusals


def refused(answer: httpx.Response, time: Time, **query: str | int) -> Exception:
    clerk = Clerk([answer])
    with client(clerk, time) as api, pytest.raises((ClerkRefused, CursorRefused)) as error:
        api.users(**query)
    assert len(clerk.requests) == 1, "to try again cannot help"
    assert KEY not in str(error.value)
    assert "Ada" not in str(error.value)
    assert "mail.test" not in str(error.value)
    return error.value


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("query", [{}, {"starting_after": "user_1"}])
def test_a_refused_key_is_named_by_where_it_is_with_what_to_do(
    status: int, query: dict[str, str], time: Time
) -> None:
    error = refused(failing(status, code="secret_key_invalid"), time, **query)
    assert isinstance(error, ClerkRefused)
    for part in (str(status), "secret_key_invalid", "trace123", SECRET.source, SECRET.remedy):
        assert part in str(error)


@pytest.mark.parametrize("status", [301, 400, 404, 410, 422])
def test_another_refusal_asks_about_the_address(status: int, time: Time) -> None:
    error = refused(failing(status), time)
    assert isinstance(error, ClerkRefused)
    assert "ClerkApiUrl" in str(error)
    assert URL in str(error)


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_a_refused_cursor_is_told_apart(status: int, time: Time) -> None:
    error = refused(failing(status), time, starting_after="user_1")
    assert isinstance(error, CursorRefused)
    assert "some_code" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        *(
            "",
            "[]",
            "7",
            "null",
            "<html>Ada</html>",
            '{"errors": []}',
            '{"errors": {}}',
            '{"errors": ["Ada"]}',
        ),
        *('{"errors": [{"code": null}]}', '{"errors": [{"message": "Ada"}], "clerk_trace_id": 7}'),
        json.dumps({"errors": None}),
        "[" * 200_000,
    ],
)
def test_an_error_of_any_shape_is_told_by_its_status(body: str, time: Time) -> None:
    assert "404" in str(refused(httpx.Response(404, content=body), time))


def test_what_is_told_of_an_error_stays_short(time: Time) -> None:
    assert len(str(refused(failing(404, code="x" * 10_000), time))) < 500


@pytest.mark.parametrize(
    "url", ["clerk.test/v1", "ftp://clerk.test", "https://clerk.test:port", "https://", ""]
)
def test_an_address_that_is_none_is_named(url: str, time: Time) -> None:
    # No transport of ours, as it is httpx's own that knows.
    with client(Clerk([NOBODY]), time, url=url, http=None) as api, pytest.raises(ClerkRefused) as error:
        api.users()
    assert "ClerkApiUrl" in str(error.value)


# One user


def test_one_user_is_asked_for_by_id(time: Time) -> None:
    clerk = Clerk([httpx.Response(200, json={"id": "user_1"})])
    with client(clerk, time) as api:
        assert api.user("user_1") == {"id": "user_1"}
    [request] = clerk.requests
    assert (request.method, str(request.url)) == ("GET", f"{URL}/users/user_1")
    assert request.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("user_id", ["../count", "a/b", "?limit=500", "#", "%2F", "...", "é", " ", "a\nb"])
def test_an_id_is_never_more_than_one_part_of_the_path(user_id: str, time: Time) -> None:
    clerk = Clerk([httpx.Response(200, json={"id": user_id})])
    with client(clerk, time) as api:
        api.user(user_id)
    [request] = clerk.requests
    prefix, _, last = request.url.raw_path.decode().rpartition("/")
    assert (prefix, unquote(last)) == ("/v1/users", user_id)


def test_an_answer_about_another_user_is_none(time: Time) -> None:
    clerk = Clerk([httpx.Response(200, json={"id": "user_2"})])
    with client(clerk, time) as api, pytest.raises(ClerkUnavailable):
        api.user("user_1")


def test_an_unknown_user_is_told_apart(time: Time) -> None:
    clerk = Clerk([failing(404, code="resource_not_found")])
    with client(clerk, time) as api, pytest.raises(UserUnknown):
        api.user("user_1")
    assert len(clerk.requests) == 1


@pytest.mark.parametrize(
    "answer", [failing(404), httpx.Response(404, content="<html>no</html>"), failing(400), failing(422)]
)
def test_another_refusal_of_one_user_is_no_unknown_user(answer: httpx.Response, time: Time) -> None:
    with client(Clerk([answer]), time) as api, pytest.raises(ClerkRefused, match="ClerkApiUrl"):
        api.user("user_1")


def test_an_unknown_user_is_no_refused_address_of_a_list(time: Time) -> None:
    with client(Clerk([failing(404, code="resource_not_found")]), time) as api, pytest.raises(ClerkRefused):
        api.users()


@pytest.mark.parametrize("answer", [answer for answer in BROKEN.values() if answer is not NOT_A_LIST])
def test_one_user_is_asked_for_again_and_given_up_within_the_time_there_is(
    answer: httpx.Response | Exception, time: Time
) -> None:
    time.ends = time.now + 5
    clerk = Clerk([answer, httpx.Response(200, json={"id": "user_1"})])
    with client(clerk, time) as api:
        assert api.user("user_1") == {"id": "user_1"}
    clerk = Clerk([answer])
    with client(clerk, time) as api, pytest.raises((ClerkUnavailable, OutOfTime)):
        api.user("user_1")
    assert time.now <= time.ends


# Several threads


def test_a_pause_that_clerk_asks_for_is_everybodys(time: Time) -> None:
    asked_at: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        asked_at.append(time.now)
        if len(asked_at) == 1:
            return httpx.Response(429, headers={"Retry-After": "7"})
        return httpx.Response(200, json={"total_count": 3})

    def meanwhile(seconds: float, why: str) -> None:
        assert clerk.count() == 3  # as another thread would

    clerk = client(answer, time, on_wait=meanwhile)
    assert clerk.count() == 3
    assert asked_at[1] - asked_at[0] == pytest.approx(7)


def test_threads_share_one_pace(time: Time) -> None:
    pauses: list[float] = []  # in a time that stands still
    clerk = client(Clerk([httpx.Response(200, json=[])]), time, requests_per_second=10, sleep=pauses.append)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: clerk.users(limit=1), range(40)))
    assert clerk.requests_made == 40
    assert sorted(pauses) == pytest.approx([n / 10 for n in range(1, 40)])


def test_what_fails_because_the_client_was_closed_is_not_tried_again(time: Time) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        clerk.__exit__()
        raise httpx.ReadError("closed")

    clerk = client(answer, time)
    with pytest.raises(ClerkUnavailable, match="closed"):
        clerk.count()
    assert not time.told
