"""Runs a command that must not outlive its parent: `guardian.py SOCKET FOLDER COMMAND ...`.

This process becomes the command. A twin, in a session of its own, waits until the parent closes its end of
SOCKET or ends, even if it is killed. Then the twin kills the command and every process in its group, deletes
FOLDER, and closes its own end of SOCKET.
"""

import os
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress

DELETE_SECONDS = 5


def main() -> None:
    descriptor, folder, *command = sys.argv[1:]
    os.set_inheritable(int(descriptor), False)
    os.mkdir(folder, 0o700)  # noqa: PTH102 pathlib would double the time that this takes to start
    group = os.getpid()
    if os.fork() == 0:
        os.setsid()
        detach()
        end_with_parent(int(descriptor), group, folder)
        os._exit(0)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


def detach() -> None:
    """Let go of the terminal or pipe that belongs to the command."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def end_with_parent(descriptor: int, group: int, folder: str) -> None:
    lifeline = socket.socket(fileno=descriptor)
    lifeline.recv(1)
    with suppress(OSError):
        os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + DELETE_SECONDS
    while os.path.exists(folder) and time.monotonic() < deadline:  # noqa: PTH110 as above
        shutil.rmtree(folder, ignore_errors=True)  # again if a dying process was still writing there
    lifeline.close()


if __name__ == "__main__":
    main()
