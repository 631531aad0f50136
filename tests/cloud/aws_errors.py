"""The AWS SDK's errors in plain words."""

import re

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
from tests.cloud.result import Result, unknown

AWS_ERRORS = (AwsError, BotoCoreError, ClientError)

SIGN_IN = "Sign in ('aws sso login', 'aws configure') or set AWS_PROFILE."
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
    cause = error.__cause__ if isinstance(error, AwsError) and error.__cause__ else error
    if isinstance(cause, ClientError):
        return _refused(cause)
    if isinstance(cause, NoCredentialsError | PartialCredentialsError):
        return "There are no AWS credentials.", SIGN_IN
    if isinstance(cause, SSOError):
        return f"{cause}.", SIGN_IN
    if isinstance(cause, NoRegionError):
        return "No AWS region is set.", "Set AWS_DEFAULT_REGION to the region of the stack."
    if isinstance(cause, ConnectionError | HTTPClientError):
        return f"AWS can't be reached: {cause}.", "Check the network, the region and AWS_ENDPOINT_URL."
    return f"{cause}.", "Correct that and try again."


def not_answered(subject: str, error: Exception) -> Result:
    """What is said of a subject that AWS did not answer about."""
    return unknown(subject, *explained(error))


def _refused(error: ClientError) -> tuple[str, str]:
    code, operation = error.response["Error"]["Code"], error.operation_name
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _NOT_ACCEPTED:
        return f"AWS does not accept your credentials ({code}).", SIGN_IN
    if code in _NOT_ALLOWED:
        return f"You may not call {operation}.", "Sign in with a role that may: ReadOnlyAccess is enough."
    if code in _NOT_SUPPORTED or status == 501:
        return f"This AWS does not know {operation}.", ""
    message = re.sub(r"\.*$", "", error.response["Error"].get("Message", ""))
    return f"AWS answers {operation} with {code}: {message}.", "Try again later."
