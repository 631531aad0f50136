"""Locks for what only one process of this clone may do at a time. Standard library only."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.local.paths import LOCAL


@contextmanager
def locked(what: str) -> Iterator[None]:
    """Wait until no other process holds this lock, and hold it meanwhile."""
    LOCAL.mkdir(exist_ok=True)
    with (LOCAL / f"{what}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another {what} in {LOCAL}", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
