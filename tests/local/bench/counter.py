"""A counter of requests: it stands before the local AWS, hands every request on, and notes those to DynamoDB
and SQS with what AWS would bill for them."""

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil
from typing import Any, Self
from urllib.parse import urlsplit

from tests.local.bench.capacity import NO_UNITS, Units, units

SQS_BYTES = 64 * 1024
"""What SQS bills as one request of a message; a bigger one is several."""

_WRITES = frozenset(
    {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchExecuteStatement"}
)  # what is asked how much it consumed
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})


@dataclass
class Counts:
    """What was asked for: DynamoDB's requests and units by table, and messages sent, in SQS's requests."""

    requests: Counter[str] = field(default_factory=Counter)
    units: dict[str, Units] = field(default_factory=dict)
    messages: int = 0
    message_parts: int = 0

    def note(self, service: str, operation: str, request: Any, answer: Any) -> None:
        """One request and what was answered."""
        if service == "AmazonSQS":
            for entry in request["Entries"] if operation == "SendMessageBatch" else ():
                self.messages += 1
                self.message_parts += ceil(len(entry["MessageBody"].encode()) / SQS_BYTES)
        elif service.startswith("DynamoDB"):
            for table, part in units(operation, request, answer).items():
                self.requests[table] += 1
                self.units[table] = self.units.get(table, NO_UNITS) + part


class CountingProxy:
    """A context manager: serves at `endpoint` what that other endpoint answers, each answer after at least so
    many seconds."""

    def __init__(self, target: str, seconds: float) -> None:
        self._server = _Server(target, seconds)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self) -> Counts:
        """What was counted since it was asked last."""
        with self._server.lock:
            counts, self._server.counts = self._server.counts, Counts()
        return counts

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: str, seconds: float) -> None:
        self.target = urlsplit(target).netloc
        self.seconds = seconds
        self.counts = Counts()
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self._upstream = HTTPConnection(self.server.target)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def _serve(self) -> None:
        due = time.monotonic() + self.server.seconds
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        service, _, operation = self.headers.get("X-Amz-Target", "").partition(".")
        request = json.loads(body) if operation else {}
        if operation in _WRITES:
            body = json.dumps(request | {"ReturnConsumedCapacity": "TOTAL"}).encode()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        self._upstream.request(self.command, self.path, body, headers)
        response = self._upstream.getresponse()
        content = response.read()
        if operation:
            answer = json.loads(content or b"{}")
            with self.server.lock:
                self.server.counts.note(service, operation, request, answer)
        time.sleep(max(0.0, due - time.monotonic()))
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""
