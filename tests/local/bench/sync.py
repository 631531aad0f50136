"""python3 -m tests.local bench sync: clerk-sync against the simple script, on one Clerk and one AWS.

Each job runs without latency, where Clerk and AWS answer at once, for time, CPU and memory. That is the
script's best case, as it waits for each answer. clerk-sync runs so twice: cold, with functions that must be
started, as in a weekly run, and then warm. Each job also runs with latency, where an answer takes as long as
in the cloud, with a counter before AWS, for time, requests and units. There the script does its first users
alone, and that is scaled, as each user costs it the same two requests.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clerk_sync.aws.items import Items
from clerk_sync.runs.runs_table import RunsTable
from tests.local.aws.build import build
from tests.local.aws.local_aws import LOCAL, SECRET_KEY, WEBHOOK_SECRET, LocalAws
from tests.local.bench.capacity import NO_UNITS
from tests.local.bench.costs import COSTS_HEADINGS, cost_rows
from tests.local.bench.counter import CountingProxy
from tests.local.bench.errors import BenchmarkError
from tests.local.bench.figures import (
    HEADINGS,
    SPEEDS_HEADINGS,
    Bar,
    Counted,
    Figures,
    Timed,
    bound,
    job_rows,
    speed_rows,
    table,
)
from tests.local.clerk.fake_users import make_users
from tests.local.clerk.faults import Request
from tests.local.clerk.simulated_clerk import SimulatedClerk
from tests.local.commands.sign import LOCAL_SECRET
from tests.local.commands.terminal import step
from tests.local.processes.children import Child
from tests.local.processes.listing import processes_with, usage

CLERK_REQUESTS_PER_SECOND = 100
"""Clerk's limit in production: the benchmark has it to itself."""
AWS_SECONDS = 0.005
CLERK_SECONDS = 0.2
"""What an answer takes with latency, at least: AWS says of DynamoDB that it is single-digit milliseconds."""
USERS = 20_000
SCRIPT_COUNTED = 2000
SCRIPT = Path(__file__).with_name("simple_script.py")
SCRIPT_TABLE = "the-scripts-users"
CHANGED_EVERY = 20
JOBS = {
    "first sync": Bar(50, 0.050, 0.006, None, 1.0),
    "nothing changed": Bar(89, 0.010, 0.006, 0.5, 0.0),
    "5 % changed": None,
}
FUNCTIONS = ("BackfillFunction", "WorkerFunction")


def measure(options: argparse.Namespace) -> int:
    users: int = options.users or USERS
    with step(f"A simulated Clerk with {users:,} users"):
        clerk = SimulatedClerk(users=make_users(users))
    with step("Building the functions"):
        build()
    with clerk, LocalAws() as aws, CountingProxy(aws.endpoint, AWS_SECONDS) as proxy:
        with step("Deploying"):
            script, ours = Script(aws, clerk, proxy), Ours(aws, clerk, proxy)
        of_script, of_ours = {}, {}
        for job in JOBS:  # by both, one right after the other: this machine may be slower a minute later
            of_script[job], of_ours[job] = _figures(job, script, clerk), _figures(job, ours, clerk)
    _print(of_script, of_ours)
    return 0


def _print(of_script: dict[str, Figures], of_ours: dict[str, Figures]) -> None:
    rows, speeds, bounds = [], [], []
    for job, bar in JOBS.items():
        rows += job_rows(job, of_script[job], of_ours[job], bar)
        speeds += speed_rows(job, of_script[job], of_ours[job], bar)
        bounds.append(bound(job, of_script[job], of_ours[job]))
    costs = cost_rows(weekly=of_ours["nothing changed"], first=of_ours["first sync"])
    print("", table(HEADINGS, rows), "", table(SPEEDS_HEADINGS, speeds), "", sep="\n")
    print(*filter(None, bounds), "", table(COSTS_HEADINGS, costs), "", sep="\n", flush=True)


def _figures(job: str, contender: "Script | Ours", clerk: SimulatedClerk) -> Figures:
    """Have the job done as often as it takes to know all of it."""

    def prepare() -> None:
        if job == "first sync":
            contender.start_over()
        elif job == "5 % changed":
            for user_id in clerk.ids()[::CHANGED_EVERY]:
                clerk.update(user_id, first_name=f"Changed at {time.time_ns()}")

    with step(f"{job}, with latency: {contender.name}"), _with_latency(clerk):
        counted = contender.count(prepare)
    with step(f"{job}, without latency: {contender.name}"):
        cold, warm = contender.time(prepare)
    return Figures(len(clerk), cold, warm, counted)


@contextmanager
def _with_latency(clerk: SimulatedClerk) -> Iterator[None]:
    def take_time(_number: int, _request: Request) -> None:
        time.sleep(CLERK_SECONDS)

    clerk.on_request = take_time
    yield
    clerk.on_request = None


class Script:
    """The simple script."""

    name = "the simple script"

    def __init__(self, aws: LocalAws, clerk: SimulatedClerk, proxy: CountingProxy) -> None:
        self._aws = aws
        self._clerk = clerk
        self._proxy = proxy
        aws.client("dynamodb").create_table(
            TableName=SCRIPT_TABLE,
            KeySchema=[{"AttributeName": "clerkUserId", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "clerkUserId", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def start_over(self) -> None:
        self._aws.empty(SCRIPT_TABLE)

    def time(self, prepare: Callable[[], None]) -> tuple[Timed, Timed]:
        prepare()
        asked, aws_cpu = len(self._clerk.requests), _aws_cpu(self._aws)
        seconds, took = self._run(self._aws.endpoint, len(self._clerk))
        timed = Timed(
            seconds=seconds,
            clerk_requests=len(self._clerk.requests) - asked,
            windows=1,
            client_cpu=took.ru_utime + took.ru_stime,
            aws_cpu=_since(aws_cpu, _aws_cpu(self._aws)),
            peak_bytes=took.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        )
        return timed, timed

    def count(self, prepare: Callable[[], None]) -> Counted:
        prepare()
        users = min(SCRIPT_COUNTED, len(self._clerk))
        self._proxy.take()
        seconds, _ = self._run(self._proxy.endpoint, users)
        counts, factor = self._proxy.take(), len(self._clerk) / users
        requests = counts.requests[SCRIPT_TABLE] * factor
        return Counted(seconds * factor, requests, counts.units[SCRIPT_TABLE].times(factor))

    def _run(self, endpoint: str, users: int) -> tuple[float, resource.struct_rusage]:
        """Run it to its end, in a process of its own. Returns its seconds, without that one's start, and what
        it took."""
        arguments = [self._clerk.url, self._clerk.secret_key, SCRIPT_TABLE, str(users)]
        child = Child(
            [LOCAL / "bench/bin/python", SCRIPT, *arguments],
            environment=self._aws.environment | {"AWS_ENDPOINT_URL": endpoint},
            stdout=subprocess.PIPE,
        )
        process = child.process
        assert process.stdout
        with process.stdout:
            told = process.stdout.read()
        _, status, took = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        child.end()
        if process.returncode:
            raise BenchmarkError(f"The script ended with {process.returncode}")
        return json.loads(told)["seconds"], took


class Ours:
    """The deployed stack."""

    name = "clerk-sync"

    def __init__(self, aws: LocalAws, clerk: SimulatedClerk, proxy: CountingProxy) -> None:
        self._aws = aws
        self._clerk = clerk
        self._proxy = proxy
        aws.put_secret(SECRET_KEY, clerk.secret_key)
        aws.put_secret(WEBHOOK_SECRET, LOCAL_SECRET)
        self._outputs = aws.deploy(
            {"ClerkApiUrl": clerk.url, "ClerkRequestsPerSecond": str(CLERK_REQUESTS_PER_SECOND)},
            as_shipped=True,
        )
        self._runs = RunsTable(Items(aws.client("dynamodb"), self._outputs["RunsTable"]))

    def start_over(self) -> None:
        for name in ("UsersTable", "RunsTable"):
            self._aws.empty(self._outputs[name])

    def time(self, prepare: Callable[[], None]) -> tuple[Timed, Timed]:
        """Cold, then warm."""
        self._begin_cold(self._aws.endpoint)
        prepare()
        cold = self._timed()
        prepare()
        return cold, self._timed()

    def count(self, prepare: Callable[[], None]) -> Counted:
        """Warm."""
        self._begin_cold(self._proxy.endpoint)
        self._run()
        prepare()
        self._proxy.take()
        since, started = time.time(), time.monotonic()
        self._run()
        seconds, counts = time.monotonic() - started, self._proxy.take()
        lambda_requests, lambda_gb_seconds = self._billed(since)
        users_table, runs_table = self._outputs["UsersTable"], self._outputs["RunsTable"]
        return Counted(
            seconds=seconds,
            users_requests=counts.requests[users_table],
            of_users=counts.units.get(users_table, NO_UNITS),
            runs_requests=counts.requests[runs_table],
            of_runs=counts.units.get(runs_table, NO_UNITS),
            # A message is sent and received in parts, and deleted.
            sqs_requests=2 * counts.message_parts + counts.messages,
            lambda_requests=lambda_requests,
            lambda_gb_seconds=lambda_gb_seconds,
        )

    def _timed(self) -> Timed:
        before, asked, aws_cpu = self._cpu(), len(self._clerk.requests), _aws_cpu(self._aws)
        started = time.monotonic()
        self._run()
        seconds = time.monotonic() - started
        requests, took = self._clerk.requests[asked:], self._cpu()
        return Timed(
            seconds=seconds,
            clerk_requests=len(requests),
            windows=len({tuple(request.query.get("created_at_after", [])) for request in requests}),
            client_cpu=sum(cpu - before.get(pid, 0) for pid, cpu in took.items()) if took else None,
            aws_cpu=_since(aws_cpu, _aws_cpu(self._aws)),
            peak_bytes=max((found.peak_bytes for pid in took if (found := usage(pid))), default=None),
        )

    def _run(self) -> None:
        """Start a run as the schedule does, and wait until the workers are done with it."""
        run_id = self._aws.invoke(self._outputs["BackfillFunction"], {"waitSeconds": 0})["runId"]
        deadline = time.monotonic() + 1800
        while not (run := self._runs.get(run_id)) or not run.is_over:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{run_id} is not over: {run}")
            time.sleep(0.1)
        if not run.watermark or run.counts.total != len(self._clerk):
            raise BenchmarkError(f"Not every user was synced: {run}")

    def _begin_cold(self, endpoint: str) -> None:
        """Have the functions started anew, and use that endpoint."""
        client = self._aws.client("lambda")
        for function in FUNCTIONS:
            name = self._outputs[function]
            was = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
            variables = was | {"AWS_ENDPOINT_URL": endpoint, "BEGUN": str(time.time_ns())}
            client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})

    def _cpu(self) -> dict[int, float]:
        """What each of the functions' processes has used."""
        # By where this local AWS keeps them: another one's functions have the same names.
        names = [f"{self._aws.folder}/ministack-lambda-{self._outputs[function]}-" for function in FUNCTIONS]
        pids = [pid for name in names for pid in processes_with(name)]
        return {pid: found.cpu_seconds for pid in pids if (found := usage(pid))}

    def _billed(self, since: float) -> tuple[int, float]:
        """How often the functions were invoked since then (s), and for how many GB-seconds, by what Lambda
        reports in the log."""
        invocations, gb_seconds = 0, 0.0
        logs = self._aws.client("logs")
        for function in FUNCTIONS:
            of = self._aws.client("lambda").get_function_configuration(FunctionName=self._outputs[function])
            group = of["LoggingConfig"]["LogGroup"]
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=int(since * 1000)
            )
            for page in pages:
                for event in page["events"]:
                    if billed := re.search(r"Billed Duration: (\d+) ms", event["message"]):
                        invocations += 1
                        gb_seconds += int(billed[1]) / 1000 * of["MemorySize"] / 1024
        return invocations, gb_seconds


def _aws_cpu(aws: LocalAws) -> float | None:
    took = usage(aws.pid)
    return took.cpu_seconds if took else None


def _since(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else now - before
