"""The events of BackfillFunction and AuditFunction, validated."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clerk_sync.errors import EventError
from clerk_sync.runs.run import Mode


@dataclass(frozen=True, slots=True)
class Request:
    """What an event asks for. `create_missing` None means the parameter's value. `explicitly` holds the keys
    and values that the event has, which a run under way must not contradict."""

    mode: Mode
    create_missing: bool | None
    dry_run: bool
    wait_seconds: int
    run_id: str | None
    explicitly: Mapping[str, Any]


class Event(BaseModel):
    """The keys that both functions take; each may be left out."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    waitSeconds: int = Field(45, ge=0, le=840)  # noqa: N815 - the event's own name
    runId: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{1,100}$")  # noqa: N815


_EVENT_KEYS = '"waitSeconds" (a number from 0 to 840), "runId" (up to 100 letters, digits, ".", "_" or "-")'


class AuditEvent(Event):
    """What AuditFunction takes."""

    repair: bool = False


class BackfillEvent(Event):
    """What BackfillFunction takes."""

    mode: Literal["full", "incremental"] = "full"
    createMissing: bool | None = None  # noqa: N815
    dryRun: bool = False  # noqa: N815


def backfill_request(event: Any) -> Request:
    """Raises EventError, which names the key at fault and lists the right ones."""
    keys = '"mode" ("full" or "incremental"), "createMissing" (true or false), "dryRun" (true or false)'
    asked = _validated(BackfillEvent, event, keys)
    return Request(
        mode=asked.mode,
        create_missing=asked.createMissing,
        dry_run=asked.dryRun,
        wait_seconds=asked.waitSeconds,
        run_id=asked.runId,
        explicitly=asked.model_dump(exclude_unset=True),
    )


def audit_request(event: Any) -> Request:
    """The same for AuditFunction. An audit that does not repair is a dry run."""
    asked = _validated(AuditEvent, event, '"repair" (true or false)')
    return Request(
        mode="audit",
        create_missing=None,
        dry_run=not asked.repair,
        wait_seconds=asked.waitSeconds,
        run_id=asked.runId,
        explicitly=asked.model_dump(exclude_unset=True),
    )


def _validated[E: Event](model: type[E], event: Any, keys: str) -> E:
    """The event as this model. Raises EventError, which lists the keys."""
    try:
        return model.model_validate(event)
    except ValidationError as error:
        raise EventError(
            f"Nothing was started: {_event_faults(error)}. The event is {{}} or any of: {keys}, "
            f"{_EVENT_KEYS}."
        ) from error


def _event_faults(error: ValidationError) -> str:
    said = {"extra_forbidden": "there is no such key", "string_pattern_mismatch": "it has other characters"}
    return "; ".join(
        f'"{fault["loc"][0]}": {said.get(fault["type"], fault["msg"])}' if fault["loc"] else "it is no object"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )
