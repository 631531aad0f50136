"""PagesQueue in memory."""

from collections.abc import Sequence

from clerk_sync.runs.queue import PagesQueue


class PagesInMemory(PagesQueue):
    """`messages` are those that were sent; `delays` the seconds of those sent for later."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.delays: list[int] = []

    def send(self, messages: Sequence[str]) -> None:
        self.messages += messages

    def send_later(self, message: str, seconds: int) -> None:
        self.messages.append(message)
        self.delays.append(seconds)

    def is_drained(self) -> bool:
        return not self.messages
