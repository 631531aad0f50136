"""The template's conditions and rules, and the parameters that turn all conditions on or off."""

from typing import Any

import pytest

from tests.local.aws.conditions import ALL_OFF, ALL_ON
from tests.local.aws.sam_transform import transformed
from tests.support.parameters import is_accepted, parameters


def value(expression: Any, values: dict[str, str]) -> Any:
    """What CloudFormation makes of an expression in Conditions or Rules."""
    match expression:
        case {"Ref": name}:
            return values[name]
        case {"Fn::Equals": [left, right]}:
            return value(left, values) == value(right, values)
        case {"Fn::Not": [condition]}:
            return not value(condition, values)
        case {"Fn::Or": conditions}:
            return any(value(condition, values) for condition in conditions)
    assert isinstance(expression, str), expression
    return expression


def given(overrides: dict[str, str]) -> dict[str, str]:
    """Every parameter's value."""
    return {name: str(parameter["Default"]) for name, parameter in parameters().items()} | overrides


@pytest.mark.parametrize(("overrides", "expected"), [(ALL_ON, True), (ALL_OFF, False)])
def test_all_conditions_can_be_turned_on_or_off(overrides: dict[str, str], expected: bool) -> None:
    assert all(is_accepted(*one) for one in overrides.items())
    conditions = {
        name: value(condition, given(overrides)) for name, condition in transformed({})["Conditions"].items()
    }
    assert conditions == dict.fromkeys(conditions, expected)


def test_empty_schedule_is_off_like_never() -> None:
    names = {"HasFullSync": "FullSyncSchedule", "HasAudit": "AuditSchedule"}
    names |= {"HasIncrementalSync": "IncrementalSyncSchedule"}
    for condition, parameter in names.items():
        assert value(transformed({})["Conditions"][condition], given({parameter: ""})) is False


@pytest.mark.parametrize(
    ("overrides", "is_deployed"),
    [
        ({}, True),
        ({"ClerkIssuer": "https://clerk.your.app"}, False),
        ({"ClerkIssuer": "https://clerk.your.app", "ClerkAuthorizedParties": "https://your.app"}, True),
    ],
)
def test_page_loads_need_the_origins_of_web_apps(overrides: dict[str, str], is_deployed: bool) -> None:
    rule = transformed({})["Rules"]["PageLoadsNeedOrigins"]
    applies = value(rule["RuleCondition"], given(overrides))
    [assertion] = rule["Assertions"]
    assert (not applies or value(assertion["Assert"], given(overrides))) is is_deployed
