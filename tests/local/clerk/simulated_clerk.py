"""A simulated Clerk Backend API: an instance in memory, served over HTTP on this machine.

It serves `GET /v1/users`, `/v1/users/count`, `/v1/users/{id}`, `/v1/instance` and `/v1/jwks`, and what Clerk
has at other hosts: `/.well-known/jwks.json`, the keys of its session tokens, and `/pictures/NAME.svg`.

A query parameter that it does not simulate gets a 422, so that no filter is ignored unnoticed. The bounds of
`..._before` and `..._after` are exclusive. Ids have no plus or minus in front, which Clerk allows.
"""

import json
import math
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.local.clerk.answers import Query, RefusedError, Reply, error_body, not_found, to_json
from tests.local.clerk.fake_users import User
from tests.local.clerk.faults import Hook, Request
from tests.local.clerk.http_server import Server
from tests.local.clerk.instance_users import GoneCursor, InstanceUsers
from tests.local.clerk.pictures import picture
from tests.local.clerk.queries import FILTERS, PAGING, check_names
from tests.local.clerk.session_tokens import KID, jwks, session_key, session_token

_KEYS_PATH = "/.well-known/jwks.json"
_PICTURE_PATH = re.compile(r"/pictures/([\w-]+)\.svg")


class SimulatedClerk:
    """A Clerk instance whose users a test can change while they are read. A context manager, which serves.

    A user whose id is not a text is `nameless_1`, `nameless_2` and so on for these methods. No answer shows
    those names. `latency` and `rate_window` are in seconds; `rate_limit` is the number of requests a window.
    """

    def __init__(
        self,
        *,
        users: Iterable[User] = (),
        secret_key: str = "sk_test_local",
        port: int = 0,
        latency: float = 0.0,
        rate_limit: int | None = None,
        rate_window: float = 10.0,
        gone_cursor: GoneCursor = "reject",
        instance_id: str = "ins_local",
    ) -> None:
        self.instance_id = instance_id
        self.secret_key = secret_key
        self.requests: list[Request] = []
        self.on_request: Hook | None = None
        self._port = port
        self._latency = latency
        self._rate_limit, self._rate_window = rate_limit, rate_window
        self._window_start, self._window_used = -math.inf, 0
        self._arrived = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server: Server | None = None
        self._users = InstanceUsers(gone_cursor)
        self.add(*users)

    # The instance

    def add(self, *users: User) -> None:
        """Create these users. Raises ValueError for an id that exists."""
        with self._lock:
            for user in users:
                self._users.add(user)

    def update(self, user_id: str, **fields: object) -> None:
        """Change fields of a user. `updated_at` becomes now unless it is among them."""
        with self._lock:
            self._users.update(user_id, {"updated_at": time.time_ns() // 1_000_000} | fields)

    def delete(self, user_id: str) -> None:
        """Delete a user."""
        with self._lock:
            self._users.delete(user_id)

    def get(self, user_id: str) -> User | None:
        """A copy of a user, or None."""
        with self._lock:
            body = self._users.body(user_id)
        return None if body is None else json.loads(body)

    def ids(self) -> list[str]:
        """The ids of all users, oldest first."""
        with self._lock:
            return self._users.keys()

    def users(self) -> list[User]:
        """Copies of all users, oldest first."""
        return [user for key in self.ids() if (user := self.get(key)) is not None]

    def __len__(self) -> int:
        with self._lock:
            return len(self._users)

    # Sessions

    @cached_property
    def session_keys(self) -> dict[str, RSAPrivateKey]:
        """The published keys by their ids. The last one signs."""
        return {KID: session_key()}

    def token(self, user_id: str, **claims: Any) -> str:
        """A session token of this user. The options are those of `session_token`."""
        kid, key = list(self.session_keys.items())[-1]
        signer: dict[str, Any] = {"kid": kid, "key": key}
        return session_token(user_id, self.issuer, **(signer | claims))

    # The server

    @property
    def issuer(self) -> str:
        """The issuer of the session tokens: the base of the address of their keys."""
        if self._server is None:
            raise RuntimeError("the simulated Clerk has not been started")
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def pictures(self) -> str:
        """The address of the pictures: each user has `USER_ID.svg` there.

        It is https like Clerk's, as the dashboard shows no other pictures. This server has them at http.
        """
        return f"{self.issuer.replace('http:', 'https:')}/pictures"

    @property
    def url(self) -> str:
        """The base address of the API."""
        return f"{self.issuer}/v1"

    def start(self) -> None:
        """Start to serve."""
        self._closing.clear()
        self._server = Server(self._port, self._respond)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop serving and close all connections. Does nothing if it is not serving."""
        server, self._server = self._server, None
        self._closing.set()
        if server:
            server.shutdown()
            server.server_close()
            server.hang_up()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Answering

    def _respond(self, method: str, target: str, authorization: str | None) -> Reply:
        url = urlsplit(target)
        query = parse_qs(url.query, keep_blank_values=True)
        request = Request(method, url.path, query, 0, time.monotonic())
        with self._lock:
            self._arrived += 1
            number = self._arrived
        self._closing.wait(self._latency)
        hook = self.on_request
        # Outside the lock: the hook may change the instance.
        fault = hook(number, request) if hook else None
        if fault and fault.kind != "half_body":
            reply = Reply(fault.code, fault.body, fault.headers)
        else:
            reply = self._answer(request, authorization, trace=f"{number:032x}")
            reply = replace(reply, halved=fault is not None)
        with self._lock:
            self.requests.append(replace(request, status=reply.status))
        if fault and fault.kind == "hang":
            self._closing.wait(fault.seconds)
        return reply

    def _answer(self, request: Request, authorization: str | None, trace: str) -> Reply:
        try:
            with self._lock:
                if request.path == _KEYS_PATH:
                    return Reply(200, self._keys(request))
                if drawn := _PICTURE_PATH.fullmatch(request.path):
                    return Reply(200, picture(drawn[1]), {"Content-Type": "image/svg+xml"})
                self._authorize(authorization)
                self._spend()
                return Reply(200, self._route(request))
        except RefusedError as refused:
            body = error_body(refused.code, refused.message, trace, refused.meta)
            return Reply(refused.status, body, refused.headers)

    def _authorize(self, authorization: str | None) -> None:
        if not authorization:
            raise RefusedError(401, "authorization_header_missing", "No Authorization header")
        if authorization != f"Bearer {self.secret_key}":
            raise RefusedError(401, "clerk_key_invalid", "The secret key is not valid")

    def _spend(self) -> None:
        """Count one request against the rate limit."""
        if self._rate_limit is None:
            return
        now = time.monotonic()
        if now - self._window_start >= self._rate_window:
            self._window_start, self._window_used = now, 0
        if self._window_used >= self._rate_limit:
            left = self._window_start + self._rate_window - now
            headers = {"Retry-After": str(max(1, math.ceil(left)))}
            raise RefusedError(429, "too_many_requests", "Too many requests", headers=headers)
        self._window_used += 1

    def _route(self, request: Request) -> bytes:
        if request.path == "/v1/instance":
            return to_json({"object": "instance", "id": self.instance_id, "environment_type": "development"})
        if request.path == "/v1/jwks":
            return self._keys(request)
        path = re.fullmatch("/v1/users(?:/([^/]+))?", request.path)
        if not path:
            raise not_found("There is nothing at this path")
        _check_method(request)
        match path[1]:
            case None:
                return self._list(request.query)
            case "count":
                return self._count(request.query)
            case user_id:
                return self._one(unquote(user_id))

    def _keys(self, request: Request) -> bytes:
        _check_method(request)
        return to_json(jwks(self.session_keys))

    def _list(self, query: Query) -> bytes:
        check_names(query, FILTERS | PAGING)
        return b"[" + b",".join(self._users.page(query)) + b"]"

    def _count(self, query: Query) -> bytes:
        check_names(query, FILTERS)
        return to_json({"object": "total_count", "total_count": self._users.count(query)})

    def _one(self, user_id: str) -> bytes:
        body = self._users.body(user_id)
        if body is None:
            raise not_found("No user was found with this id")
        return body


def _check_method(request: Request) -> None:
    if request.method != "GET":
        headers = {"Allow": "GET"}
        raise RefusedError(405, "method_not_allowed", "Only GET is allowed", headers=headers)
