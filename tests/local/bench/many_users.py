"""A Clerk of more users than fit in memory, for paging through them: each is made when asked for.

A process of its own, which takes its time over each answer and puts off what comes too often, as Clerk does:
`python -m tests.local.bench.many_users PORT USERS MILLISECONDS REQUESTS_PER_SECOND`. At /told it says what
was asked of it.
"""

import json
import sys
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from tests.local.clerk.fake_users import BASE_MS, make_user

MS_BETWEEN_USERS = 60_000
KINDS = 1_000
LIMIT_SECONDS = 10

type Query = dict[str, list[str]]


class ManyUsers:
    """Users of whom one is created each minute. Those of a kind share all but their ids and dates."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._kinds = [_without_id_and_date(n) for n in range(KINDS)]

    def page(self, query: Query) -> bytes:
        """What `GET /users` answers."""
        first, end = 0, self._number
        if "created_at_after" in query:
            first = _last_by(int(query["created_at_after"][0])) + 1
        if "created_at_before" in query:
            end = min(end, _last_by(int(query["created_at_before"][0]) - 1) + 1)
        if "starting_after" in query:
            first = max(first, int(query["starting_after"][0].removeprefix("user_")) + 1)
        if query["order_by"] == ["-created_at"]:
            return self._body(range(end - 1, end - 1 - int(query["limit"][0]), -1))
        return self._body(range(first, min(end, first + int(query["limit"][0]))))

    def count(self) -> bytes:
        """What `GET /users/count` answers."""
        return json.dumps({"object": "total_count", "total_count": self._number}).encode()

    def _body(self, numbers: range) -> bytes:
        users = (
            b'{"id":"user_%08d","created_at":%d,%b'
            % (n, BASE_MS + n * MS_BETWEEN_USERS, self._kinds[n % KINDS])
            for n in numbers
        )
        return b"[" + b",".join(users) + b"]"


def _without_id_and_date(n: int) -> bytes:
    rest = {name: value for name, value in make_user(n).items() if name not in ("id", "created_at")}
    return json.dumps(rest, separators=(",", ":")).encode()[1:]


def _last_by(at: int) -> int:
    return (at - BASE_MS) // MS_BETWEEN_USERS


class Limit:
    """So many requests a second, over ten of them; `refused` is how many there were more, and `times` when
    the others came (s)."""

    def __init__(self, requests_per_second: float) -> None:
        self._most = requests_per_second * LIMIT_SECONDS
        self._latest = deque[float]()
        self._lock = Lock()
        self.times: list[float] = []
        self.refused = 0

    def allows(self) -> bool:
        with self._lock:
            now = time.monotonic()
            while self._latest and self._latest[0] <= now - LIMIT_SECONDS:
                self._latest.popleft()
            if len(self._latest) >= self._most:
                self.refused += 1
                return False
            self._latest.append(now)
            self.times.append(now)
            return True


def main(port: int, users: ManyUsers, limit: Limit, latency: float) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            if path == "/told":
                self._answer(200, json.dumps({"times": limit.times, "refused": limit.refused}).encode())
            elif not limit.allows():
                self._answer(429, b"{}", {"Retry-After": "1"})
            else:
                due = time.monotonic() + latency
                body = users.count() if path == "/v1/users/count" else users.page(query)
                time.sleep(max(0.0, due - time.monotonic()))
                self._answer(200, body)

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    _port, _users, _milliseconds, _rate = map(int, sys.argv[1:])
    main(_port, ManyUsers(_users), Limit(_rate), _milliseconds / 1000)
