"""Are the schedules as the parameters say?"""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.cloud.aws_errors import RESTORE
from tests.cloud.result import Result, ok, wrong
from tests.cloud.stack import Stack

SCHEDULES = {
    "full": ("BackfillFunctionFullSync", "FullSyncSchedule", "BackfillFunction"),
    "incremental": ("BackfillFunctionIncrementalSync", "IncrementalSyncSchedule", "BackfillFunction"),
    "audit": ("AuditFunctionAudit", "AuditSchedule", "AuditFunction"),
}
"""Of each mode: the schedule's logical id, its parameter, and the function that it invokes."""


def look(stack: Stack) -> Iterator[Result]:
    for mode, (_, parameter, function) in SCHEDULES.items():
        yield schedule_result(
            f"{mode} schedule",
            schedule_of(stack, mode),
            stack.parameters[parameter],
            parameter,
            stack.outputs[function],
        )


def schedule_of(stack: Stack, mode: str) -> Mapping[str, Any] | None:
    """The schedule as EventBridge Scheduler has it, None if it is gone."""
    logical_id, _, _ = SCHEDULES[mode]
    client = stack.client("scheduler")
    try:
        found: Mapping[str, Any] = client.get_schedule(Name=stack.resources[logical_id])
    except (KeyError, client.exceptions.ResourceNotFoundException):
        return None
    return found


def is_off(expression: str) -> bool:
    """Whether a schedule's parameter says that there are no such runs."""
    return expression in ("", "never")


def schedule_result(
    subject: str, schedule: Mapping[str, Any] | None, expression: str, parameter: str, function: str
) -> Result:
    """Whether the schedule is what its parameter says, and invokes this function."""
    if schedule is None:
        return wrong(subject, "It was deleted.", RESTORE)
    name = schedule["Name"]
    where = f"in the console, EventBridge, Schedules: {name}."
    is_enabled = schedule["State"] == "ENABLED"
    if is_off(expression):
        if is_enabled:
            return wrong(subject, f"It is enabled, but {parameter} turns it off.", f"Disable it {where}")
        return ok(subject, f"off, as {parameter} says")
    if not is_enabled:
        return wrong(subject, "It is disabled, so nothing is run by itself.", f"Enable it {where}")
    if schedule["ScheduleExpression"] != expression:
        found = f"It is {schedule['ScheduleExpression']}, but {parameter} says {expression}."
        return wrong(subject, found, f"Correct it {where}")
    if not schedule["Target"]["Arn"].endswith(f":function:{function}"):
        return wrong(subject, f"It does not invoke {function}.", f"Correct its target {where}")
    return ok(subject, expression)
