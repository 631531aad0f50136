import json

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    SSOTokenLoadError,
)

from clerk_sync.errors import AwsError
from tests.cloud.aws_errors import SIGN_IN, explained, not_answered
from tests.cloud.check import summary
from tests.cloud.result import Mark, is_well, ok, unknown, wrong


def client_error(code: str, status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "m."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetSchedule")  # type: ignore[arg-type]


def test_a_result_is_one_line_with_its_mark_and_what_to_do() -> None:
    assert ok("secret key", "is there").line() == "ok         secret key           is there"
    line = wrong("secret key", "There is none.\x1b[2J", "Store one.").line()
    assert line == "wrong      secret key           There is none.\\x1b[2J Store one."


def test_a_result_is_dumped_for_json() -> None:
    dumped = json.dumps(unknown("Clerk", "No answer.", "Try again.").dump())
    assert json.loads(dumped) == {
        "subject": "Clerk",
        "mark": "can't tell",
        "finding": "No answer.",
        "toDo": "Try again.",
    }


def test_a_stack_is_well_when_there_is_nothing_to_do() -> None:
    fine = [ok("a", "x"), unknown("b", "It can't be tested from here.")]
    assert is_well(fine)
    assert not is_well([*fine, unknown("c", "You may not.", "Sign in.")])
    assert not is_well([*fine, wrong("c", "It is off.", "Switch it on.")])


def test_the_last_line_counts_the_results() -> None:
    fine = [ok("a", "x"), unknown("b", "None yet.")]
    assert summary(fine[:1]) == "All is well: 1 ok."
    assert summary(fine) == "All is well: 1 ok, 1 can't tell."
    assert summary([*fine, wrong("c", "It is off.", "Switch it on.")]) == "1 wrong, 1 can't tell, 1 ok."


@pytest.mark.parametrize(
    ("error", "finding", "to_do"),
    [
        (client_error("AccessDeniedException"), "You may not call GetSchedule.", "ReadOnlyAccess"),
        (client_error("AuthorizationError"), "You may not call GetSchedule.", "ReadOnlyAccess"),
        (client_error("ExpiredTokenException"), "does not accept your credentials", SIGN_IN),
        (client_error("InvalidClientTokenId"), "does not accept your credentials", SIGN_IN),
        (client_error("ThrottlingException"), "GetSchedule with ThrottlingException: m.", "Try again later."),
        (NoCredentialsError(), "no AWS credentials", SIGN_IN),
        (SSOTokenLoadError(profile_name="x", error_msg="gone"), "gone", SIGN_IN),
        (NoRegionError(), "No AWS region", "AWS_DEFAULT_REGION"),
        (EndpointConnectionError(endpoint_url="https://x"), "can't be reached", "network"),
        (ConnectTimeoutError(endpoint_url="https://x"), "can't be reached", "network"),
        (ProfileNotFound(profile="nobody"), "nobody", "try again"),
    ],
)
def test_an_error_of_the_aws_sdk_is_said_plainly(
    error: BotoCoreError | ClientError, finding: str, to_do: str
) -> None:
    found = explained(error)
    assert finding in found[0]
    assert to_do in found[1]
    translated = AwsError(f"AWS failed reading T: {error}")
    translated.__cause__ = error
    said = explained(translated)
    assert (said[0].removeprefix("AWS failed reading T: "), said[1]) == found


@pytest.mark.parametrize(
    "error",
    [client_error("InvalidAction"), client_error("UnknownOperationException"), client_error("X", 501)],
)
def test_an_operation_that_the_local_aws_lacks_leaves_nothing_to_do(error: ClientError) -> None:
    result = not_answered("alarms", error)
    assert (result.mark, result.to_do) == (Mark.UNKNOWN, "")
    assert "does not know GetSchedule" in result.finding


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "QueueDoesNotExist", "NotFound"])
def test_a_part_of_the_stack_that_is_gone_is_wrong(code: str) -> None:
    result = not_answered("queues", client_error(code))
    assert result.mark is Mark.WRONG
    assert "was deleted (GetSchedule: m)" in result.finding
    assert "Restore it" in result.to_do
