"""Waiting for what takes an unknown time."""

import time
from collections.abc import Callable


def eventually[T](ask: Callable[[], T], seconds: float = 60) -> T:
    """The first true answer. Raises AssertionError after that many seconds."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
    return answer
