"""An AWS that fails: a proxy in front of the local one, for functions that are configured to use it."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from random import Random
from typing import Any, Self
from urllib.parse import urlsplit

from tests.integration.stack import Stack

type Body = dict[str, Any]
type Forward = Callable[[Body], Answer]
type Trouble = Callable[[Body, Forward], Answer | None]
"""What to do with a call instead of just forwarding it; None: hang up."""
type Plan = Callable[[str, int], Trouble | None]
"""The trouble of an operation's call with that number, from 1."""

CHANGES = {"BatchExecuteStatement", "SendMessageBatch", "TransactWriteItems", "UpdateItem"}
_FORWARDED = {"content-type", "x-amz-target", "authorization", "x-amz-date", "x-amz-security-token"}


@dataclass(frozen=True)
class Answer:
    """An answer of AWS."""

    status: int
    body: Any
    content_type: str = "application/x-amz-json-1.0"


def error(status: int, code: str, **more: Any) -> Trouble:
    """Answer with this error."""

    def refuse(_: Body, __: Forward) -> Answer:
        return Answer(status, {"__type": f"com.amazonaws#{code}", "message": "simulated", **more})

    return refuse


def html(_: Body, __: Forward) -> Answer:
    """Answer with a page of a proxy in front of AWS."""
    return Answer(503, "<html><body>Service unavailable</body></html>", "text/html")


def hang_up(_: Body, __: Forward) -> None:
    """Close the connection without doing anything."""


def lose_answer(body: Body, forward: Forward) -> None:
    """Make the change, but close the connection without an answer."""
    forward(body)


def unprocessed(body: Body, forward: Forward) -> Answer:
    """Read only every other key."""
    [(table, asked)] = body["RequestItems"].items()
    left = {**asked, "Keys": asked["Keys"][1::2]}
    answer = forward({**body, "RequestItems": {table: {**asked, "Keys": asked["Keys"][::2]}}})
    return Answer(answer.status, {**answer.body, "UnprocessedKeys": {table: left} if left["Keys"] else {}})


def nothing_processed(body: Body, _: Forward) -> Answer:
    """Read no key."""
    return Answer(200, {"Responses": {}, "UnprocessedKeys": body["RequestItems"]})


def throttled_statements(body: Body, forward: Forward) -> Answer:
    """Carry out only every other statement."""
    answer = forward({**body, "Statements": body["Statements"][::2]})
    done = iter(answer.body["Responses"])
    codes = ("ThrottlingError", "InternalServerError", "TransactionConflict", "RequestLimitExceeded")
    refused = iter(
        {"Error": {"Code": codes[n % 4], "Message": "simulated"}} for n in range(len(body["Statements"]))
    )
    responses = [next(refused if n % 2 else done) for n in range(len(body["Statements"]))]
    return Answer(answer.status, {**answer.body, "Responses": responses})


def refused_messages(body: Body, forward: Forward) -> Answer:
    """Accept only every other message, not the first."""
    refused, taken = body["Entries"][::2], body["Entries"][1::2]
    answer = forward({**body, "Entries": taken}) if taken else Answer(200, {"Successful": []})
    failed = [{"Id": entry["Id"], "Code": "InternalError", "SenderFault": False} for entry in refused]
    return Answer(answer.status, {**answer.body, "Failed": failed})


def in_another_transaction(body: Body, _: Forward) -> Answer:
    """Cancel a transaction because of another one on the same item."""
    reasons = [{"Code": "TransactionConflict"}, *[{"Code": "None"}] * (len(body["TransactItems"]) - 1)]
    code = "com.amazonaws#TransactionCanceledException"
    return Answer(400, {"__type": code, "message": "simulated", "CancellationReasons": reasons})


OF_ANY_CALL: tuple[Trouble, ...] = (
    error(400, "ThrottlingException"),
    error(500, "InternalServerError"),
    html,
    hang_up,
    lose_answer,
)
OF_DYNAMODB = error(400, "ProvisionedThroughputExceededException")
OF_ONE: Mapping[str, tuple[Trouble, ...]] = {
    "BatchGetItem": (OF_DYNAMODB, unprocessed),
    "BatchExecuteStatement": (OF_DYNAMODB, throttled_statements),
    "SendMessageBatch": (refused_messages,),
    "TransactWriteItems": (in_another_transaction,),
    "UpdateItem": (OF_DYNAMODB, error(400, "TransactionConflictException")),
    "GetItem": (OF_DYNAMODB,),
}


def at_random(seed: int, share: float) -> Plan:
    """This share of the calls fails. The same seed fails the same calls of each operation."""

    def trouble(operation: str, number: int) -> Trouble | None:
        dice = Random(f"{seed} {operation} {number}")
        return dice.choice(OF_ANY_CALL + OF_ONE.get(operation, ())) if dice.random() < share else None

    return trouble


def reads_half_of_a_page(operation: str, number: int) -> Trouble | None:
    """BatchGetItem reads every other key, then none until one delivery gives up."""
    if operation != "BatchGetItem" or number > 8:
        return None
    return unprocessed if number == 1 else nothing_processed


def always(trouble: Trouble, *operations: str) -> Plan:
    """Every call of these operations."""
    return lambda operation, _: trouble if operation in operations else None


def kills_at_random(seed: int, kills: int, among: int, kill: Callable[[], object]) -> Plan:
    """Kills the caller during `kills` of the first `among` calls that change something: before the change is
    made, or right after it."""

    def die(_: Body, __: Forward) -> None:
        kill()

    def die_afterwards(body: Body, forward: Forward) -> None:
        forward(body)
        kill()

    dice = Random(seed)
    deaths = {number: dice.choice([die, die_afterwards]) for number in dice.sample(range(among), kills)}
    changes = count()

    def trouble(operation: str, _: int) -> Trouble | None:
        return deaths.get(next(changes)) if operation in CHANGES else None

    return trouble


class FaultyAws:
    """A context manager. `calls` counts the calls by operation, `failed` those that got a planted failure."""

    def __init__(self, endpoint: str, plan: Plan) -> None:
        self._plan = plan
        self._address = urlsplit(endpoint).netloc
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.answer = self._answer
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def _answer(self, headers: Mapping[str, str], body: Body) -> Answer | None:
        operation = headers["X-Amz-Target"].partition(".")[2]

        def forward(body: Body) -> Answer:
            return self._forward(headers, body)

        with self._lock:
            self.calls[operation] += 1
            trouble = self._plan(operation, self.calls[operation])
            self.failed[operation] += trouble is not None
        return trouble(body, forward) if trouble else forward(body)

    def _forward(self, headers: Mapping[str, str], body: Body) -> Answer:
        connection = HTTPConnection(self._address, timeout=60)
        kept = {name: value for name, value in headers.items() if name.lower() in _FORWARDED}
        connection.request("POST", "/", json.dumps(body), kept)
        response = connection.getresponse()
        answer = json.loads(response.read() or b"{}")
        connection.close()
        return Answer(response.status, answer, response.headers["Content-Type"])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    answer: Callable[[Mapping[str, str], Body], Answer | None]

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A killed function closes its connection.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        # A killed function may have sent only half of a request.
        answer = self.server.answer(dict(self.headers), json.loads(body)) if len(body) == length else None
        if answer is None:
            self.close_connection = True
            return
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def through(stack: Stack, plan: Plan, *functions: str) -> Iterator[FaultyAws]:
    """The functions use an AWS with these failures, for a while."""
    with FaultyAws(stack.aws.endpoint, plan) as aws, ExitStack() as configured:
        for function in functions:
            endpoints = stack.configured(
                function,
                AWS_ENDPOINT_URL_DYNAMODB=aws.url,
                AWS_ENDPOINT_URL_SQS=aws.url,
                AWS_ENDPOINT_URL_SSM=aws.url,
            )
            configured.enter_context(endpoints)
        yield aws
