"""How AWS is spoken to: one client configuration, and one translation of its errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from clerk_sync.errors import AwsError


@cache
def client(service: str) -> Any:
    """The one client for a service: making it costs some 40 ms, so it outlives the invocation."""
    config = Config(
        connect_timeout=3,
        read_timeout=20,
        retries={"mode": "standard", "total_max_attempts": 5},
    )
    return boto3.client(service, config=config)  # type: ignore[call-overload]


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the SDK's errors into AwsError, saying what was being done."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise AwsError(f"AWS failed {what}: {error}") from error
