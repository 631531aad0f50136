"""Each role allows what its function does in the whole of these tests, no more and no less. Runs last."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import IS_WHOLE
from tests.integration.stack import Stack
from tests.local.aws.local_aws import LocalAws

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
"""Tests tell a function of a table that there is not, to see it fail."""


def functions(aws: LocalAws) -> Iterator[tuple[str, str]]:
    """Every deployed function, and its role."""
    for page in aws.client("lambda").get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            yield function["FunctionName"], function["Role"].rpartition("/")[2]


def statements(aws: LocalAws, role: str) -> Iterator[dict[str, Any]]:
    iam = aws.client("iam")
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        yield from iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]


def each(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def allowed(aws: LocalAws, role: str) -> set[tuple[str, str]]:
    found = set()
    for statement in statements(aws, role):
        assert statement.keys() == {"Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        found |= {(a, r) for a in each(statement["Action"]) for r in each(statement["Resource"])}
    return found


def made(aws: LocalAws, function: str) -> set[tuple[str, str]]:
    actions = set().union(*(call.actions for call in aws.calls() if call.function == function))
    return {(action, arn) for action, arn in actions if arn.rpartition(":")[2] not in PLANTED}


def test_no_function_does_what_its_role_forbids(aws: LocalAws, deployed: Stack) -> None:
    forbidden = {name: made(aws, name) - allowed(aws, role) for name, role in functions(aws)}
    assert {name: sorted(actions) for name, actions in forbidden.items() if actions} == {}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_role_allows_what_its_function_never_does(
    deployed: Stack, function: str, request: pytest.FixtureRequest
) -> None:
    if not request.config.stash[IS_WHOLE]:
        pytest.skip("only some of the tests were chosen")
    name = deployed.outputs[function]
    by_lambda = BY_LAMBDA | BY_LAMBDA_FOR.get(function, set())
    unused = allowed(deployed.aws, dict(functions(deployed.aws))[name]) - made(deployed.aws, name)
    assert sorted((action, arn) for action, arn in unused if action not in by_lambda) == []


def test_no_role_allows_anything_on_whatever_there_is(deployed: Stack) -> None:
    client = deployed.aws.client("cloudformation")
    resources = client.describe_stack_resources(StackName=deployed.name)["StackResources"]
    roles = {
        resource["LogicalResourceId"]: allowed(deployed.aws, resource["PhysicalResourceId"])
        for resource in resources
        if resource["ResourceType"] == "AWS::IAM::Role" and resource["LogicalResourceId"] != "ApiLogsRole"
    }
    assert len(roles) == len(FUNCTIONS) + 3, "the functions' and the schedules'"
    for role, actions in roles.items():
        # A log group's ARN ends with :*, for its streams.
        wide = {action for action, arn in actions if "*" in action + arn.removesuffix(":*")}
        without_resources = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
        assert wide <= without_resources, role
