"""The secret with which `send` signs."""

from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from tests.local.commands.send import MEANINGS, _secret
from tests.local.commands.sign import LOCAL_SECRET

OTHER_SECRET = "whsec_YW5vdGhlci1jbGVyay1zeW5jLXNlY3JldA=="
NOT_THERE = ClientError({"Error": {"Code": "ParameterNotFound"}}, "GetParameter")


def signing_secret(stored: Any) -> str:
    aws = Mock()
    aws.client("ssm").get_parameter.side_effect = [stored]
    return _secret(aws)


def parameter(value: str) -> dict[str, dict[str, str]]:
    return {"Parameter": {"Value": value}}


@pytest.mark.parametrize("value", [OTHER_SECRET, f" {OTHER_SECRET}, {LOCAL_SECRET}", f"{OTHER_SECRET}\n"])
def test_first_secret_in_ssm_signs(value: str) -> None:
    assert signing_secret(parameter(value)) == OTHER_SECRET


@pytest.mark.parametrize("stored", [parameter(""), parameter("whsec_"), parameter("whsec_%"), NOT_THERE])
def test_event_is_signed_with_the_local_secret_if_ssm_has_no_usable_one(stored: Any) -> None:
    assert signing_secret(stored) == LOCAL_SECRET


def test_refused_signature_comes_with_what_to_do() -> None:
    assert "send the webhook again" in MEANINGS[401]
