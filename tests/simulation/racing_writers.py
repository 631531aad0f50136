"""Several writers of one row, in every order in which their steps can fall.

A writer reads the row, decides, and writes. If the row has changed by then, it decides again, as `upsert`
does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from clerk_sync.users.user import Change
from clerk_sync.users.write_rule import Row, Write
from tests.support.fake_users_table import after, holds


@dataclass(frozen=True)
class Writer:
    """What a writer brings, and when that was read from Clerk."""

    change: Change
    as_of: int


type Rule = Callable[[Writer, Row | None], Write | None]
type NextSteps = Mapping[int, Write | None]
"""By writer, what it does next: this write, or None to read the row. Writers that are done have no entry."""


class Race:
    """Some writers of one row, which follow a rule."""

    def __init__(self, rule: Rule, writers: Sequence[Writer]) -> None:
        self._rule = rule
        self._writers = writers

    def outcomes(self, start: Row | None) -> Iterator[Row | None]:
        """The row at the end of each schedule."""
        return self._continued(start, dict.fromkeys(range(len(self._writers))))

    def serial_outcomes(self, start: Row | None) -> Iterator[Row | None]:
        """The row at the end of each schedule in which every writer ends before the next one begins."""
        for order in permutations(self._writers):
            row = start
            for writer in order:
                decision = self._rule(writer, row)
                row = after(decision, row) if isinstance(decision, Write) else row
            yield row

    def _continued(self, row: Row | None, steps: NextSteps) -> Iterator[Row | None]:
        if not steps:
            yield row
        for number, write in steps.items():
            others = {other: step for other, step in steps.items() if other != number}
            if write is None:
                yield from self._continued(row, self._decided(number, row, others))
            elif holds(write, row):
                yield from self._continued(after(write, row), others)
            elif write.creates:
                # An INSERT that fails does not hand over the row that is there: it is read.
                yield from self._continued(row, {**others, number: None})
            else:
                yield from self._continued(row, self._decided(number, row, others))

    def _decided(self, number: int, row: Row | None, others: NextSteps) -> NextSteps:
        decision = self._rule(self._writers[number], row)
        return {**others, number: decision} if isinstance(decision, Write) else others
