"""The HTTP server of the simulated Clerk."""

import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.local.clerk.answers import Reply

type _Connection = socket.socket | tuple[bytes, socket.socket]


class Server(ThreadingHTTPServer):
    """Answers each request with what `respond` returns for its method, target and Authorization header."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, respond: Callable[[str, str, str | None], Reply]) -> None:
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
        # A client may close its connection; other errors should be seen.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """Close the connections that are kept alive, and wait for their threads."""
        with self._changed:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client has closed it
            self._changed.wait_for(lambda: not self._open, timeout=5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise each answer on a kept connection takes 40 ms
    server: Server

    def __getattr__(self, name: str) -> Callable[[], None]:
        # The base class looks for do_GET, do_POST and so on. All are served in the same way.
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

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body))}
        for name, value in (headers | dict(reply.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: len(reply.body) // 2] if reply.halved else reply.body)

    def log_message(self, *_: object) -> None:
        """Log nothing: `SimulatedClerk.requests` has every request."""
