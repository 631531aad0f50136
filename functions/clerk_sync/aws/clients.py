"""AWS clients with one configuration, their errors as AwsError, and retries that the SDK does not make."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from clerk_sync.errors import AwsError


@cache
def client(service: str, *, read_timeout: int = 3, total_attempts: int = 4) -> Any:
    """The shared client of a service; `read_timeout` (seconds) is for one attempt.

    A request of which each attempt hangs ends in 19 s, with the longest pauses that the SDK in Lambda's
    runtime makes. The functions keep more time than that. The client is boto3's own, but made without
    importing boto3, which would take 20 ms of each cold start.
    """
    config = Config(
        connect_timeout=read_timeout,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": total_attempts},
        parameter_validation=False,  # a sixth of the CPU that sending rows takes; AWS checks them itself
    )
    return _session().create_client(service, config=config)


_session = cache(get_session)
"""The clients of one session share what they load."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise the SDK's errors as AwsError, saying what was being done."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise AwsError(f"AWS failed while {what}: {error}") from error


def attempts(
    number: int,
    *,
    first: float,
    longest: float,
    sleep: Callable[[float], None] = time.sleep,
    is_out_of_time: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Loop over attempts, while there is time, with random pauses (seconds) between them: the first is up to
    `first`, each of the others up to twice the one before, and none over `longest`."""
    for n in range(number):
        if n:
            sleep(random.uniform(0, min(longest, first * 2 ** (n - 1))))
        if is_out_of_time():
            return
        yield
