"""What a check of a stack found: one line for each thing that was looked at."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tests.local.commands.terminal import plain

_WIDTHS = (11, 21)
"""Of the mark and the subject."""


class Mark(StrEnum):
    """Whether something is as it should be."""

    OK = "ok"
    WRONG = "wrong"
    UNKNOWN = "can't tell"


@dataclass(frozen=True, slots=True)
class Result:
    """What was found about a subject, and what to do; `to_do` is empty where there is nothing to do."""

    subject: str
    mark: Mark
    finding: str
    to_do: str = ""

    def line(self) -> str:
        """The result as a line for a terminal."""
        said = " ".join(filter(None, (self.finding, self.to_do)))
        return plain(f"{self.mark:{_WIDTHS[0]}}{self.subject:{_WIDTHS[1]}}{said}")

    def dump(self) -> dict[str, str]:
        """The result as JSON has it."""
        return {"subject": self.subject, "mark": self.mark, "finding": self.finding, "toDo": self.to_do}


def ok(subject: str, finding: str) -> Result:
    """It is as it should be."""
    return Result(subject, Mark.OK, finding)


def wrong(subject: str, finding: str, to_do: str) -> Result:
    """It is not as it should be."""
    return Result(subject, Mark.WRONG, finding, to_do)


def unknown(subject: str, finding: str, to_do: str = "") -> Result:
    """The check can't tell. `to_do` says what makes it possible, if anything does."""
    return Result(subject, Mark.UNKNOWN, finding, to_do)


def is_well(results: Iterable[Result]) -> bool:
    """Whether there is nothing to do."""
    return not any(result.to_do for result in results)
