"""python3 -m tests.local bench imports: a new instance of a function, until it has answered a request.

Of the functions as they are built, without bytecode: CPU time against `import boto3` with a DynamoDB and an
SSM client, and, where there is Docker, the time that passes in a container which has a whole processor for
the import and then, as in Lambda, the share that the function's memory buys.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from secrets import token_hex
from statistics import median
from typing import Any

from clerk_sync.aws.items import to_item
from clerk_sync.clock import now_ms
from tests.local.aws.build import architecture, build
from tests.local.aws.local_aws import CREDENTIALS, REGION, SECRET_KEY, WEBHOOK_SECRET, LocalAws, free_port
from tests.local.bench.errors import BenchmarkError
from tests.local.bench.figures import table, verdict
from tests.local.bench.first_request import MARK
from tests.local.clerk.fake_users import make_user
from tests.local.clerk.session_tokens import LOCAL_ORIGIN, public_pem, session_key, session_token
from tests.local.clerk.simulated_clerk import SimulatedClerk
from tests.local.commands.sign import LOCAL_SECRET, signature_headers
from tests.local.commands.terminal import step

RUNS = 5
MOST_FIRST, MOST_BOTH = 0.10, 1.9
MEMORY_OF_A_PROCESSOR = 1769
"""MB (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)."""
IMAGE = f"public.ecr.aws/lambda/python:3.13-{architecture()}"
"""SAM CLI's own."""
HEADINGS = ("CPU", "", "import ms", "first ms", "first / boto3", "goal", "both / boto3", "goal", "third ms")
ELAPSED_HEADINGS = ("in a container, with memory", "", "import ms", "first ms", "third ms")
REQUESTS = 3
BOTO3 = "boto3"
ISSUER = "https://clerk.app.test"
FRESH = "user_fresh"
TABLES = {"Users": ["clerkUserId"], "Runs": ["runId", "part"]}
SCRIPT = Path(__file__).with_name("first_request.py")
_numbers = count()
"""Each request is about another user, so that none finds what one before it left."""


@dataclass(frozen=True)
class Case:
    """A function and a request for it, which the n-th run makes."""

    module: str
    request: Callable[[int], dict[str, Any]]
    has_goals: bool = True


def webhook(n: int) -> dict[str, Any]:
    envelope = {"object": "event", "type": "user.updated", "timestamp": now_ms()}
    body = json.dumps({**envelope, "instance_id": "ins_local", "data": make_user(n)})
    return {"headers": signature_headers(body, LOCAL_SECRET), "body": body, "httpMethod": "POST"}


def page_load(user_id: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {session_token(user_id, ISSUER)}", "Origin": LOCAL_ORIGIN}
    return {"headers": headers, "body": None, "httpMethod": "PUT", "pathParameters": {"userId": "me"}}


CASES = {
    "webhook": Case("clerk_sync.handlers.webhook", webhook),
    "page load, row is fresh": Case("clerk_sync.handlers.profile", lambda _: page_load(FRESH)),
    "page load, asks Clerk": Case(
        "clerk_sync.handlers.profile", lambda n: page_load(make_user(n)["id"]), has_goals=False
    ),
}


def measure(options: argparse.Namespace) -> int:
    with step("Building"):
        code = build() / "WebhookFunction"
    if list(code.rglob("*.pyc")):
        raise BenchmarkError(f"There is bytecode in {code}, which no deployment has: delete it.")
    ports = free_port(), free_port()
    users = [make_user(n) for n in range(200)]
    with LocalAws(ports[0]) as aws, SimulatedClerk(users=users, port=ports[1]) as clerk:
        _prepare(aws)
        variables = _variables(aws.endpoint, clerk.url)
        with step("Starting new instances"):
            rows = _cpu_rows(_Process(code, variables), aws)
        print("", table(HEADINGS, rows), "", sep="\n", flush=True)
        container = _Container(code, variables, options.image or IMAGE, options.memory)
        if reason := container.missing():
            print(f"Not measured in a container: {reason}")
            return 0
        with step("Starting containers"):
            rows = _elapsed_rows(container, aws)
        print("", table(ELAPSED_HEADINGS, rows), "", sep="\n", flush=True)
    return 0


def _prepare(aws: LocalAws) -> None:
    for name, keys in TABLES.items():
        aws.client("dynamodb").create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": key, "KeyType": kind}
                for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
        )
    aws.put_secret(SECRET_KEY, "sk_test_local")
    aws.put_secret(WEBHOOK_SECRET, LOCAL_SECRET)


def _variables(aws_url: str, clerk_url: str) -> dict[str, str]:
    return CREDENTIALS | {
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": aws_url,
        "USERS_TABLE": "Users",
        "USERS_TABLE_KEY": "clerkUserId",
        "RUNS_TABLE": "Runs",
        "CREATE_MISSING_USERS": "true",
        "CLERK_WEBHOOK_SECRET_PARAMETER": WEBHOOK_SECRET,
        "CLERK_API_URL": clerk_url,
        "CLERK_SECRET_KEY_PARAMETER": SECRET_KEY,
        "CLERK_ISSUER": ISSUER,
        "CLERK_AUTHORIZED_PARTIES": LOCAL_ORIGIN,
        "CLERK_JWT_KEY": public_pem(session_key()),
        "PROFILE_MAX_AGE_SECONDS": "300",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "POWERTOOLS_SERVICE_NAME": "clerk-sync",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


class _Process:
    """Starts functions in processes of their own."""

    def __init__(self, code: Path, variables: Mapping[str, str]) -> None:
        self._code = code
        self._variables = variables

    def command(self, module: str) -> list[str]:
        return [sys.executable, str(SCRIPT), module]

    def environment(self, module: str) -> Mapping[str, str]:
        return {**self._variables, "PYTHONPATH": "" if module == BOTO3 else str(self._code)}

    def limit(self) -> None:
        """Nothing: CPU time does not depend on how much of a processor there is."""


class _Container:
    """Starts functions in a container with a whole processor, which then gets the share that Lambda gives a
    function of so much memory (MB)."""

    def __init__(self, code: Path, variables: dict[str, str], image: str, memory: int) -> None:
        self._code = code
        self._variables = variables
        self._image = image
        self._share = min(1.0, memory / MEMORY_OF_A_PROCESSOR)
        self._name = f"clerk-sync-{token_hex(8)}"

    def missing(self) -> str | None:
        """What there is not; None if functions can be started."""
        if sys.platform != "linux" or not shutil.which("docker"):
            return "it takes Docker on Linux, whose containers reach the local AWS."
        found = subprocess.run(["docker", "image", "inspect", self._image], capture_output=True, check=False)
        if found.returncode:
            return f"docker does not run, or has no image {self._image}: docker pull {self._image}"
        return None

    def command(self, module: str) -> list[str]:
        self._name = f"clerk-sync-{token_hex(8)}"
        variables = self._variables | {
            "PYTHONPATH": "/var/runtime" if module == BOTO3 else "/var/task:/var/runtime"
        }
        options = [
            *("--rm", "--interactive", "--name", self._name, "--cpus", "1"),
            *("--network", "host", "--entrypoint", "/var/lang/bin/python3.13"),
            *("--volume", f"{self._code}:/var/task:ro", "--volume", f"{SCRIPT}:/first_request.py:ro"),
        ]
        for name, value in variables.items():
            options += ["--env", f"{name}={value}"]
        return ["docker", "run", *options, self._image, "/first_request.py", module]

    def environment(self, _: str) -> Mapping[str, str]:
        return os.environ

    def limit(self) -> None:
        command = ["docker", "update", "--cpus", f"{self._share:.2f}", self._name]
        subprocess.run(command, capture_output=True, check=True)


def _cpu_rows(process: _Process, aws: LocalAws) -> list[Sequence[str]]:
    starts = _starts(process, aws)
    boto3 = starts[BOTO3]["cpu"][0]
    rows: list[Sequence[str]] = [("boto3, DynamoDB and SSM", "", f"{boto3:.0f}", *[""] * 6)]
    for name, case in CASES.items():
        imported, first, *_, last = starts[name]["cpu"]
        both = (imported + first) / boto3
        first_bar = verdict(f"<= {MOST_FIRST:.2f}", first / boto3 <= MOST_FIRST) if case.has_goals else ""
        both_bar = verdict(f"<= {MOST_BOTH:g}", both <= MOST_BOTH) if case.has_goals else ""
        ratios = (f"{first / boto3:.3f}", first_bar, f"{both:.2f}", both_bar)
        rows.append((name, "", f"{imported:.0f}", f"{first:.0f}", *ratios, f"{last:.1f}"))
    return rows


def _elapsed_rows(container: _Container, aws: LocalAws) -> list[Sequence[str]]:
    starts = _starts(container, aws)
    return [(name, "", *(f"{starts[name]['elapsed'][n]:,.0f}" for n in (0, 1, -1))) for name in CASES]


def _starts(place: _Process | _Container, aws: LocalAws) -> dict[str, dict[str, list[float]]]:
    """The CPU and the elapsed ms of the import and of each request, by case: medians of several runs of each
    by turns, the first of which is not counted."""
    runs: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in (BOTO3, *CASES)}
    for _ in range(RUNS + 1):
        fresh = to_item({"clerkUserId": FRESH, "clerkUpdatedAt": now_ms() - 1000})
        aws.client("dynamodb").put_item(TableName="Users", Item=fresh)
        for name, started in runs.items():
            case = CASES.get(name)
            requests = [case.request(next(_numbers)) for _ in range(REQUESTS)] if case else []
            started.append(_start(place, case.module if case else BOTO3, requests))
    return {
        name: {
            kind: [median(each[kind] for each in steps) for steps in zip(*started[1:], strict=True)]
            for kind in ("cpu", "elapsed")
        }
        for name, started in runs.items()
    }


def _start(place: _Process | _Container, module: str, requests: Sequence[Any]) -> list[dict[str, Any]]:
    """What a new instance of a function reports of its import and of each request."""
    with subprocess.Popen(
        place.command(module),
        env=place.environment(module),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout
        first = child.stdout.readline()
        if requests:
            place.limit()
        rest, errors = child.communicate("".join(json.dumps(request) + "\n" for request in requests))
    lines = [first, *rest.splitlines()]
    reports = [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
    statuses = [report["answer"]["statusCode"] for report in reports[1:]]
    if child.returncode or len(statuses) != len(requests) or not all(status < 300 for status in statuses):
        raise BenchmarkError(f"{module} failed: status codes {statuses}\n{errors}")
    return reports
