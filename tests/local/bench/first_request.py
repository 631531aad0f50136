"""A function's import and its first requests in a new process: python first_request.py MODULE.

Standard library only, as it also runs in a container that has nothing of the tests. `MODULE` has a `handler`;
`boto3` stands for boto3 with a DynamoDB and an SSM client. Writes a line of JSON for the import, then one for
each event that it reads, a line each: CPU and elapsed milliseconds, and the answer.
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
MARK = "timed "
"""What the lines begin with, unlike those of a function's log."""


def timed[T](action: Callable[[], T]) -> tuple[T, float, float]:
    cpu, elapsed = time.process_time(), time.perf_counter()
    result = action()
    return result, (time.process_time() - cpu) * 1000, (time.perf_counter() - elapsed) * 1000


def report(answer: Any, cpu: float, elapsed: float) -> None:
    print(MARK + json.dumps({"cpu": cpu, "elapsed": elapsed, "answer": answer}), flush=True)


def import_boto3() -> Any:
    boto3 = importlib.import_module("boto3")
    return [boto3.client(service) for service in ("dynamodb", "ssm")]


def import_handler(module: str) -> Any:
    return importlib.import_module(module).handler


if __name__ == "__main__":
    name = sys.argv[1]
    handler, cpu, elapsed = timed(import_boto3 if name == "boto3" else partial(import_handler, name))
    report(None, cpu, elapsed)
    for line in sys.stdin:
        report(*timed(partial(handler, json.loads(line), CONTEXT)))
