"""When webhooks arrived, kept in one item of RunsTable: an endpoint that Clerk switched off is silent."""

from dataclasses import dataclass

from clerk_sync.aws.items import Items

_KEY = ("webhooks", "webhooks")


@dataclass(frozen=True, slots=True)
class Webhooks:
    """When Clerk's first and its latest webhook arrived (ms)."""

    first_at: int
    last_at: int

    def hours_silent(self, now: int) -> float:
        return round(max(0, now - self.last_at) / 3_600_000, 1)


@dataclass
class Arrivals:
    """The edge to that item. Every method raises AwsError."""

    items: Items

    def record(self, now: int) -> None:
        """Record that a webhook arrived now (ms)."""
        self.items.update(*_KEY, set_={"lastAt": now}, set_once={"firstAt": now})

    def read(self) -> Webhooks | None:
        """When webhooks arrived; None if none ever did."""
        item = self.items.get(*_KEY)
        return Webhooks(item["firstAt"], item["lastAt"]) if item else None
