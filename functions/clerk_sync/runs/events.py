"""The events of BackfillFunction and AuditFunction, validated."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from clerk_sync.errors import EventError

_KEYS = '"waitSeconds" (a number from 0 to 840), "runId" (up to 100 letters, digits, ".", "_" or "-")'


class _Event(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, alias_generator=to_camel
    )

    wait_seconds: int = Field(45, ge=0, le=840)
    run_id: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{1,100}$")

    @field_validator("*", mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:
        # A script whose runId got lost would start a run.
        if value is None:
            raise PydanticCustomError("null", "it is null")
        return value

    @property
    def explicitly(self) -> Mapping[str, Any]:
        """The keys and values that the event has, which a run under way must not contradict."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class BackfillRequest(_Event):
    """What BackfillFunction takes. `create_missing` None means the parameter's value."""

    mode: Literal["full", "incremental"] = "full"
    create_missing: bool | None = None
    dry_run: bool = False


class AuditRequest(_Event):
    """What AuditFunction takes. An audit that does not repair is a dry run."""

    mode: ClassVar[Literal["audit"]] = "audit"
    create_missing: ClassVar[None] = None
    repair: bool = False

    @property
    def dry_run(self) -> bool:
        """Whether nothing is written."""
        return not self.repair


Request = BackfillRequest | AuditRequest


def backfill_request(event: Any) -> BackfillRequest:
    """Raises EventError, which names the key at fault and lists the right ones."""
    keys = '"mode" ("full" or "incremental"), "createMissing" (true or false), "dryRun" (true or false)'
    return _validated(BackfillRequest, event, keys)


def audit_request(event: Any) -> AuditRequest:
    """The same for AuditFunction."""
    return _validated(AuditRequest, event, '"repair" (true or false)')


def _validated[E: _Event](model: type[E], event: Any, keys: str) -> E:
    try:
        return model.model_validate(event)
    except ValidationError as error:
        raise EventError(
            f"Nothing was started: {_faults(error)}. The event is {{}} or has any of: {keys}, {_KEYS}."
        ) from error


def _faults(error: ValidationError) -> str:
    said = {"extra_forbidden": "there is no such key", "string_pattern_mismatch": "it has other characters"}
    return "; ".join(
        f'"{fault["loc"][0]}": {said.get(fault["type"], fault["msg"])}' if fault["loc"] else "not an object"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )
