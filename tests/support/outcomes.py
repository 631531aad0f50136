"""What an upsert came to, as counts."""

from typing import NamedTuple

from clerk_sync.users.upsert import Outcome


class Counted(NamedTuple):
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0


def counted(outcome: Outcome) -> Counted:
    """The counts of an outcome that has no problem and leaves nobody."""
    assert not outcome.problems
    assert not outcome.left
    return Counted(outcome.created, outcome.updated, outcome.unchanged, outcome.skipped)
