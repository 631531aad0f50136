"""Child processes that end with this one, and Ctrl-C.

`Child` starts a command under guardian.py, so nothing that it starts, and no temporary folder, outlives this
process, even if it is killed. `stop_on_signals` makes Ctrl-C end everything at once.

Imported by the launcher before anything is installed: standard library only, and any recent Python 3.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, NoReturn

from tests.local.paths import ROOT

GUARDIAN = Path(__file__).with_name("guardian.py")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = 130
"""The exit status after Ctrl-C: 128 and SIGINT's number."""
END_SECONDS = 4.5

_running: set[Child] = set()


class Child:
    """A command and its temporary folder, TMPDIR. `end`, or the end of this process, ends both.

    Output goes to `log` or, without one, to `stdout`, by default that of this process.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        stdout: IO[Any] | int | None = None,
    ) -> None:
        # Not tempfile.gettempdir, which tries to write a file: Ctrl-C just then would leave it behind.
        self.folder = Path(os.environ.get("TMPDIR", "/tmp"), f"clerk-sync-{token_hex(8)}")
        self.log = log
        self._lifeline, self._guardians_end = socket.socketpair()
        _running.add(self)
        self.process = self._start([*map(str, command)], environment or os.environ, stdout)
        self._guardians_end.close()

    def _start(
        self, command: list[str], environment: Mapping[str, str], stdout: IO[Any] | int | None
    ) -> subprocess.Popen[bytes]:
        descriptor = self._guardians_end.fileno()
        output = self.log.open("wb") if self.log else None
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", GUARDIAN, str(descriptor), self.folder, *command],
                cwd=ROOT,
                env={**environment, "TMPDIR": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=output or stdout,
                stderr=subprocess.STDOUT if output else None,
                pass_fds=[descriptor],
                start_new_session=True,  # the terminal's Ctrl-C reaches this process alone
            )
        finally:
            if output:
                output.close()

    def wait(self) -> int:
        """Wait until the command ends, then end what it has left running. Returns its exit status."""
        try:
            return self.process.wait()
        finally:
            self.end()

    def end(self) -> None:
        """Kill the command and everything that it started, and delete its folder."""
        self.cut()
        self.wait_for_guardian(time.monotonic() + END_SECONDS)
        self.process.wait()
        self._lifeline.close()
        _running.discard(self)

    def cut(self) -> None:
        """Have the guardian end the command."""
        with suppress(OSError):  # once is enough
            self._lifeline.shutdown(socket.SHUT_WR)

    def wait_for_guardian(self, deadline: float) -> None:
        """Wait until the guardian has ended the command."""
        self._guardians_end.close()
        with suppress(OSError):
            self._lifeline.settimeout(max(0.01, deadline - time.monotonic()))
            self._lifeline.recv(1)


def stop_on_signals(message: str = "Stopping") -> None:
    """From now on Ctrl-C, SIGTERM and SIGHUP print the message, end all children and exit with 130."""

    def stop(*_: object) -> NoReturn:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        _say(message)
        _end_all()
        os._exit(STOPPED)  # at once, without waiting for threads

    _on_signals(stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def raise_on_signals(error: BaseException) -> None:
    """From now on the first signal prints "Stopping" and raises the error; the next one ends everything."""

    def stop(*_: object) -> NoReturn:
        stop_on_signals("Stopping at once")
        _say("Stopping")
        raise error

    _on_signals(stop)


def become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Run the command, which calls `stop_on_signals`, in this process's place. Until then signals wait."""
    sys.stdout.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    os.chdir(ROOT)
    os.execve(command[0], command, environment)


def _on_signals(stop: Callable[..., NoReturn]) -> None:
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, stop)


def _say(message: str) -> None:
    with suppress(Exception):  # the interrupted code may hold the buffer
        sys.stdout.flush()
    with suppress(OSError):
        os.write(2, f"\n{message}\n".encode())


def _end_all() -> None:
    """End all children without waiting for their processes: the interrupted code may be waiting for them."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nothing, descriptor)
    deadline = time.monotonic() + END_SECONDS
    children = list(_running)
    for child in children:
        child.cut()
    for child in children:
        child.wait_for_guardian(deadline)
        if child.log:
            child.log.unlink(missing_ok=True)
