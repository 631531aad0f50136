"""Does ExtraFields name only fields that this version knows?"""

from collections.abc import Iterator

from clerk_sync.users.fields import synced
from tests.cloud.result import Result, ok, wrong
from tests.cloud.stack import Stack


def look(stack: Stack) -> Iterator[Result]:
    yield extra_fields_result(stack.parameters.get("ExtraFields", ""))


def extra_fields_result(parameter: str) -> Result:
    """What is to say of the parameter's value."""
    names = [name for name in parameter.split(",") if name]
    try:
        synced(names)
    except ValueError as error:
        return wrong("extra fields", f"{error}.", "Deploy with the right ExtraFields.")
    return ok("extra fields", ", ".join(names) if names else "none, only the default fields are synced")
