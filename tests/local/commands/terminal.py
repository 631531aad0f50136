"""Text for a terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


def plain(text: str) -> str:
    """The text with unprintable characters escaped: they could clear the screen or reverse a line."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode() for one in text
    )


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is being done, then how long it took."""
    print(f"{what} ...", end=" ", flush=True)
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:.1f} s", flush=True)
