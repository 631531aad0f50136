"""How the widgets put runs, times and names into words. No I/O."""

import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from clerk_sync.errors import ClerkSyncError
from clerk_sync.runs.run import Run

_UNITS = ((365, "year"), (30, "month"), (1, "day"))
_INVISIBLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff]+"
)
"""Control characters, direction overrides and unpaired surrogates. Not the joiners of emoji."""


def visible(text: str) -> str:
    """The text with a space for every run of characters that show nothing, or change how others show."""
    return _INVISIBLE.sub(" ", text)


def outcome(run: Run) -> list[str]:
    """What a run did to users so far, such as `["2 created", "47 unchanged"]`: only what there is any of."""
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
    counts, deletions = run.counts, run.deletions
    marked = deletions.sent if deletions else 0
    differ = "differs" if counts.findings == 1 else "differ"
    yield counts.findings, differ if run.dry_run else "differed (repaired)"
    yield deletions.found if deletions else 0, "not in Clerk" + (" (marked as deleted)" if marked else "")
    # Those created and updated that are no finding changed so recently that a webhook may be on its way.
    right = counts.created + counts.updated + counts.unchanged - counts.findings - marked
    yield right, "up to date"
    yield counts.skipped, "without a row"
    yield counts.errors, "failed"


def ago(ms: int) -> str:
    """`just now`, `3 min ago`, `5 h ago`, `2 days ago`."""
    minutes, days = ms // 60_000, ms // 86_400_000
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    if days < 1:
        return f"{minutes // 60} h ago"
    length, unit = next(pair for pair in _UNITS if days >= pair[0])
    number = days // length
    return f"{number} {unit}{'s' if number > 1 else ''} ago"


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
