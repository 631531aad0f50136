"""When webhooks arrived, kept in one item of RunsTable: an endpoint that Clerk switched off is silent."""

from dataclasses import dataclass
from typing import ClassVar

from clerk_sync.aws.items import Items

_KEY = ("webhooks", "webhooks")


@dataclass(frozen=True, slots=True)
class Webhooks:
    """When Clerk's first and its latest webhook arrived (ms)."""

    first_at: int
    last_at: int

    def hours_silent(self, now: int) -> float:
        """The hours since the latest one."""
        return round(max(0, now - self.last_at) / 3_600_000, 1)


@dataclass
class Arrivals:
    """The edge to that item. Every method raises AwsError."""

    EVERY_MS: ClassVar = 10 * 60 * 1000
    """A warm function records an arrival at most this often."""

    items: Items
    _noted_at: int = 0

    def note(self, now: int) -> None:
        """Record that a webhook arrived now (ms), unless that was last tried within `EVERY_MS`."""
        if now - self._noted_at >= self.EVERY_MS:
            self._noted_at = now
            self.record(now)

    def record(self, now: int) -> None:
        """Record that a webhook arrived now (ms)."""
        self.items.update(*_KEY, set_={"lastAt": now}, set_once={"firstAt": now})

    def read(self) -> Webhooks | None:
        """When webhooks arrived; None if none ever did."""
        item = self.items.get(*_KEY)
        return Webhooks(item["firstAt"], item["lastAt"]) if item else None
