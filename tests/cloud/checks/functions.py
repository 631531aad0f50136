"""Are the functions ready, and configured as the stack's parameters say?"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from clerk_sync.errors import SettingsError
from clerk_sync.handlers.environment import Environment
from clerk_sync.handlers.settings import (
    AuditSettings,
    BackfillSettings,
    DashboardSettings,
    ProfileSettings,
    WebhookSettings,
    WorkerSettings,
)
from tests.cloud.result import Result, ok, wrong
from tests.cloud.stack import Stack

SETTINGS: Mapping[str, type[Environment]] = {
    "BackfillFunction": BackfillSettings,
    "WorkerFunction": WorkerSettings,
    "AuditFunction": AuditSettings,
    "WebhookFunction": WebhookSettings,
    "ProfileFunction": ProfileSettings,
    "DashboardFunction": DashboardSettings,
}
SECRETS = ("CLERK_SECRET_KEY", "CLERK_WEBHOOK_SECRET")
"""Variables for `sam local invoke`, which take precedence over SSM."""


def look(stack: Stack) -> Iterator[Result]:
    client = stack.client("lambda")
    expected = expected_variables(stack)
    present = [name for name in SETTINGS if name in stack.outputs]
    is_well = True
    for name in present:
        function = stack.outputs[name]
        configuration = client.get_function_configuration(FunctionName=function)
        limit = client.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions")
        fault = state_fault(function, configuration, limit) or variables_fault(
            function, configuration.get("Environment", {}).get("Variables", {}), expected, SETTINGS[name]
        )
        if fault:
            is_well = False
            yield wrong(name, *fault)
    if is_well:
        yield ok("functions", f"all {len(present)} are ready, and configured as the parameters say")


def expected_variables(stack: Stack) -> dict[str, str]:
    """The environment variables that the stack's parameters and outputs determine."""
    parameters = {upper_snake(name): value for name, value in stack.parameters.items()}
    return parameters | {
        "USERS_TABLE": stack.outputs["UsersTable"],
        "RUNS_TABLE": stack.outputs["RunsTable"],
        "PAGES_QUEUE_URL": stack.outputs["PagesQueue"],
        "POWERTOOLS_SERVICE_NAME": stack.name,
    }


def upper_snake(name: str) -> str:
    """`ClerkApiUrl` → `CLERK_API_URL`."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).upper()


def state_fault(
    function: str, configuration: Mapping[str, Any], concurrency: int | None
) -> tuple[str, str] | None:
    """What keeps the function from being invoked, and what to do."""
    for name in ("State", "LastUpdateStatus"):
        value = configuration.get(name, "")
        if value in ("Failed", "Pending", "InProgress"):
            reason = configuration.get(f"{name}Reason", "no reason is given")
            return f"{name} is {value}: {reason}.", "Wait and check again; if it lasts, deploy again."
    if concurrency == 0:
        command = f"aws lambda delete-function-concurrency --function-name {function}"
        return "It is switched off: its reserved concurrency is 0.", f"Switch it on: {command}"
    return None


def variables_fault(
    function: str, variables: Mapping[str, str], expected: Mapping[str, str], settings: type[Environment]
) -> tuple[str, str] | None:
    """What is wrong with the environment variables, and what to do. Quotes no value."""
    to_do = (
        f"Correct it in the Lambda console: {function}, Configuration, Environment variables. A deployment "
        "changes only what changed in the template or the parameters."
    )
    overriding = [name for name in SECRETS if variables.get(name)]
    if overriding:
        return f"The environment variable {overriding[0]} is used in place of SSM.", f"Remove it. {to_do}"
    read = [field.name.upper() for field in fields(settings)] + ["POWERTOOLS_SERVICE_NAME"]
    differing = [name for name in read if name in expected and variables.get(name, "") != expected[name]]
    if differing:
        names = ", ".join(differing)
        return f"The environment does not say what the stack's parameters say: {names}.", to_do
    try:
        settings.from_env(variables)
    except SettingsError as error:
        return str(error), to_do
    return None
