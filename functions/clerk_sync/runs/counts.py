"""What became of users, as numbers: of a page or of a run."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, Field


class Counts(BaseModel, strict=True, frozen=True, populate_by_name=True):
    """Each user counts once, in one of the first five. The aliases are the attributes of a record.

    `missed_by_webhooks` counts those created or updated that a webhook should have delivered, `findings`
    those whose row was wrong.
    """

    created: int = Field(0, alias="createdCount")
    updated: int = Field(0, alias="updatedCount")
    unchanged: int = Field(0, alias="unchangedCount")
    skipped: int = Field(0, alias="skippedCount")
    errors: int = Field(0, alias="errorCount")
    missed_by_webhooks: int = Field(0, alias="missedByWebhooks")
    findings: int = Field(0, alias="findingsCount")

    @property
    def total(self) -> int:
        return self.created + self.updated + self.unchanged + self.skipped + self.errors

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{name: count + getattr(other, name) for name, count in self})

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(**{name: count - getattr(other, name) for name, count in self})

    @classmethod
    def load(cls, record: Mapping[str, Any]) -> Self:
        """The counts of a record. It may have other attributes, and names such as `findings` for them."""
        return cls.model_validate(record, by_alias=True, by_name=False)

    def dump(self) -> dict[str, int]:
        """The attributes of a record."""
        return self.model_dump(by_alias=True)
