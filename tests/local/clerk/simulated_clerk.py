"""A simulated Clerk Backend API: an instance in memory, served over HTTP on this machine.

It serves what a reader of users needs: `GET /v1/users`, `/v1/users/count`, `/v1/users/{id}`,
`/v1/instance` and `/v1/jwks`. It also has what the cloud has at other addresses:
`/.well-known/jwks.json`, the keys of its session tokens, and `/pictures/NAME.svg`.

A query parameter that it does not simulate is refused with a 422, so that no filter is ignored
unnoticed. "Before" and "after" exclude the moment they name. Ids are taken as they are, without the
plus or minus that Clerk allows in front.
"""

import json
import math
import operator
import re
import socket
import sys
import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.local.clerk.fake_users import User
from tests.local.clerk.pictures import picture
from tests.local.clerk.session_tokens import KID, jwks, session_key, session_token

type Query = dict[str, list[str]]
type Hook = Callable[[int, "Request"], "Fault | None"]
type GoneCursor = Literal["reject", "empty", "position", "restart"]
type _Connection = socket.socket | tuple[bytes, socket.socket]
type _Rank = tuple[int, int, str]
type _Place = tuple[_Rank, str]  # where a user stands in an order; the id breaks ties

_KEYS_PATH = "/.well-known/jwks.json"
_PICTURE_PATH = re.compile(r"/pictures/([\w-]+)\.svg")
_FIRST: _Place = ((-1, 0, ""), "")  # before and after every place that _place() can give
_LAST: _Place = ((3, 0, ""), "")
_HIGHEST_LIMIT = 500
_DEFAULT_LIMIT = 10
_MOST_IDS = 100
_TEXT_ORDERS = {"first_name", "last_name", "username"}
_TIME_ORDERS = {"created_at", "updated_at", "last_active_at", "last_sign_in_at"}
# What identifies a user by something in a list: order name -> (list, its primary's id, value).
_LIST_ORDERS = {
    "email_address": ("email_addresses", "primary_email_address_id", "email_address"),
    "phone_number": ("phone_numbers", "primary_phone_number_id", "phone_number"),
    "web3wallet": ("web3_wallets", "primary_web3_wallet_id", "web3_wallet"),
}
_TIME_FILTERS: dict[str, tuple[str, Callable[[int, int], bool]]] = {
    "created_at_before": ("created_at", operator.lt),
    "created_at_after": ("created_at", operator.gt),
    "last_active_at_before": ("last_active_at", operator.lt),
    "last_active_at_after": ("last_active_at", operator.gt),
    "last_active_at_since": ("last_active_at", operator.ge),
    "last_sign_in_at_before": ("last_sign_in_at", operator.lt),
    "last_sign_in_at_after": ("last_sign_in_at", operator.gt),
}
_FILTERS = {"user_id", "email_address", "query", *_TIME_FILTERS}
_PAGING = {"limit", "offset", "order_by", "starting_after"}


@dataclass(frozen=True)
class Request:
    """One request as it arrived; ``status`` is 0 while, or if, nothing was answered."""

    method: str
    path: str
    query: Query
    status: int
    at: float


@dataclass(frozen=True)
class Fault:
    """What to do instead of answering properly; made by the class methods."""

    kind: Literal["answer", "hang", "drop", "half_body"]
    code: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0

    @classmethod
    def status(cls, code: int, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Self:
        """Answer with this status; without a body, with an error as Clerk words it."""
        if body is None:
            body = _error_body("simulated_fault", f"Simulated status {code}", "fault")
        return cls("answer", code, headers or {}, body)

    @classmethod
    def html(cls, code: int = 502, headers: Mapping[str, str] | None = None) -> Self:
        """Answer as a proxy or a firewall in front of Clerk would."""
        page = b"<html><body><h1>Not from Clerk</h1></body></html>"
        return cls("answer", code, {"Content-Type": "text/html", **(headers or {})}, page)

    @classmethod
    def hang(cls, seconds: float) -> Self:
        """Send nothing for this long (or until the server closes), then hang up."""
        return cls("hang", seconds=seconds)

    @classmethod
    def drop(cls) -> Self:
        """Hang up at once."""
        return cls("drop")

    @classmethod
    def half_body(cls) -> Self:
        """Answer properly, but hang up half-way through the body."""
        return cls("half_body")

    @classmethod
    def garbled(cls) -> Self:
        """Answer 200 with something that is not JSON."""
        return cls("answer", 200, body=b'[{"id": "user_')

    @classmethod
    def not_a_list(cls) -> Self:
        """Answer 200 with a JSON object."""
        return cls("answer", 200, body=b'{"data":[],"total_count":0}')


@dataclass(frozen=True)
class _Reply:
    status: int  # 0: hang up without a word
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    halved: bool = False


class _RefusedError(Exception):
    """A request that gets an error in Clerk's form."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        parameter: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.meta = {"param_name": parameter} if parameter else None
        self.headers = headers or {}


def _error_body(code: str, message: str, trace: str, meta: object = None) -> bytes:
    error = {"message": message, "long_message": f"{message}.", "code": code}
    return _to_json({"errors": [error | ({"meta": meta} if meta else {})], "clerk_trace_id": trace})


def _to_json(value: object) -> bytes:
    # ASCII only, or a lone surrogate could not be sent at all.
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _invalid(parameter: str, message: str) -> _RefusedError:
    return _RefusedError(422, "form_param_value_invalid", message, parameter=parameter)


def _not_found(message: str) -> _RefusedError:
    return _RefusedError(404, "resource_not_found", message)


def _objects(user: User, name: str) -> list[User]:
    """The objects in a list field; broken users may hold anything there."""
    values = user.get(name)
    return [v for v in values if isinstance(v, dict)] if isinstance(values, list) else []


def _facts(user: User) -> User:
    """What orders and filters look at, apart from the caller's object, which may change later."""
    lists = {name: [dict(e) for e in _objects(user, name)] for name, _, _ in _LIST_ORDERS.values()}
    primaries = {name for _, name, _ in _LIST_ORDERS.values()}
    names = {"id"} | _TEXT_ORDERS | _TIME_ORDERS | primaries
    return {name: user.get(name) for name in names} | lists


def _rank(value: object) -> _Rank:
    """A sort key for any value of any user: numbers, then texts, then whatever is neither."""
    if isinstance(value, int):
        return (0, value, "")
    return (1, 0, value) if isinstance(value, str) else (2, 0, "")


def _place(user: User, key: str, order: str) -> _Place:
    value = user.get(order)
    if order in _LIST_ORDERS:
        entries, primary, name = _LIST_ORDERS[order]
        wanted = user.get(primary)
        value = next((e.get(name) for e in _objects(user, entries) if e.get("id") == wanted), None)
    elif order == "created_at" and type(value) is not int:
        value = 0  # a broken user counts as the oldest, so that no walk ends at it
    return _rank(value), key


def _texts(user: User) -> Iterator[str]:
    """Everything the ``query`` filter looks at."""
    values = [user.get(name) for name in ("id", *sorted(_TEXT_ORDERS))]
    for entries, _, name in _LIST_ORDERS.values():
        values += [entry.get(name) for entry in _objects(user, entries)]
    return (value.lower() for value in values if isinstance(value, str))


def _number(query: Query, name: str, default: int = 0, least: int = 0) -> int:
    text = query.get(name, [str(default)])[0]
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= least):
        raise _invalid(name, f"{name} must be a whole number of at least {least}")
    return int(text)


def _order(query: Query) -> tuple[str, bool]:
    """The name to order by, and whether downwards."""
    text = query.get("order_by", ["-created_at"])[0]
    name = text[1:] if text[:1] in ("-", "+", " ") else text  # an unescaped plus arrives as a space
    if name not in _TEXT_ORDERS | _TIME_ORDERS | _LIST_ORDERS.keys():
        raise _invalid("order_by", "order_by names nothing that users can be ordered by")
    return name, text.startswith("-")


def _check_method(request: Request) -> None:
    if request.method != "GET":
        headers = {"Allow": "GET"}
        raise _RefusedError(405, "method_not_allowed", "Only GET is allowed", headers=headers)


def _check_names(query: Query, known: set[str]) -> None:
    for name, values in query.items():
        if name not in known:
            raise _RefusedError(422, "form_param_unknown", f"{name} is unknown", parameter=name)
        if name in ("user_id", "email_address") and len(values) > _MOST_IDS:
            raise _invalid(name, f"{name} may be given at most {_MOST_IDS} times")


def _tests(query: Query) -> list[Callable[[User], bool]]:
    """The filters of a query, except ``user_id``."""
    tests = [
        _time_test(*_TIME_FILTERS[name], _number(query, name)) for name in _TIME_FILTERS.keys() & query.keys()
    ]
    if "email_address" in query:
        wanted = {address.lower() for address in query["email_address"]}
        tests.append(
            lambda user: any(
                str(entry.get("email_address")).lower() in wanted
                for entry in _objects(user, "email_addresses")
            )
        )
    if "query" in query:
        part = query["query"][0].lower()
        tests.append(lambda user: any(part in text for text in _texts(user)))
    return tests


def _time_test(name: str, compare: Callable[[int, int], bool], bound: int) -> Callable[[User], bool]:
    def test(user: User) -> bool:
        value = user.get(name)
        if name == "created_at" and type(value) is not int:
            value = 0  # as in the order by it
        return type(value) is int and compare(value, bound)

    return test


@dataclass(frozen=True)
class _Row:
    body: bytes
    place: _Place
    facts: User


class _Users:
    """The users of the instance; whoever owns this does the locking."""

    def __init__(self, gone_cursor: GoneCursor) -> None:
        self._gone_cursor = gone_cursor
        self._rows: dict[str, _Row] = {}
        self._by_created: list[_Place] = []
        self._other_orders: dict[str, list[_Place]] = {}  # sorted when asked for
        self._gone: dict[str, _Place] = {}
        self._nameless = 0

    def __len__(self) -> int:
        return len(self._rows)

    def keys(self) -> list[str]:
        return [key for _, key in self._by_created]

    def body(self, key: str) -> bytes | None:
        row = self._rows.get(key)
        return row.body if row else None

    def add(self, user: User) -> None:
        key = user.get("id")
        if not isinstance(key, str):
            self._nameless += 1
            key = f"nameless_{self._nameless}"
        if key in self._rows:
            raise ValueError(f"there is a user {key} already")
        self._put(key, user)

    def update(self, key: str, fields: User) -> None:
        user = json.loads(self._rows[key].body) | fields
        self._take(key)
        self._put(key, user)

    def delete(self, key: str) -> None:
        self._gone[key] = self._take(key).place

    def page(self, query: Query) -> list[bytes]:
        """The bodies of one page, in order."""
        order, descending = _order(query)
        limit = _number(query, "limit", _DEFAULT_LIMIT, least=1)
        if limit > _HIGHEST_LIMIT:
            limit = _DEFAULT_LIMIT
        offset = _number(query, "offset")
        places = self._places(order, query.get("user_id"))
        low, high = 0, len(places)
        if "starting_after" in query:
            if order != "created_at" or offset:
                message = "starting_after needs created_at ordering and no offset"
                raise _invalid("starting_after", message)
            cursor = self._cursor(query["starting_after"][0], descending)
            if descending:
                high = bisect_left(places, cursor)
            else:
                low = bisect_right(places, cursor)
        if order == "created_at" and "created_at_after" in query:
            low = max(low, bisect_left(places, (_rank(_number(query, "created_at_after")), "")))
        if order == "created_at" and "created_at_before" in query:
            high = min(high, bisect_left(places, (_rank(_number(query, "created_at_before")), "")))
        indexes = range(high - 1, low - 1, -1) if descending else range(low, high)
        matching = self._matching((places[i] for i in indexes), query)
        return [row.body for row in islice(matching, offset, offset + limit)]

    def count(self, query: Query) -> int:
        places = self._places("created_at", query.get("user_id"))
        return sum(1 for _ in self._matching(places, query))

    def _put(self, key: str, user: User) -> None:
        row = _Row(_to_json(user), _place(user, key, "created_at"), _facts(user))
        self._rows[key] = row
        self._gone.pop(key, None)
        insort(self._by_created, row.place)
        self._other_orders.clear()

    def _take(self, key: str) -> _Row:
        row = self._rows.pop(key)
        del self._by_created[bisect_left(self._by_created, row.place)]
        self._other_orders.clear()
        return row

    def _places(self, order: str, ids: Iterable[str] | None) -> Sequence[_Place]:
        """All users, or those of the ids that exist, in ascending order."""
        if ids is not None:
            keys = self._rows.keys() & set(ids)
            return sorted(_place(self._rows[key].facts, key, order) for key in keys)
        if order == "created_at":
            return self._by_created
        if order not in self._other_orders:
            self._other_orders[order] = sorted(
                _place(row.facts, key, order) for key, row in self._rows.items()
            )
        return self._other_orders[order]

    def _matching(self, places: Iterable[_Place], query: Query) -> Iterator[_Row]:
        tests = _tests(query)
        rows = (self._rows[key] for _, key in places)
        return (row for row in rows if all(test(row.facts) for test in tests))

    def _cursor(self, key: str, descending: bool) -> _Place:
        """The place a page starts after."""
        start, end = (_LAST, _FIRST) if descending else (_FIRST, _LAST)
        if key in self._rows:
            return self._rows[key].place
        match self._gone_cursor:
            case "restart":
                return start
            case "empty":
                return end
            case "position" if key in self._gone:
                return self._gone[key]
            case _:
                raise _not_found("The user of starting_after was not found")


class SimulatedClerk:
    """A Clerk instance whose users the tests can change while it is being read.

    Users without a text for an id (broken ones) are kept as ``nameless_1``, ``nameless_2``...:
    the methods here know them by that name, and no answer shows it.
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
        self._server: _Server | None = None
        self._users = _Users(gone_cursor)
        self.add(*users)

    # The instance

    def add(self, *users: User) -> None:
        """Create these users; their ids must be new."""
        with self._lock:
            for user in users:
                self._users.add(user)

    def update(self, user_id: str, **fields: object) -> None:
        """Change fields of a user; ``updated_at`` becomes now unless it is among them."""
        with self._lock:
            self._users.update(user_id, {"updated_at": time.time_ns() // 1_000_000} | fields)

    def delete(self, user_id: str) -> None:
        """Delete a user for good."""
        with self._lock:
            self._users.delete(user_id)

    def get(self, user_id: str) -> User | None:
        """A copy of a user."""
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
        """The keys that it publishes, by their ids. It signs with the last one."""
        return {KID: session_key()}

    def token(self, user_id: str, **claims: Any) -> str:
        """A session token of the user's; the options are those of ``session_token``."""
        kid, key = list(self.session_keys.items())[-1]
        signer: dict[str, Any] = {"kid": kid, "key": key}
        return session_token(user_id, self.issuer, **(signer | claims))

    # The server

    @property
    def issuer(self) -> str:
        """Who its session tokens are from, and the base of the address of their keys."""
        if self._server is None:
            raise RuntimeError("the simulated Clerk has not been started")
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def pictures(self) -> str:
        """The address below which each user has a picture, ``USER_ID.svg``.

        It is https as Clerk's own, because the dashboard shows no other pictures. This server speaks only
        http, though: fetch a picture from there.
        """
        return f"{self.issuer.replace('http:', 'https:')}/pictures"

    @property
    def url(self) -> str:
        """The base address, as a client of the real API would be given it."""
        return f"{self.issuer}/v1"

    def start(self) -> None:
        """Begin to serve."""
        self._closing.clear()
        self._server = _Server(self._port, self._respond)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop serving and hang up on everyone. Does nothing if not serving."""
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

    def _respond(self, method: str, target: str, authorization: str | None) -> _Reply:
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
            reply = _Reply(fault.code, fault.body, fault.headers)
        else:
            reply = self._answer(request, authorization, trace=f"{number:032x}")
            reply = replace(reply, halved=fault is not None)
        with self._lock:
            self.requests.append(replace(request, status=reply.status))
        if fault and fault.kind == "hang":
            self._closing.wait(fault.seconds)
        return reply

    def _answer(self, request: Request, authorization: str | None, trace: str) -> _Reply:
        try:
            with self._lock:
                if request.path == _KEYS_PATH:
                    return _Reply(200, self._keys(request))
                if drawn := _PICTURE_PATH.fullmatch(request.path):
                    return _Reply(200, picture(drawn[1]), {"Content-Type": "image/svg+xml"})
                self._authorize(authorization)
                self._spend()
                return _Reply(200, self._route(request))
        except _RefusedError as refused:
            body = _error_body(refused.code, refused.message, trace, refused.meta)
            return _Reply(refused.status, body, refused.headers)

    def _authorize(self, authorization: str | None) -> None:
        if not authorization:
            raise _RefusedError(401, "authorization_header_missing", "No Authorization header")
        if authorization != f"Bearer {self.secret_key}":
            raise _RefusedError(401, "clerk_key_invalid", "The secret key is not valid")

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
            raise _RefusedError(429, "too_many_requests", "Too many requests", headers=headers)
        self._window_used += 1

    def _route(self, request: Request) -> bytes:
        if request.path == "/v1/instance":
            return _to_json({"object": "instance", "id": self.instance_id, "environment_type": "development"})
        if request.path == "/v1/jwks":
            return self._keys(request)
        path = re.fullmatch("/v1/users(?:/([^/]+))?", request.path)
        if not path:
            raise _not_found("There is nothing at this path")
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
        return _to_json(jwks(self.session_keys))

    def _list(self, query: Query) -> bytes:
        _check_names(query, _FILTERS | _PAGING)
        return b"[" + b",".join(self._users.page(query)) + b"]"

    def _count(self, query: Query) -> bytes:
        _check_names(query, _FILTERS)
        return _to_json({"object": "total_count", "total_count": self._users.count(query)})

    def _one(self, user_id: str) -> bytes:
        body = self._users.body(user_id)
        if body is None:
            raise _not_found("No user was found with this id")
        return body


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, respond: Callable[[str, str, str | None], _Reply]) -> None:
        self.respond = respond
        self._open: set[Any] = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        with self._changed:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: _Connection) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: _Connection, client_address: object) -> None:
        # That a client hung up is its own business; all else should be seen.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """End the connections kept alive, and wait for the threads that served them."""
        with self._changed:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster
            self._changed.wait_for(lambda: not self._open, timeout=5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer on a kept connection takes 40 ms
    server: _Server

    def __getattr__(self, name: str) -> Callable[[], None]:
        # The base class looks for do_GET, do_POST and so on: all are served alike.
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        reply = self.server.respond(self.command, self.path, self.headers.get("Authorization"))
        if reply.status:
            self._send(reply)
        if reply.halved or not reply.status:
            self.close_connection = True

    def _send(self, reply: _Reply) -> None:
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body))}
        for name, value in (headers | dict(reply.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: len(reply.body) // 2] if reply.halved else reply.body)

    def log_message(self, *_: object) -> None:
        """Say nothing: ``SimulatedClerk.requests`` has it all."""
