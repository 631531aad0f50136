"""The AWS SDK's errors in plain words."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    SSOError,
)

from clerk_sync.errors import AwsError
from clerk_sync.text import sentence
from tests.cloud.result import Result, unknown, wrong

AWS_ERRORS = (AwsError, BotoCoreError, ClientError)

SIGN_IN = "Sign in ('aws sso login', 'aws configure') or set AWS_PROFILE."
RESTORE = "Restore it, or delete the stack (its tables stay) and deploy it with ExistingUsersTable."
"""A deployment does not: CloudFormation fails to update what was deleted, and leaves the rest alone."""
_NOT_ACCEPTED = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_NOT_ALLOWED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "UnauthorizedOperation",
    }
)
_NOT_THERE = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)
_NOT_SUPPORTED = frozenset(
    {
        "InvalidAction",
        "NotImplemented",
        "UnknownOperation",
        "UnknownOperationException",
        "UnsupportedOperation",
    }
)


def explained(error: Exception) -> tuple[str, str]:
    """What went wrong, and what to do; the latter is empty where this AWS can't answer at all."""
    cause = _cause(error)
    if isinstance(cause, ClientError):
        finding, to_do = _refused(cause)
        doing = f"{str(error).partition(': ')[0]}: " if cause is not error else ""
        return f"{doing}{finding}", to_do
    if isinstance(cause, NoCredentialsError | PartialCredentialsError):
        return "There are no AWS credentials.", SIGN_IN
    if isinstance(cause, SSOError):
        return sentence(cause), SIGN_IN
    if isinstance(cause, NoRegionError):
        return "No AWS region is set.", "Set AWS_DEFAULT_REGION to the region of the stack."
    if isinstance(cause, ConnectionError | HTTPClientError):
        return sentence(
            f"AWS can't be reached: {cause}"
        ), "Check the network, the region and AWS_ENDPOINT_URL."
    return sentence(cause), "Correct that and try again."


def not_answered(subject: str, error: Exception) -> Result:
    """What is said of a subject that AWS did not answer about."""
    cause = _cause(error)
    if isinstance(cause, ClientError) and cause.response["Error"]["Code"] in _NOT_THERE:
        return wrong(subject, *explained(error))
    return unknown(subject, *explained(error))


def _cause(error: Exception) -> BaseException:
    """The SDK's error, which the package's own stands for."""
    return error.__cause__ if isinstance(error, AwsError) and error.__cause__ else error


def _refused(error: ClientError) -> tuple[str, str]:
    code, operation = error.response["Error"]["Code"], error.operation_name
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _NOT_ACCEPTED:
        return f"AWS does not accept your credentials ({code}).", SIGN_IN
    if code in _NOT_ALLOWED:
        return f"You may not call {operation}.", "Sign in with a role that may: ReadOnlyAccess is enough."
    if code in _NOT_SUPPORTED or status == 501:
        return f"This AWS does not know {operation}.", ""
    if code in _NOT_THERE:
        what = error.response["Error"].get("Message", "").rstrip(".")
        return f"A part of the stack was deleted ({operation}: {what}).", RESTORE
    message = error.response["Error"].get("Message", "")
    return sentence(f"AWS answers {operation} with {code}: {message}"), "Try again later."
