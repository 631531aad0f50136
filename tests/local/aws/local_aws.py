"""The local AWS: MiniStack as a child process, with template.yaml built and deployed by SAM CLI."""

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import randrange
from typing import Any, Self
from urllib.request import urlopen

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.local.aws.build import architecture, build, mounted_template
from tests.local.aws.sam import REGION as REGION
from tests.local.aws.sam import LocalAwsError as LocalAwsError
from tests.local.aws.sam import sam, sam_environment
from tests.local.paths import LOCAL as LOCAL
from tests.local.paths import ROOT as ROOT
from tests.local.processes.children import Child

RECORDING = ROOT / "tests/local/aws/recording"
RECORDED_CALLS = "calls.jsonl"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
STACK = "clerk-sync-local"
SECRET_KEY = "/clerk-sync/secret-key"
WEBHOOK_SECRET = "/clerk-sync/webhook-secret"

Outputs = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Call:
    """A function's call to AWS: its time (s since 1970), its operation, and the IAM actions that it needs on
    AWS, each with the resource's ARN."""

    at: float
    function: str
    operation: str
    actions: frozenset[tuple[str, str]]


class LocalAws:
    """A context manager: starts on entry, and ends everything it started on exit.

    `log` is its log file, with the output of its functions. With `records_calls`, `calls` returns every call
    that the functions made to AWS.
    """

    def __init__(self, port: int | None = None, *, records_calls: bool = False) -> None:
        self._port = port or free_port()
        self._records_calls = records_calls
        self.log = LOCAL / f"ministack-{self._port}.log"
        self._child: Child | None = None

    @property
    def folder(self) -> Path:
        """Its temporary folder, with those of its functions: `ministack-lambda-NAME-...`."""
        return self._started().folder

    @property
    def pid(self) -> int:
        """The id of its process. Its functions have processes of their own."""
        return self._started().process.pid

    def _started(self) -> Child:
        if self._child is None:
            raise LocalAwsError("The local AWS was not started here.")
        return self._child

    @property
    def endpoint(self) -> str:
        """The address of every service."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which an AWS tool uses this AWS and no real account."""
        ours = {n: value for n, value in sam_environment().items() if not n.startswith(("AWS_", "CLERK_"))}
        return ours | CREDENTIALS | {"AWS_ENDPOINT_URL": self.endpoint, "AWS_DEFAULT_REGION": REGION}

    def __enter__(self) -> Self:
        if not is_free(self._port):
            raise LocalAwsError(f"Port {self._port} is in use: stop what listens there, or choose --port.")
        settings = {
            "GATEWAY_PORT": str(self._port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
        }
        if self._records_calls:
            settings |= {"PYTHONPATH": str(RECORDING), "RECORDED_CALLS": RECORDED_CALLS}
        command = [LOCAL / "ministack/bin/ministack"]
        self._child = Child(command, environment=self.environment | settings, log=self.log)
        try:
            self._wait_until_up(self._child)
        except BaseException:
            self._end()
            raise
        return self

    def _wait_until_up(self, child: Child) -> None:
        deadline = time.monotonic() + 60
        while not _answers(f"{self.endpoint}/_ministack/health"):
            if child.process.poll() is not None or time.monotonic() > deadline:
                raise LocalAwsError(f"The local AWS did not start: see {self.log}")
            time.sleep(0.05)

    def __exit__(self, kind: object, *_: object) -> None:
        self._end()
        if kind is None:
            self.log.unlink(missing_ok=True)

    def _end(self) -> None:
        if self._child:
            self._child.end()
            self._child = None

    def client(self, service: str) -> Any:
        """A boto3 client of this AWS."""
        return _client(service, self.endpoint)

    def calls(self, since: float = 0) -> list[Call]:
        """The functions' calls to AWS since then (s since 1970), in order."""
        file = self.folder / RECORDED_CALLS
        lines = file.read_text().splitlines() if file.exists() else []
        found = map(json.loads, lines)
        calls = (Call(**{**one, "actions": frozenset(map(tuple, one["actions"]))}) for one in found)
        return [call for call in calls if call.at >= since]

    def put_secret(self, name: str, value: str) -> None:
        """Store an SSM SecureString."""
        self.client("ssm").put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)

    def deploy(
        self, parameters: Mapping[str, str], stack: str = STACK, *, as_shipped: bool = False
    ) -> Outputs:
        """Deploy the built template, and return the stack's outputs.

        Its functions import the built code from where it is, unless it is uploaded `as_shipped`.
        """
        overrides = {"Architecture": architecture(), **parameters}
        template = build() / "template.yaml" if as_shipped else mounted_template()
        log = LOCAL / f"sam-deploy-{stack}-{self._port}.log"
        sam(
            "deploy",
            log,
            self.environment,
            "--template-file",
            str(template),
            "--stack-name",
            stack,
            "--resolve-s3",
            "--capabilities",
            "CAPABILITY_IAM",
            "--no-confirm-changeset",
            "--no-fail-on-empty-changeset",
            "--no-progressbar",
            "--parameter-overrides",
            *(f'{name}="{value}"' for name, value in overrides.items()),
        )
        log.unlink()
        self._fix_concurrency()
        return self.outputs(stack)

    def outputs(self, stack: str = STACK) -> Outputs:
        """The outputs of a deployed stack, with addresses on this machine."""
        try:
            described = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
            outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
        except (BotoCoreError, ClientError, KeyError) as error:
            raise LocalAwsError(f"Stack {stack} is not deployed at {self.endpoint}.") from error
        return outputs | {
            "ApiUrl": local_url(self.endpoint, outputs["ApiUrl"]),
            "WebhookUrl": local_url(self.endpoint, outputs["WebhookUrl"]),
        }

    def _fix_concurrency(self) -> None:
        """Set the workers' concurrency again: MiniStack 1.5.33 stores a number from a parameter as text."""
        client = self.client("lambda")
        for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
            limit = int(mapping["ScalingConfig"]["MaximumConcurrency"])
            client.update_event_source_mapping(
                UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": limit}
            )

    def empty(self, table: str, **changed: Any) -> None:
        """Empty a table by creating it again, as it was but for these arguments of CreateTable."""
        dynamodb = self.client("dynamodb")
        was = dynamodb.describe_table(TableName=table)["Table"]
        dynamodb.delete_table(TableName=table)
        kept = ("KeySchema", "AttributeDefinitions", "StreamSpecification")
        request = {name: was[name] for name in kept if name in was}
        dynamodb.create_table(TableName=table, BillingMode="PAY_PER_REQUEST", **(request | changed))

    def invoke(self, function: str, event: Any) -> Any:
        """Invoke a function and wait. Raises FunctionError with what it raised."""
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event))
        payload = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise FunctionError(payload.get("errorMessage", payload))
        return payload


class FunctionError(Exception):
    """A function raised."""


def local_url(endpoint: str, url: str) -> str:
    """The local AWS's address for https://{api}.execute-api.…/{stage}/… in the cloud."""
    host, _, path = url.removeprefix("https://").partition("/")
    stage, _, route = path.partition("/")
    return f"{endpoint}/restapis/{host.split('.')[0]}/{stage}/_user_request_/{route}".rstrip("/")


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, outside the range of outgoing connections."""
    while not is_free(port := randrange(20_000, 32_000)):
        pass
    return port


def is_free(port: int) -> bool:
    """Whether nothing listens on that port of 127.0.0.1."""
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


@cache
def _client(service: str, endpoint: str) -> Any:
    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        # A function can take 15 minutes, and a retried call would run it twice. MiniStack now and then fails
        # to read logs while they are written.
        config=Config(read_timeout=960, retries={"total_max_attempts": 5 if service == "logs" else 1}),
    )


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):
            return True
    except OSError:
        return False
