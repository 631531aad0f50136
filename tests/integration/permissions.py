"""What the functions' roles allow, and what the functions did."""

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from tests.local.aws.local_aws import LocalAws

type Actions = set[tuple[str, str]]
"""IAM actions, each with its resource's ARN."""


class Permissions(TypedDict):
    """Of one function: what its role allows, and what it did."""

    allowed: Actions
    used: Actions


def permissions_of(aws: LocalAws) -> dict[str, Permissions]:
    """The permissions of each deployed function, by its name."""
    return {
        name: {"allowed": allowed_by(aws, role), "used": _used_by(aws, name)}
        for name, role in _functions(aws)
    }


def merged(found: Iterator[Mapping[str, Permissions]]) -> dict[str, Permissions]:
    """The permissions found in several local AWSs as one. A stack has the same names in each."""
    result: dict[str, Permissions] = {}
    for permissions in found:
        for name, one in permissions.items():
            known = result.setdefault(name, {"allowed": set(), "used": set()})
            known["allowed"] |= one["allowed"]
            known["used"] |= one["used"]
    return result


def allowed_by(aws: LocalAws, role: str) -> Actions:
    """What a role's policies allow."""
    found = set()
    for statement in _statements(aws, role):
        assert statement.keys() == {"Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        found |= {(a, r) for a in _each(statement["Action"]) for r in _each(statement["Resource"])}
    return found


def _used_by(aws: LocalAws, function: str) -> Actions:
    return set().union(*(call.actions for call in aws.calls() if call.function == function))


def _functions(aws: LocalAws) -> Iterator[tuple[str, str]]:
    """Every deployed function, and its role."""
    for page in aws.client("lambda").get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            yield function["FunctionName"], function["Role"].rpartition("/")[2]


def _statements(aws: LocalAws, role: str) -> Iterator[dict[str, Any]]:
    iam = aws.client("iam")
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        yield from iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]


def _each(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
