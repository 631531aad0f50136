"""The progress of a run: a bar in a terminal, lines in a log."""

import shutil
import sys
import time
from collections import deque

from clerk_sync.runs.run import Run
from clerk_sync.text import counted

WIDTH = 30
WINDOW_SECONDS = 10.0
"""How far back the rate looks: a page counts all at once, and is some seconds' work."""


class Bar:
    """Draws over itself in a terminal; elsewhere it prints a line only when something changed."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._shown: object = None
        self._is_live = sys.stdout.isatty()

    def show(self, run: Run) -> None:
        """Print the run's progress, once it has a page."""
        self._pace.note(run.counts.total, time.monotonic())
        if not run.pages:
            return
        line = progress_line(run, self._pace.per_second())
        if self._is_live:
            # A line that wraps could not be drawn over.
            print(f"\r{line[: shutil.get_terminal_size().columns - 1]}\033[K", end="", flush=True)
        elif (shown := (_bar(run), run.counts.errors, run.status)) != self._shown:
            print(line, flush=True)
            self._shown = shown

    def end(self) -> None:
        """End the bar's line."""
        if self._is_live:
            print()


class Pace:
    """The recent rate in users a second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, done: int, at: float) -> None:
        """Record how many users were done by then (s)."""
        self._seen.append((at, done))
        while len(self._seen) > 2 and self._seen[1][0] <= at - WINDOW_SECONDS:
            self._seen.popleft()

    def per_second(self) -> float | None:
        """None while it is too early to estimate."""
        if not self._seen:
            return None
        (began, before), (at, done) = self._seen[0], self._seen[-1]
        return (done - before) / (at - began) if at - began > 0.5 else None


def progress_line(run: Run, per_second: float | None) -> str:
    """The bar and its numbers."""
    parts = [f"{_bar(run)} {_share(run):4.0%}", f"{run.counts.total:,} of {counted(_total(run), 'user')}"]
    if per_second is not None:
        parts.append(f"{per_second:,.0f} users/s")
    left = seconds_left(run, per_second)
    if left is not None:
        parts.append(f"{duration(left)} left")
    if run.counts.errors:
        parts.append(f"{run.counts.errors:,} failed")
    parts.append(
        f"{run.settled_pages:,} of {counted(run.pages, 'page')}" + ("" if run.paged_at else " so far")
    )
    return "  " + "  ".join(parts)


def seconds_left(run: Run, per_second: float | None) -> float | None:
    """None if it is unknown: nothing moves, or the number of users is not known yet."""
    if run.is_over or run.users_to_deal_with is None or not per_second:
        return None
    return max(0, _total(run) - run.counts.total) / per_second


def duration(seconds: float) -> str:
    """A time in plain words."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _bar(run: Run) -> str:
    full = int(_share(run) * WIDTH)
    return "█" * full + "░" * (WIDTH - full)


def _share(run: Run) -> float:
    total = _total(run)
    return run.counts.total / total if total else float(run.is_over)


def _total(run: Run) -> int:
    total = run.users_to_deal_with
    return run.total_users if total is None else total
