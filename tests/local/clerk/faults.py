"""Requests as the simulated Clerk records them, and the faults that a test can have it answer with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

from tests.local.clerk.answers import Query, error_body

type Hook = Callable[[int, "Request"], "Fault | None"]
"""Called with each request and its number, from 1. Returns a fault to answer with, or None."""


@dataclass(frozen=True)
class Request:
    """A request that arrived. `status` is 0 if nothing was answered; `at` is `time.monotonic()`."""

    method: str
    path: str
    query: Query
    status: int
    at: float


@dataclass(frozen=True)
class Fault:
    """What the simulated Clerk does instead of answering properly. Made by the class methods."""

    kind: Literal["answer", "hang", "drop", "half_body"]
    code: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0

    @classmethod
    def status(cls, code: int, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Self:
        """Answer with this status, and an error in Clerk's form unless there is a body."""
        if body is None:
            body = error_body("simulated_fault", f"Simulated status {code}", "fault")
        return cls("answer", code, headers or {}, body)

    @classmethod
    def html(cls, code: int = 502, headers: Mapping[str, str] | None = None) -> Self:
        """Answer with a page of a proxy or firewall in front of Clerk."""
        page = b"<html><body><h1>Not from Clerk</h1></body></html>"
        return cls("answer", code, {"Content-Type": "text/html", **(headers or {})}, page)

    @classmethod
    def hang(cls, seconds: float) -> Self:
        """Send nothing for so many seconds, or until the server closes, then close the connection."""
        return cls("hang", seconds=seconds)

    @classmethod
    def drop(cls) -> Self:
        """Close the connection at once."""
        return cls("drop")

    @classmethod
    def half_body(cls) -> Self:
        """Answer properly, but close the connection half-way through the body."""
        return cls("half_body")

    @classmethod
    def garbled(cls) -> Self:
        """Answer 200 with something that is not JSON."""
        return cls("answer", 200, body=b'[{"id": "user_')

    @classmethod
    def not_a_list(cls) -> Self:
        """Answer 200 with a JSON object."""
        return cls("answer", 200, body=b'{"data":[],"total_count":0}')
