"""A function's import and its first requests in a new process: python first_request.py HANDLER <EVENTS.

Standard library only, as it also runs in a container that has nothing of the tests. `HANDLER` is a module
with a `handler`, or `boto3` for boto3 with a DynamoDB and an SSM client. The last line of its output is JSON:
CPU and elapsed seconds of the import and of each request, and the requests' status codes.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

CONTEXT = SimpleNamespace(
    function_name="function",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:function",
    aws_request_id="c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
)


def timed[T](action: Callable[[], T]) -> tuple[T, tuple[float, float]]:
    """The action's result, and its CPU and elapsed seconds."""
    cpu, elapsed = time.process_time(), time.perf_counter()
    result = action()
    return result, (time.process_time() - cpu, time.perf_counter() - elapsed)


def import_boto3() -> Any:
    boto3 = importlib.import_module("boto3")
    return [boto3.client(service) for service in ("dynamodb", "ssm")]


def main(name: str, events: list[Any]) -> dict[str, Any]:
    action = import_boto3 if name == "boto3" else lambda: importlib.import_module(name).handler
    handler, imported = timed(action)
    answers = [timed(partial(handler, event, CONTEXT)) for event in events]
    return {
        "import": imported,
        "requests": [seconds for _, seconds in answers],
        "statuses": [answer["statusCode"] for answer, _ in answers],
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.load(sys.stdin))))
