"""What became of users, as numbers: of a page or of a run."""

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from operator import add, sub
from typing import Any

COUNT_NAMES = {
    "created": "createdCount",
    "updated": "updatedCount",
    "unchanged": "unchangedCount",
    "skipped": "skippedCount",
    "errors": "errorCount",
    "missed_by_webhooks": "missedByWebhooks",
    "findings": "findingsCount",
}
"""The attributes that hold them in the record of a page or of a run."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Each user counts once, in one of the first five.

    `missed_by_webhooks` counts those created or updated that a webhook should have delivered, `findings`
    those whose row was wrong.
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    errors: int = 0
    missed_by_webhooks: int = 0
    findings: int = 0

    @property
    def total(self) -> int:
        return self.created + self.updated + self.unchanged + self.skipped + self.errors

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*map(add, astuple(self), astuple(other)))

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*map(sub, astuple(self), astuple(other)))

    def dump(self) -> dict[str, int]:
        """The attributes of a record."""
        return {COUNT_NAMES[name]: count for name, count in asdict(self).items()}

    @classmethod
    def load(cls, item: Mapping[str, Any]) -> "Counts":
        """The reverse of `dump`; a page has none before its outcome is recorded."""
        return cls(**{name: item.get(attribute, 0) for name, attribute in COUNT_NAMES.items()})
