"""A deployed stack, as CloudFormation describes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from tests.local.aws.local_aws import local_url

type Clients = Callable[[str], Any]
"""The name of an AWS service → its client."""

_REMOVED = ("DELETE_COMPLETE", "DELETE_SKIPPED")
"""The statuses of a resource that is no longer part of its stack."""


class StackError(Exception):
    """There is no such stack, or it is not one of clerk-sync's. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Stack:
    """`parameters` and `outputs` by name, `resources` (physical ids) by logical id."""

    client: Clients
    name: str
    status: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    resources: Mapping[str, str]

    @property
    def region(self) -> str:
        """The AWS region that it is in."""
        region: str = self.client("cloudformation").meta.region_name
        return region

    def url(self, output: str) -> str:
        """The address in an output, from where it can be called: the local AWS has it elsewhere."""
        endpoint = self.client("cloudformation").meta.endpoint_url
        is_local = urlsplit(endpoint).hostname in ("127.0.0.1", "localhost")
        return local_url(endpoint, self.outputs[output]) if is_local else self.outputs[output]


def find_stack(client: Clients, name: str) -> Stack:
    """Read a stack of clerk-sync's. Raises StackError and the SDK's own errors."""
    cloudformation = client("cloudformation")
    try:
        described = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise StackError(
            f"There is no stack {name} in {cloudformation.meta.region_name} of this AWS account. Name the "
            "stack, and set AWS_PROFILE and AWS_DEFAULT_REGION to where it is."
        ) from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
    if "RunsTable" not in outputs:
        raise StackError(
            f"Stack {name} is {described['StackStatus']} and has no output RunsTable: it is not a stack of "
            "clerk-sync, or its deployment is not done."
        )
    return Stack(
        client,
        name,
        described["StackStatus"],
        {p["ParameterKey"]: p["ParameterValue"] for p in described.get("Parameters", [])},
        outputs,
        _resources(cloudformation, name),
    )


def _resources(cloudformation: Any, name: str) -> dict[str, str]:
    return {
        resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
        for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceStatus"] not in _REMOVED
    }
