"""Lanes without threads, for tests that are to be played again."""

from collections.abc import Callable

from clerk_sync.clerk.parallel_listing import Step


class InTurn:
    """Lanes in which a step is taken only when one is wanted: the oldest unless `pick` chooses another, given
    how many there are; and after it `more` others."""

    def __init__(
        self,
        number: int = 1,
        pick: Callable[[int], int] = lambda _: 0,
        more: Callable[[], int] = lambda: 0,
    ) -> None:
        self.number = number
        self._pick = pick
        self._more = more
        self._steps: list[Callable[[], Step]] = []

    def start(self, step: Callable[[], Step]) -> None:
        self._steps.append(step)

    def take(self) -> list[Step]:
        number = min(1 + self._more(), len(self._steps))
        return [self._steps.pop(self._pick(len(self._steps)))() for _ in range(number)]

    def close(self) -> None:
        self._steps.clear()
