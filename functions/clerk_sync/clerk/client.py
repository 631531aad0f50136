"""The edge to Clerk's Backend API: paced, retried, its errors translated.

Facts from https://clerk.com/docs/reference/backend-api and the OpenAPI description of 2026-05-12.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import httpx

from clerk_sync.aws.secrets import Secret
from clerk_sync.errors import ClerkRefused, ClerkUnavailable, CursorRefused, OutOfTime, UserUnknown
from clerk_sync.users.user import read_users

API_VERSION = "2026-05-12"
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_TRIES = 8
_MAX_PAUSE = 20.0
_USUAL_PAUSE = 60.0


class ClerkClient:
    """Reads users, at most `requests_per_second`, for any number of threads; use it as a context manager.

    `time_left` gives the seconds that may still be spent; `on_wait` is told of each pause before
    another try (seconds, why); `http` is a connection to share. `requests_made` and `throttled` count what
    was asked, and how much of it Clerk put off. Every method raises ClerkRefused, ClerkUnavailable or
    OutOfTime.
    """

    requests_made = 0
    throttled = 0

    def __init__(
        self,
        api_url: str,
        secret: Secret,
        *,
        requests_per_second: float = 100,
        time_left: Callable[[], float],
        on_wait: Callable[[float, str], None] = lambda *_: None,
        sleep: Callable[[float], None] = time.sleep,
        http: httpx.Client | None = None,
    ) -> None:
        self._url = api_url
        self._secret = secret
        self._interval = 1 / requests_per_second
        self._next_request_at = 0.0
        self._pacing = threading.Lock()
        self._is_closed = False
        self._time_left = time_left
        self._on_wait = on_wait
        self._sleep = sleep
        self._http = http or httpx.Client(timeout=_TIMEOUT)
        self._headers = {
            "Authorization": f"Bearer {secret.value}",
            "Clerk-API-Version": API_VERSION,
            "User-Agent": "clerk-sync",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        self._http.close()

    def users(self, **query: str | int | Sequence[str]) -> list[Any]:
        """`GET /users`: user objects with what is synced of them, oldest first unless `order_by` says
        otherwise.

        Raises CursorRefused too, if `starting_after` is given.
        """
        return self._get("/users", {"order_by": "created_at", **query}, read_users)

    def user(self, user_id: str) -> Any:
        """`GET /users/{id}`: one user object. Raises UserUnknown too."""

        def read(body: bytes) -> Any:
            answer = json.loads(body)
            if not isinstance(answer, dict) or answer.get("id") != user_id:
                raise ValueError("not this user")
            return answer

        return self._get(f"/users/{quote(user_id, safe='')}", {}, read)

    def instance_id(self) -> str:
        """`GET /instance`: which instance the secret key belongs to."""
        return self._get("/instance", {}, _instance_id)

    def count(self) -> int:
        """`GET /users/count`."""
        return self._get("/users/count", {}, _total_count)

    def _get[T](
        self, path: str, query: Mapping[str, str | int | Sequence[str]], read: Callable[[bytes], T]
    ) -> T:
        failures = 0
        while True:
            self._pace()
            pause = None
            try:
                response = self._http.get(self._url + path, params=dict(query), headers=self._headers)
                if response.status_code == 200:
                    return read(response.content)
                why = self._why(response)
                self.throttled += response.status_code == 429
                if response.status_code < 500 and response.status_code not in (408, 425, 429):
                    raise self._refusal(response.status_code, why, path, query)
                pause = _retry_after(response)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise ClerkRefused(f"ClerkApiUrl is {self._url!r}, which is no address: {error}") from error
            except httpx.HTTPError as error:
                why = f"{type(error).__name__}: {error}"
            except (ValueError, RecursionError):
                why = "an answer that is not what its API describes"
            failures += pause is None  # a 429 or 503 with Retry-After is Clerk's plan, not its failure
            self._wait(failures, pause, why)

    def _pace(self) -> None:
        with self._pacing:
            now = time.monotonic()
            turn = max(now, self._next_request_at)
            self._next_request_at = turn + self._interval
            self.requests_made += 1
        if turn > now:
            self._sleep(turn - now)

    def _pause_all(self, seconds: float) -> None:
        with self._pacing:
            self._next_request_at = max(self._next_request_at, time.monotonic() + seconds)

    def _wait(self, failures: int, retry_after: float | None, why: str) -> None:
        if self._is_closed:  # by another thread, which wants no more
            raise ClerkUnavailable("The connection to Clerk is closed")
        pause = retry_after
        if pause is None:
            pause = random.uniform(0.5, 1) * min(_MAX_PAUSE, 0.5 * 2**failures)
        if pause >= self._time_left() and failures < _TRIES and pause <= _USUAL_PAUSE:
            raise OutOfTime
        if failures >= _TRIES or pause >= self._time_left():
            raise ClerkUnavailable(f"{self._url} gives no usable answer; the last one: {why}")
        if retry_after is not None:
            self._pause_all(retry_after)  # it is the instance's limit, not this thread's
        self._on_wait(pause, why)
        self._sleep(pause)

    def _why(self, response: httpx.Response) -> str:
        """The status with Clerk's own error code and trace id, never its text, which can quote input."""
        try:
            body = json.loads(response.content)
            details = [body["errors"][0]["code"], body["clerk_trace_id"]]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            details = [response.headers.get("content-type", "no content type")]
        return f"{response.status_code} ({', '.join(str(d)[:80] for d in details)})"

    def _refusal(self, status: int, why: str, path: str, query: Mapping[str, Any]) -> Exception:
        if status in (401, 403):
            return ClerkRefused(
                f"Clerk refuses the secret key in {self._secret.source}: {why}. It must be the secret key "
                f"(sk_live_… or sk_test_…) of the instance to read. {self._secret.remedy}"
            )
        if "starting_after" in query:
            return CursorRefused(why)
        if path.startswith("/users/") and "resource_not_found" in why:
            return UserUnknown("Clerk has no such user")
        return ClerkRefused(
            f"{self._url} answers {why}. Is ClerkApiUrl the address of Clerk's Backend API "
            "(https://api.clerk.com/v1)?"
        )


def _retry_after(response: httpx.Response) -> float | None:
    try:
        return max(1.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _total_count(body: bytes) -> int:
    answer = json.loads(body)
    count = answer.get("total_count") if isinstance(answer, dict) else None
    if not isinstance(count, int):
        raise ValueError("no total_count")
    return count


def _instance_id(body: bytes) -> str:
    answer = json.loads(body)
    found = answer.get("id") if isinstance(answer, dict) else None
    if not isinstance(found, str) or not found:
        raise ValueError("no id")
    return found
