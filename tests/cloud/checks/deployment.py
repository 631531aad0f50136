"""Is the deployment done, and does the stack have the outputs of this version?"""

from collections.abc import Collection, Iterator

from tests.cloud.result import Result, ok, wrong
from tests.cloud.stack import Stack

OUTPUTS = frozenset(
    {
        "AlertsTopic",
        "ApiUrl",
        "AuditFunction",
        "BackfillFunction",
        "DashboardFunction",
        "DashboardUrl",
        "PagesDeadLetterQueue",
        "PagesQueue",
        "RunsTable",
        "UsersTable",
        "WebhookFunction",
        "WebhookUrl",
        "WorkerFunction",
    }
)
PROFILE_OUTPUT = "ProfileFunction"
"""Only if page loads are answered."""
STREAM_OUTPUT = "UsersTableStreamArn"
"""Only of a table that the stack creates."""


def look(stack: Stack) -> Iterator[Result]:
    yield status_result(stack.name, stack.status)
    has_page_loads = bool(stack.parameters.get("ClerkIssuer"))
    has_own_table = not stack.parameters.get("ExistingUsersTable")
    conditional = [(PROFILE_OUTPUT, has_page_loads), (STREAM_OUTPUT, has_own_table)]
    yield outputs_result(stack.outputs, OUTPUTS | {name for name, is_there in conditional if is_there})


def status_result(name: str, status: str) -> Result:
    """What CloudFormation's status of the stack says."""
    events = f"Read why: aws cloudformation describe-stack-events --stack-name {name}; then deploy again."
    if status.endswith("_IN_PROGRESS"):
        return wrong("stack", f"{name} is {status}.", "Wait until that is over, and check again.")
    if status.endswith("_FAILED") or "ROLLBACK" in status:
        return wrong("stack", f"{name} is {status}: the last deployment failed.", events)
    return ok("stack", f"{name} is {status}")


def outputs_result(outputs: Collection[str], expected: Collection[str]) -> Result:
    """Whether all outputs are there."""
    missing = sorted(set(expected) - set(outputs))
    if missing:
        found = f"There is no {', '.join(missing)}: the stack is of another version."
        return wrong("outputs", found, "Deploy this version: sam build && sam deploy.")
    return ok("outputs", f"all {len(expected)} are there")
