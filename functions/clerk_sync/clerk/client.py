"""The edge to Clerk's Backend API: rate limit, retries, and Clerk's errors as this package's own.

Facts from https://clerk.com/docs/reference/backend-api and the OpenAPI description of 2026-05-12.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, NoReturn, Self
from urllib.parse import quote

import httpx

from clerk_sync.aws.secrets import Secret
from clerk_sync.clerk.responses import (
    clerk_error,
    describe,
    read_object,
    read_users,
    retry_after,
    where_to_look,
)
from clerk_sync.errors import ClerkRefused, ClerkUnavailable, CursorRefused, OutOfTime, UserUnknown
from clerk_sync.users.fields import DEFAULT_NAMES, Names
from clerk_sync.users.user import is_id

type Query = Mapping[str, str | int | Sequence[str]]

_HEADERS = {"Clerk-API-Version": "2026-05-12", "User-Agent": "clerk-sync"}
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_TRIES = 8
_MAX_PAUSE = 20.0
_USUAL_PAUSE = 60.0
"""Seconds. If there is no time for a longer one, the next invocation would have none either."""
_RETRIED = (408, 425, 429)


class _RetryableError(Exception):
    """A request that may succeed when it is made again. `is_failure`: whether it counts as one of the tries,
    as it does unless it got a 429 or 503 with Retry-After."""

    def __init__(self, reason: str, response: httpx.Response | None = None) -> None:
        advice = response and where_to_look(response)
        super().__init__(f"{reason}. {advice}" if advice else reason)
        self.reason = reason
        self.retry_after = retry_after(response) if response else None
        self.is_failure = not (response and self.retry_after and response.status_code in (429, 503))


@dataclass(eq=False)
class ClerkClient:
    """Reads users. Threads may share a client. Use it as a context manager.

    `requests_per_second` is for all threads together. `time_left` returns the seconds that may still be
    spent. `on_wait` gets the seconds and the reason of each pause between tries. `http` is a connection to
    share. `names` are the fields to read. `requests_made` counts the requests, `throttled` those that got a
    429.

    Only a 4xx with Clerk's own error code is final. Everything else is tried again, as a firewall, a proxy or
    a cut connection may be the cause. Every method raises ClerkRefused, ClerkUnavailable or OutOfTime.
    """

    api_url: str
    secret: Secret
    _: KW_ONLY
    time_left: Callable[[], float]
    requests_per_second: float = 100
    on_wait: Callable[[float, str], None] = lambda *_: None
    sleep: Callable[[float], None] = time.sleep
    http: httpx.Client = field(default_factory=partial(httpx.Client, timeout=_TIMEOUT))
    names: Names = DEFAULT_NAMES
    requests_made: int = 0
    throttled: int = 0
    _next_request_at: float = 0.0
    _pacing: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def users(self, **query: str | int | Sequence[str]) -> list[Any]:
        """`GET /users`: user objects, with only what `parse_user` needs. The default `order_by` is
        `created_at`, oldest first. With `starting_after`, it raises CursorRefused too."""
        read = partial(read_users, names=self.names)
        return self._get("/users", {"order_by": "created_at", **query}, read)

    def user(self, user_id: str) -> Any:
        """`GET /users/{id}`: one user object. Raises UserUnknown too."""
        return self._object(f"/users/{quote(user_id, safe='')}", "id", lambda found: found == user_id)

    def instance_id(self) -> str:
        """`GET /instance`: the id of the instance that the secret key belongs to."""
        return str(self._object("/instance", "id", is_id)["id"])

    def count(self) -> int:
        """`GET /users/count`: how many users the instance has."""
        counted = self._object("/users/count", "total_count", lambda n: type(n) is int and n >= 0)
        return int(counted["total_count"])

    def _object(self, path: str, key: str, is_right: Callable[[Any], bool]) -> Any:
        return self._get(path, {}, partial(read_object, key=key, is_right=is_right))

    def _get[T](self, path: str, query: Query, read: Callable[[bytes], T]) -> T:
        failures = 0
        while True:
            self._pace()
            try:
                return self._try_once(path, query, read)
            except _RetryableError as error:
                failures += error.is_failure
                self._wait(error, failures)

    def _try_once[T](self, path: str, query: Query, read: Callable[[bytes], T]) -> T:
        try:
            headers = {**_HEADERS, "Authorization": f"Bearer {self.secret.value}"}
            response = self.http.get(self.api_url + path, params=dict(query), headers=headers)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ClerkRefused(f"ClerkApiUrl is {self.api_url!r}, which is not a URL: {error}") from error
        except httpx.HTTPError as error:
            raise _RetryableError(f"{type(error).__name__}: {error}".rstrip(".")) from error
        status = response.status_code
        if status == 200:
            try:
                return read(response.content)
            except (ValueError, RecursionError):
                reason = f"{describe(response)}, but not the documented JSON"
                raise _RetryableError(reason, response) from None
        self.throttled += status == 429
        if 400 <= status < 500 and status not in _RETRIED and (refusal := clerk_error(response)):
            self._refuse(response, refusal[0], path, query)
        raise _RetryableError(describe(response), response)

    def _pace(self) -> None:
        with self._pacing:
            now = time.monotonic()
            turn = max(now, self._next_request_at)
            self._next_request_at = turn + 1 / self.requests_per_second
            self.requests_made += 1
        if turn > now:
            self.sleep(turn - now)

    def _wait(self, error: _RetryableError, failures: int) -> None:
        """Pause before another try, or raise ClerkUnavailable or OutOfTime."""
        if self.http.is_closed:  # by another thread, which needs no more answers
            raise ClerkUnavailable("The connection to Clerk is closed")
        seconds = error.retry_after or 0.0
        if error.is_failure:
            seconds = max(seconds, random.uniform(0.5, 1) * min(_MAX_PAUSE, 0.5 * 2**failures))
        no_answer = f"{self.api_url} gives no usable answer. The last one: {error}"
        has_time = seconds < self.time_left()
        if failures >= _TRIES or (seconds > _USUAL_PAUSE and not has_time):
            raise ClerkUnavailable(no_answer)
        if not has_time:
            raise OutOfTime(no_answer)
        if error.retry_after is not None:
            with self._pacing:  # the limit is the instance's, not this thread's
                self._next_request_at = max(self._next_request_at, time.monotonic() + error.retry_after)
        self.on_wait(seconds, error.reason)
        self.sleep(seconds)

    def _refuse(self, response: httpx.Response, code: str, path: str, query: Query) -> NoReturn:
        answer = describe(response)
        if response.status_code in (401, 403):
            raise ClerkRefused(
                f"Clerk refuses the secret key in {self.secret.source}: {answer}. It must be the secret key "
                f"(sk_live_… or sk_test_…) of the instance to read. {self.secret.remedy}"
            )
        if "starting_after" in query:
            raise CursorRefused(answer)
        if path.startswith("/users/") and code == "resource_not_found":
            raise UserUnknown("Clerk has no such user")
        raise ClerkRefused(
            f"{self.api_url} answers {answer}. Is ClerkApiUrl the address of Clerk's Backend API "
            "(https://api.clerk.com/v1)?"
        )
