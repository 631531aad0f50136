"""How the widgets put runs, times and names into words. No I/O."""

import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from clerk_sync.clock import DAY_MS
from clerk_sync.errors import ClerkSyncError
from clerk_sync.runs.run import MissedDeletions, Run

_UNITS = {"year": 365 * DAY_MS, "month": 30 * DAY_MS, "day": DAY_MS, "h": 3_600_000, "min": 60_000}
_INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff]+"
)
"""Control characters, direction overrides and unpaired surrogates. Not the joiners of emoji."""


def visible(text: str) -> str:
    """The text with a space for every run of characters that show nothing, or change how others show."""
    return _INVISIBLE.sub(" ", text)


def outcome(run: Run) -> list[str]:
    """What a run did to users so far, such as `["2 created", "47 unchanged"]`, without zeros."""
    parts = _audited(run) if run.mode == "audit" else _synced(run)
    return [f"{number:,} {words}" for number, words in parts if number > 0]


def _synced(run: Run) -> Iterator[tuple[int, str]]:
    counts, would = run.counts, "would be " if run.dry_run else ""
    yield counts.created, f"{would}created"
    yield counts.updated, f"{would}updated"
    yield counts.unchanged, "unchanged"
    yield counts.skipped, f"{would}skipped"
    yield counts.errors, "failed"


def _audited(run: Run) -> Iterator[tuple[int, str]]:
    counts, gone = run.counts, run.deletions or MissedDeletions()
    differ = "differs" if counts.findings == 1 else "differ"
    yield counts.findings, differ if run.dry_run else "differed (repaired)"
    yield gone.found, "not in Clerk" + (" (marked as deleted)" if gone.sent else "")
    # Those created and updated that are no finding changed so recently that a webhook may be on its way.
    right = counts.created + counts.updated + counts.unchanged - counts.findings - gone.sent
    yield right, "up to date"
    yield counts.skipped, "without a row"
    yield counts.errors, "failed"


def ago(ms: int) -> str:
    """`just now`, `3 min ago`, `5 h ago`, `2 days ago`."""
    for unit, length in _UNITS.items():
        if number := max(0, ms) // length:
            plural = "s" if number > 1 and unit not in ("h", "min") else ""
            return f"{number} {unit}{plural} ago"
    return "just now"


def duration(ms: int) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 5 min`."""
    seconds = max(0, ms) // 1000
    if seconds < 60:
        return f"{max(0, ms) / 1000:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def initials(names: Sequence[str]) -> str:
    """The first letter or digit of each name; `?` if there is none."""
    letters = (next(filter(str.isalnum, name), "") for name in names)
    return "".join(letters).upper() or "?"


def explain(error: Exception) -> str:
    """Why a widget can't be shown, without the text of an unexpected error: it may quote a user's data."""
    if isinstance(error, ClerkSyncError):
        return str(error) or "Clerk gives no usable answer. Choose Refresh to try again."
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"line {where.lineno} of {Path(where.filename).name}"
    return f"This widget has a fault: {type(error).__name__} in {place}."
