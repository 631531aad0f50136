"""python3 -m tests.local bench: clerk-sync against the obvious loop, on one simulated Clerk and local AWS.

Each job of ours is done twice: once undisturbed, for time, CPU and memory, and once with a counter before
AWS, for requests and units. The loop is counted over its first users alone, and that is scaled, as each user
costs it the same two requests. Clerk answers at once here, which is the loop's best case: it waits for each
answer. Every job of ours begins cold, as a weekly one does: the functions' start is in it.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clerk_sync.runs_table import RunsTable
from tests.local.aws import LOCAL, SECRET_KEY, WEBHOOK_SECRET, FunctionError, LocalAws, LocalAwsError, build
from tests.local.bench import writes
from tests.local.bench.capacity import NO_UNITS
from tests.local.bench.counter import CountingProxy
from tests.local.bench.figures import HEADINGS, Bar, Counted, Figures, Timed, bound, job_rows, table
from tests.local.clerk import SimulatedClerk
from tests.local.people import make_users
from tests.local.processes import processes_with, usage
from tests.local.run import whole_number
from tests.local.sign import LOCAL_SECRET

CLERK_REQUESTS_PER_SECOND = 100
"""Clerk's limit in production: the benchmark has it to itself."""
LOOP_COUNTED = 2000
SCRIPT = Path(__file__).with_name("obvious_loop.py")
LOOP_TABLE = "the-loops-users"
CHANGED_EVERY = 20
JOBS = {
    "first sync": Bar(25, 0.060, None, 1.0),
    "nothing changed": Bar(60, 0.015, 0.5, 0.0),
    "5 % changed": None,
}
FUNCTIONS = ("BackfillFunction", "WorkerFunction")


type Contender = Ours | Loop


class BenchmarkError(Exception):
    """A job did not do what was to be measured."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.local bench")
    parser.add_argument(
        "--users", type=whole_number(1, 1_000_000), default=20_000, metavar="N", help="users (20000)"
    )
    users: int = parser.parse_args().users
    try:
        compare(users)
    except (LocalAwsError, FunctionError, BenchmarkError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def compare(users: int) -> None:
    with _step(f"A simulated Clerk with {users:,} users"):
        clerk = SimulatedClerk(users=make_users(users))
    with _step("Building the functions"):
        build()
    with clerk, LocalAws() as aws, CountingProxy(aws.endpoint) as proxy:
        with _step("Deploying"):
            ours = Ours(aws, clerk, proxy)
        contenders: list[Contender] = [Loop(aws, clerk, proxy), ours]
        timed = _each_job(contenders, clerk, "timed", lambda contender: contender.time())
        counted = _each_job(contenders, clerk, "counted", lambda contender: contender.count())
        rows, bounds = [], []
        for (job, bar), times, counts in zip(JOBS.items(), timed, counted, strict=True):
            of_loop, of_ours = (Figures(users, *pair) for pair in zip(times, counts, strict=True))
            rows += job_rows(job, of_loop, of_ours, bar)
            bounds.append(bound(job, of_loop, of_ours))
        print(table(HEADINGS, rows), *filter(None, bounds), sep="\n", end="\n\n", flush=True)
        with _step("Writing in each way"):
            compared = writes.compare(aws, proxy)
        print(compared)


def _each_job[T](
    contenders: Sequence[Contender], clerk: SimulatedClerk, how: str, measure: Callable[[Contender], T]
) -> list[list[T]]:
    """Each job by each of them, one right after the other, as this machine may be slower a minute later."""
    for contender in contenders:
        contender.start_over()
    found: list[list[T]] = []
    for job in JOBS:
        if job == "5 % changed":
            _change(clerk)
        found.append([])
        for contender in contenders:
            with _step(f"{job}, {how}: {contender.name}"):
                found[-1].append(measure(contender))
    return found


def _change(clerk: SimulatedClerk) -> None:
    for user_id in clerk.ids()[::CHANGED_EVERY]:
        clerk.update(user_id, first_name=f"Changed at {time.time_ns()}")


class Loop:
    """The obvious loop."""

    name = "the obvious loop"

    def __init__(self, aws: LocalAws, clerk: SimulatedClerk, proxy: CountingProxy) -> None:
        self._aws = aws
        self._clerk = clerk
        self._proxy = proxy
        aws.client("dynamodb").create_table(
            TableName=LOOP_TABLE,
            KeySchema=[{"AttributeName": "clerkUserId", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "clerkUserId", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )

    def start_over(self) -> None:
        self._aws.empty(LOOP_TABLE)

    def time(self) -> Timed:
        asked, aws_cpu = len(self._clerk.requests), _aws_cpu(self._aws)
        started = time.monotonic()
        took = self._run(self._aws.endpoint, len(self._clerk))
        return Timed(
            seconds=time.monotonic() - started,
            clerk_requests=len(self._clerk.requests) - asked,
            windows=1,
            client_cpu=took.ru_utime + took.ru_stime,
            aws_cpu=_since(aws_cpu, _aws_cpu(self._aws)),
            peak_bytes=took.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        )

    def count(self) -> Counted:
        users = min(LOOP_COUNTED, len(self._clerk))
        self._run(self._proxy.endpoint, users)
        counts, factor = self._proxy.take(), len(self._clerk) / users
        requests = counts.operations.total() * factor
        return Counted(requests, counts.units[LOOP_TABLE].times(factor))

    def _run(self, endpoint: str, users: int) -> resource.struct_rusage:
        """Run it to its end, in a process of its own. Returns what that took."""
        arguments = [self._clerk.url, self._clerk.secret_key, LOOP_TABLE, str(users)]
        process = subprocess.Popen(
            [LOCAL / "bench/bin/python", SCRIPT, *arguments],
            env=self._aws.environment | {"AWS_ENDPOINT_URL": endpoint},
            stdout=subprocess.DEVNULL,
        )
        _, status, took = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise BenchmarkError(f"The loop ended with {process.returncode}")
        return took


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
            {"ClerkApiUrl": clerk.url, "ClerkRequestsPerSecond": str(CLERK_REQUESTS_PER_SECOND)}
        )
        self._runs = RunsTable(aws.client("dynamodb"), self._outputs["RunsTable"])

    def start_over(self) -> None:
        for name in ("UsersTable", "RunsTable"):
            self._aws.empty(self._outputs[name])

    def time(self) -> Timed:
        self._begin_cold(self._aws.endpoint)
        already_there = set(self._processes())
        asked, aws_cpu, lambdas = len(self._clerk.requests), _aws_cpu(self._aws), self._lambdas()
        started = time.monotonic()
        self._run()
        seconds = time.monotonic() - started
        took = [found for pid in self._processes() if pid not in already_there and (found := usage(pid))]
        requests = self._clerk.requests[asked:]
        return Timed(
            seconds=seconds,
            clerk_requests=len(requests),
            windows=len({tuple(request.query.get("created_at_after", [])) for request in requests}),
            client_cpu=sum(one.cpu_seconds for one in took) if took else None,
            aws_cpu=_since(aws_cpu, _aws_cpu(self._aws)),
            peak_bytes=max((one.peak_bytes for one in took), default=None),
            lambda_requests=round(self._lambdas().requests - lambdas.requests),
            lambda_gb_seconds=self._lambdas().gb_seconds - lambdas.gb_seconds,
        )

    def count(self) -> Counted:
        self._begin_cold(self._proxy.endpoint)
        self._proxy.take()
        self._run()
        counts = self._proxy.take()
        return Counted(
            dynamodb_requests=counts.operations.total(),
            of_users=counts.units.get(self._outputs["UsersTable"], NO_UNITS),
            of_runs=counts.units.get(self._outputs["RunsTable"], NO_UNITS),
            # A message is sent and received in parts, and deleted.
            sqs_requests=2 * counts.message_parts + counts.messages,
        )

    def _run(self) -> None:
        """Start a run as the schedule does, and wait until the workers are done with it."""
        run_id = self._aws.invoke(self._outputs["BackfillFunction"], {"waitSeconds": 0})["runId"]
        deadline = time.monotonic() + 1800
        while not (run := self._runs.get(run_id)) or not run.is_over:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{run_id} is not over: {run}")
            time.sleep(0.1)
        if not run.is_complete or run.counts.total != len(self._clerk):
            raise BenchmarkError(f"Not every user was synced: {run}")

    def _begin_cold(self, endpoint: str) -> None:
        """Have the functions started anew, and use that endpoint."""
        client = self._aws.client("lambda")
        for function in FUNCTIONS:
            name = self._outputs[function]
            was = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
            variables = was | {"AWS_ENDPOINT_URL": endpoint, "BEGUN": str(time.time_ns())}
            client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})

    def _processes(self) -> list[int]:
        # By where this local AWS keeps them: another one's functions have the same names.
        scratch = self._aws.environment["TMPDIR"]
        names = [f"{scratch}/ministack-lambda-{self._outputs[function]}-" for function in FUNCTIONS]
        return [pid for name in names for pid in processes_with(name)]

    def _lambdas(self) -> "Lambdas":
        """What the functions were invoked and ran until now."""
        total = Lambdas(0, 0.0)
        for function in FUNCTIONS:
            name = self._outputs[function]
            memory = self._aws.client("lambda").get_function_configuration(FunctionName=name)["MemorySize"]
            seconds = self._metric(name, "Duration") / 1000
            total = Lambdas(
                total.requests + self._metric(name, "Invocations"),
                total.gb_seconds + seconds * memory / 1024,
            )
        return total

    def _metric(self, function: str, name: str) -> float:
        now = time.time()
        answer = self._aws.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=name,
            Dimensions=[{"Name": "FunctionName", "Value": function}],
            StartTime=now - 86_400,
            EndTime=now + 60,
            Period=86_400,
            Statistics=["Sum"],
        )
        return sum(float(point["Sum"]) for point in answer["Datapoints"])


@dataclass(frozen=True)
class Lambdas:
    """What Lambda bills by."""

    requests: float
    gb_seconds: float


def _aws_cpu(aws: LocalAws) -> float | None:
    took = usage(aws.pid)
    return took.cpu_seconds if took else None


def _since(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else now - before


@contextmanager
def _step(what: str) -> Iterator[None]:
    print(f"{what} ...", end=" ", file=sys.stderr, flush=True)
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
