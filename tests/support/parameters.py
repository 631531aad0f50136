"""The template's parameters, as CloudFormation checks them."""

import re
from functools import cache
from typing import Any

from tests.local.aws.sam_transform import transformed


@cache
def parameters() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = transformed({})["Parameters"]
    return found


def is_accepted(name: str, value: str) -> bool:
    """Whether CloudFormation takes the value."""
    parameter = parameters()[name]
    if "AllowedValues" in parameter:
        return value in parameter["AllowedValues"]
    if parameter["Type"] == "Number":
        is_number = re.fullmatch(r"[0-9.]+", value) is not None
        return is_number and parameter["MinValue"] <= float(value) <= parameter["MaxValue"]
    return re.fullmatch(parameter["AllowedPattern"], value) is not None
