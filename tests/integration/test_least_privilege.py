"""Each role allows exactly what its function does in these tests."""

import pytest

from tests.integration.conftest import IS_WHOLE, STACK
from tests.integration.permissions import Actions, Permissions, allowed_by
from tests.integration.stack import Stack

FUNCTIONS = [f"{name}Function" for name in ("Backfill", "Audit", "Worker", "Webhook", "Profile", "Dashboard")]

BY_LAMBDA = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
}
"""What Lambda itself does by any function's role."""
BY_LAMBDA_FOR = {
    "BackfillFunction": {"sns:Publish"},  # where failed invocations go: EventInvokeConfig
    "AuditFunction": {"sns:Publish"},
    # It takes the messages, and deletes those that were handled.
    "WorkerFunction": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
}
PLANTED = {"table/nowhere"}
"""Tests give a function the name of a table that does not exist, to see it fail."""


def used(permissions: Permissions) -> Actions:
    return {(action, arn) for action, arn in permissions["used"] if arn.rpartition(":")[2] not in PLANTED}


def test_no_function_does_what_its_role_forbids(permissions: dict[str, Permissions]) -> None:
    forbidden = {name: used(one) - one["allowed"] for name, one in permissions.items()}
    assert {name: sorted(actions) for name, actions in forbidden.items() if actions} == {}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_role_allows_what_its_function_never_does(
    permissions: dict[str, Permissions], function: str, request: pytest.FixtureRequest
) -> None:
    if not request.config.stash[IS_WHOLE]:
        pytest.skip("only some of the tests were chosen")
    [found] = [one for name, one in permissions.items() if name.startswith(f"{STACK}-{function}-")]
    by_lambda = BY_LAMBDA | BY_LAMBDA_FOR.get(function, set())
    unused = found["allowed"] - used(found)
    assert sorted((action, arn) for action, arn in unused if action not in by_lambda) == []


def test_no_role_allows_an_action_on_every_resource(deployed: Stack) -> None:
    client = deployed.aws.client("cloudformation")
    resources = client.describe_stack_resources(StackName=deployed.name)["StackResources"]
    roles = {
        resource["LogicalResourceId"]: allowed_by(deployed.aws, resource["PhysicalResourceId"])
        for resource in resources
        if resource["ResourceType"] == "AWS::IAM::Role" and resource["LogicalResourceId"] != "ApiLogsRole"
    }
    assert len(roles) == len(FUNCTIONS) + 3, "the functions' and the schedules'"
    for role, actions in roles.items():
        # A log group's ARN ends with :*, for its streams.
        wide = {action for action, arn in actions if "*" in action + arn.removesuffix(":*")}
        without_resources = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
        assert wide <= without_resources, role
