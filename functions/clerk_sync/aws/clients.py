"""How AWS is spoken to: one client configuration, and one translation of its errors."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from clerk_sync.errors import AwsError


@cache
def client(service: str, *, read_timeout: int = 20, total_attempts: int = 5) -> Any:
    """The one client for a service: making it costs some 40 ms, so it outlives the invocation. The limits are
    for one request, in seconds and attempts."""
    config = Config(
        connect_timeout=min(3, read_timeout),
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": total_attempts},
        parameter_validation=False,  # a sixth of the CPU that sending rows takes; AWS checks them itself
    )
    return boto3.client(service, config=config)  # type: ignore[call-overload]


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the SDK's errors into AwsError, saying what was being done."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise AwsError(f"AWS failed {what}: {error}") from error


def attempts(
    number: int, *, first: float, longest: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Loop for what the SDK does not try again by itself: before each attempt but the first there is a pause
    at random, up to `first` seconds, then twice that and so on, and never over `longest`."""
    for n in range(number):
        if n:
            sleep(random.uniform(0, min(longest, first * 2 ** (n - 1))))
        yield
