"""Lanes without threads, for tests that are to be played again."""

from collections.abc import Callable

from clerk_sync.windows import Step


class InTurn:
    """Lanes in which one step at a time is taken, and only when one is wanted: the oldest unless `pick`
    chooses another, given how many there are."""

    def __init__(self, number: int = 1, pick: Callable[[int], int] = lambda _: 0) -> None:
        self.number = number
        self._pick = pick
        self._steps: list[Callable[[], Step]] = []

    def start(self, step: Callable[[], Step]) -> None:
        self._steps.append(step)

    def take(self) -> Step:
        return self._steps.pop(self._pick(len(self._steps)))()

    def close(self) -> None:
        self._steps.clear()
