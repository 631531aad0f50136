"""How long a request to AWS can take, and the time that the functions have for it."""

from typing import Any

import pytest

from clerk_sync.aws.clients import client
from clerk_sync.aws.secrets import ssm
from clerk_sync.handlers import api_gateway, runs, worker


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    client.cache_clear()


def longest_seconds(service: Any) -> float:
    """How long a request takes if each attempt hangs, and each pause is the longest of the SDK's standard
    mode. Newer SDKs pause for less after a time-out."""
    config = service.meta.config
    attempts: int = config.retries["total_max_attempts"]
    pauses = sum(2**n for n in range(attempts - 1))
    return float(attempts * max(config.connect_timeout, config.read_timeout) + pauses)


# Lambda ends a function that is out of time without an answer, a line in the log or an outcome of its page.


def test_function_has_time_left_after_a_request_that_hangs() -> None:
    for service in ("dynamodb", "sqs", "lambda"):
        assert longest_seconds(client(service)) <= worker._RESERVE_MS / 1000
        assert longest_seconds(client(service)) <= runs._RESERVE_SECONDS


def test_webhook_is_answered_after_two_requests_that_hang() -> None:
    """One to each table, or two to RunsTable."""
    assert 2 * longest_seconds(api_gateway.dynamodb()) <= 12, "of 14 seconds"


def test_ssm_that_hangs_leaves_time_to_answer_with_the_last_secret() -> None:
    assert longest_seconds(ssm()) <= 9, "of 14 seconds"
