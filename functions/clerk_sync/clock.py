"""The current time, and which times can't be true."""

import time

DAY_MS = 24 * 60 * 60 * 1000


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def is_from_future(ms: int, now: int) -> bool:
    """Whether a time is more than a day ahead of the clock. Clerk gives no such times: they come from another
    unit, such as microseconds, or from a wrong clock."""
    return ms > now + DAY_MS
