"""Answers in Clerk's form."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

type Query = dict[str, list[str]]


@dataclass(frozen=True)
class Reply:
    """An answer to send."""

    status: int  # 0: close the connection without an answer
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    halved: bool = False


class RefusedError(Exception):
    """The request is answered with an error in Clerk's form."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        parameter: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.meta = {"param_name": parameter} if parameter else None
        self.headers = headers or {}


def error_body(code: str, message: str, trace: str, meta: object = None) -> bytes:
    """The body of an error answer."""
    error = {"message": message, "long_message": f"{message}.", "code": code}
    return to_json({"errors": [error | ({"meta": meta} if meta else {})], "clerk_trace_id": trace})


def to_json(value: object) -> bytes:
    """JSON, all ASCII: a lone surrogate can't be sent otherwise."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def invalid(parameter: str, message: str) -> RefusedError:
    """The error for a parameter's invalid value."""
    return RefusedError(422, "form_param_value_invalid", message, parameter=parameter)


def not_found(message: str) -> RefusedError:
    """The error for something that does not exist."""
    return RefusedError(404, "resource_not_found", message)
