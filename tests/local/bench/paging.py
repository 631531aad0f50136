"""python3 -m tests.local bench paging: how fast BackfillFunction reads a large instance.

The workers are paused meanwhile.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

from tests.local.aws.local_aws import (
    SECRET_KEY,
    WEBHOOK_SECRET,
    LocalAws,
    free_port,
)
from tests.local.commands.sign import LOCAL_SECRET
from tests.local.commands.terminal import step
from tests.local.processes.children import Child
from tests.local.processes.listing import processes_with, usage

USERS = 1_000_000
MILLISECONDS = 200
REQUESTS_PER_SECOND = 100
PAGE_SIZE = 500
LEAST_USED = 0.8
MOST_MEGABYTES = 256


def measure(options: argparse.Namespace) -> int:
    users: int = options.users or USERS
    port = free_port()
    with LocalAws() as aws:
        aws.put_secret(SECRET_KEY, "sk_test_local")
        aws.put_secret(WEBHOOK_SECRET, LOCAL_SECRET)
        with step("Building and deploying"):
            outputs = aws.deploy(
                {
                    "ClerkApiUrl": f"http://127.0.0.1:{port}/v1",
                    "ClerkRequestsPerSecond": str(REQUESTS_PER_SECOND),
                }
            )
        _pause_workers(aws, outputs["WorkerFunction"])
        print(
            f"\nAt {MILLISECONDS} ms a request and {REQUESTS_PER_SECOND} requests/s; the goal is to use "
            f"{LEAST_USED:.0%} of them, in {MOST_MEGABYTES} MB:"
        )
        for number in (users // 10, users):
            aws.empty(outputs["RunsTable"])
            aws.client("sqs").purge_queue(QueueUrl=outputs["PagesQueue"])
            with _clerk(port, number):
                print(_paged(aws, outputs["BackfillFunction"], port, number), flush=True)
    return 0


def _paged(aws: LocalAws, function: str, port: int, users: int) -> str:
    started = time.monotonic()
    result = aws.invoke(function, {"waitSeconds": 0})
    seconds = time.monotonic() - started
    (process,) = processes_with(f"{aws.folder}/ministack-lambda-{function}-")
    took = usage(process)
    told = _told(port)
    times = told["times"]
    asked = (len(times) - 1) / (times[-1] - times[0])
    megabytes = f"{took.peak_bytes / 1e6:.0f} MB at most, {took.cpu_seconds:.0f} s of CPU" if took else "-"
    return (
        f"  {result['totalClerkUsers']:,} users in {seconds:.1f} s: {asked:.1f} requests/s "
        f"({asked / REQUESTS_PER_SECOND:.0%}), {len(times):,} for {result['pages']:,} pages, "
        f"{told['refused']} refused; {megabytes}"
    )


def _told(port: int) -> Any:
    with urlopen(f"http://127.0.0.1:{port}/told", timeout=5) as answer:
        return json.load(answer)


def _pause_workers(aws: LocalAws, function: str) -> None:
    client = aws.client("lambda")
    for mapping in client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]:
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)


@contextmanager
def _clerk(port: int, users: int) -> Iterator[None]:
    arguments = [str(number) for number in (port, users, MILLISECONDS, REQUESTS_PER_SECOND)]
    child = Child([sys.executable, "-m", "tests.local.bench.many_users", *arguments])
    deadline = time.monotonic() + 30
    try:
        while child.process.poll() is None and time.monotonic() < deadline:
            try:
                _told(port)
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        child.end()
