"""Lets containers reach what listens on this machine's loopback.

Docker Desktop does that by itself. On Linux a container can reach only the address of Docker's bridge. It
belongs to this machine alone, so the ports are forwarded from there.
"""

import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

HOST = "host.docker.internal"
"""The host name of this machine in a container. samconfig.toml gives it to `sam local invoke`."""


def seen_from_a_container(url: str) -> str:
    """The address at which a container reaches this address of this machine."""
    return url.replace("127.0.0.1", HOST)


@contextmanager
def reachable_from_containers(*ports: int) -> Iterator[None]:
    """Forward the ports for as long as the context lasts, if there is a bridge to forward from."""
    with ExitStack() as stack:
        if address := _bridge_address():
            for port in ports:
                forwarder = stack.enter_context(_Forwarder((address, port), _Forward))
                threading.Thread(target=forwarder.serve_forever, daemon=True).start()
                stack.callback(forwarder.shutdown)
        yield


class _Forwarder(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Forward(BaseRequestHandler):
    def handle(self) -> None:
        _, port = self.request.getsockname()
        with socket.create_connection(("127.0.0.1", port)) as there:
            threading.Thread(target=_pump, args=(there, self.request), daemon=True).start()
            _pump(self.request, there)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _bridge_address() -> str | None:
    if sys.platform != "linux":
        return None
    import fcntl

    get_interface_address = 0x8915  # SIOCGIFADDR of <linux/sockios.h>
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, get_interface_address, struct.pack("256s", b"docker0"))
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])
