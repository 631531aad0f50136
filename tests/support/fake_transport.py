"""What ClerkClient is tested with instead of a network and a clock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from clerk_sync.aws.secrets import Secret
from clerk_sync.clerk.client import ClerkClient

URL = "https://clerk.test/v1"
KEY = "sk_test_madeUpForTests"
SECRET = Secret(KEY, "the SSM parameter /made/up", "Set it like this.")
TOO_MANY = 100


@dataclass
class FakeTime:
    """A clock that only pauses move. `waits` has what `on_wait` was called with."""

    now: float = 1_000.0
    ends: float = float("inf")
    pauses: list[float] = field(default_factory=list)
    waits: list[tuple[float, str]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def on_wait(self, seconds: float, reason: str) -> None:
        self.waits.append((seconds, reason))

    def left(self) -> float:
        return self.ends - self.now


@dataclass
class FakeTransport:
    """Gives one answer after the other, and the last one again and again."""

    answers: list[httpx.Response | Exception]
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        assert len(self.requests) < TOO_MANY, "the client never gives up"
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def client_of(
    transport: Callable[[httpx.Request], httpx.Response], time: FakeTime, **settings: Any
) -> ClerkClient:
    options: dict[str, Any] = {
        "requests_per_second": 1_000_000,
        "time_left": time.left,
        "on_wait": time.on_wait,
        "sleep": time.sleep,
        "http": httpx.Client(transport=httpx.MockTransport(transport)),
    }
    return ClerkClient(settings.pop("url", URL), SECRET, **(options | settings))


def clerk_failure(status: int, code: str = "some_code", **headers: str) -> httpx.Response:
    """An error as Clerk's API writes it, with text that must never be shown."""
    body = {
        "errors": [{"message": "Ada said no", "long_message": "ada@mail.test", "code": code, "meta": {}}],
        "clerk_trace_id": "trace123",
    }
    return httpx.Response(status, json=body, headers=headers)
