"""A deployed stack, as the tests use it."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from clerk_sync.aws.items import Items, from_item, to_item
from clerk_sync.clock import now_ms
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.users.fields import DEFAULT_NAMES
from clerk_sync.users.user import User, parse_user
from clerk_sync.users.write_rule import owned
from clerk_sync.webhook.arrivals import Arrivals
from tests.local.aws.conditions import ALL_ON
from tests.local.aws.local_aws import SECRET_KEY, WEBHOOK_SECRET, LocalAws, Outputs, free_port
from tests.local.clerk.simulated_clerk import SimulatedClerk
from tests.local.commands.sign import LOCAL_SECRET
from tests.local.processes.listing import processes_with
from tests.support.polling import eventually as eventually

ORIGINS = ("http://localhost:3000", "https://app.example.org")

type Row = dict[str, Any]


def wanted_row(payload: Mapping[str, Any]) -> Row:
    """The attributes that the sync should write for this Clerk user."""
    user = parse_user(payload, now_ms())
    assert isinstance(user, User)
    return {**user.fields, "clerkUpdatedAt": user.updated_at}


class Stack:
    """A deployment of template.yaml on the local AWS, with its own simulated Clerk.

    Every optional part is deployed unless `parameters` turn it off.
    """

    def __init__(
        self, aws: LocalAws, name: str, parameters: Mapping[str, str], *, as_shipped: bool = False
    ) -> None:
        self.aws = aws
        self.name = name
        self._clerk_port = free_port()
        self._put_secrets()
        self.outputs: Outputs = aws.deploy(
            {
                **ALL_ON,
                "ClerkApiUrl": f"http://127.0.0.1:{self._clerk_port}/v1",
                "ClerkRequestsPerSecond": "100",
                "ClerkIssuer": f"http://127.0.0.1:{self._clerk_port}",
                "ClerkAuthorizedParties": ", ".join(ORIGINS),
                **parameters,
            },
            name,
            as_shipped=as_shipped,
        )
        self.key = parameters.get("UsersTableKey", "clerkUserId")
        self.runs = RunsTable(Items(aws.client("dynamodb"), self.outputs["RunsTable"]))
        self.pages = PageLedger(Items(aws.client("dynamodb"), self.outputs["RunsTable"]))
        self._pool = ThreadPoolExecutor(8)

    def reset(self) -> None:
        """Empty tables and queues."""
        for table in ("UsersTable", "RunsTable"):
            self.aws.empty(self.outputs[table])
        for queue in ("PagesQueue", "PagesDeadLetterQueue"):
            self.aws.client("sqs").purge_queue(QueueUrl=self.outputs[queue])
        self._put_secrets()

    def _put_secrets(self) -> None:
        self.aws.put_secret(SECRET_KEY, "sk_test_local")
        self.aws.put_secret(WEBHOOK_SECRET, LOCAL_SECRET)

    @contextmanager
    def clerk(self, users: list[dict[str, Any]], **options: Any) -> Iterator[SimulatedClerk]:
        """A Clerk with these users, at the address that the stack uses."""
        with SimulatedClerk(users=users, port=self._clerk_port, **options) as clerk:
            yield clerk

    # Running

    def backfill(self, event: Any = None) -> Any:
        """Invoke BackfillFunction and wait for its answer. Raises FunctionError."""
        return self.aws.invoke(self.outputs["BackfillFunction"], {} if event is None else event)

    def audit(self, event: Any = None) -> Any:
        """Invoke AuditFunction and wait for its answer. Raises FunctionError."""
        return self.aws.invoke(self.outputs["AuditFunction"], {} if event is None else event)

    def start_backfill(self, event: Any = None) -> Future[Any]:
        """`backfill` in the background."""
        return self._pool.submit(self.backfill, event)

    def finished(self, run_id: str, seconds: float = 60) -> Any:
        """The result of a run once it is over."""
        return eventually(
            lambda: (r := self.backfill({"runId": run_id, "waitSeconds": 1}))["status"] != "RUNNING" and r,
            seconds,
        )

    def wait_for_continuations(self, run_id: str, invocations: int = 1) -> None:
        """Wait until this run's `invocations`, and all that continue them, have ended.

        MiniStack 1.5.33 repeats one that is cut off, with the function's settings of that time.
        """

        def have_ended() -> bool:
            lines = [line for line in self.function_log() if run_id in line]
            continued = sum("run_continued" in line for line in lines)
            return sum("run_reported" in line for line in lines) >= invocations + continued

        eventually(have_ended)

    def change_run(self, run_id: str, name: str, value: int) -> None:
        """Set one attribute of a run's record, for example as if time had passed."""
        self.aws.client("dynamodb").update_item(
            TableName=self.outputs["RunsTable"],
            Key=to_item({"runId": run_id, "part": "run"}),
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues=to_item({":value": value}),
        )

    def current_run_id(self) -> str:
        """The id of the latest full run."""
        return eventually(lambda: self.runs.current("full").run_id or "")

    def kill(self, function: str) -> int:
        """Kill the processes of a function, like a crash of its instances. Returns how many."""
        # Another clone's tests may be running a function of the same name.
        found = processes_with(f"{self.aws.folder}/ministack-lambda-{self.outputs[function]}-")
        for process in found:
            os.kill(process, signal.SIGKILL)
        return len(found)

    @contextmanager
    def configured(self, function: str, *, timeout: int | None = None, **variables: str) -> Iterator[None]:
        """The function with another timeout (s) or other environment variables, for a while."""
        client, name = self.aws.client("lambda"), self.outputs[function]
        was = client.get_function_configuration(FunctionName=name)
        environment = {"Variables": was["Environment"]["Variables"] | variables}
        client.update_function_configuration(
            FunctionName=name, Environment=environment, Timeout=timeout or was["Timeout"]
        )
        try:
            yield
        finally:
            client.update_function_configuration(
                FunctionName=name, Environment=was["Environment"], Timeout=was["Timeout"]
            )

    @contextmanager
    def workers_paused(self) -> Iterator[None]:
        """No worker takes pages from the queue, for a while."""
        client = self.aws.client("lambda")
        mappings = client.list_event_source_mappings(FunctionName=self.outputs["WorkerFunction"])
        uuid = mappings["EventSourceMappings"][0]["UUID"]
        client.update_event_source_mapping(UUID=uuid, Enabled=False)
        try:
            yield
        finally:
            client.update_event_source_mapping(UUID=uuid, Enabled=True)

    @contextmanager
    def queue_with(self, **attributes: str) -> Iterator[None]:
        """PagesQueue with other attributes, for a while."""
        sqs, url = self.aws.client("sqs"), self.outputs["PagesQueue"]
        was = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(attributes))["Attributes"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        try:
            yield
        finally:
            sqs.set_queue_attributes(QueueUrl=url, Attributes=was)

    @contextmanager
    def one_delivery(self, users_table: str) -> Iterator[None]:
        """A message that fails once goes to the dead-letter queue, and workers write to this table, for a
        while."""
        policy = json.dumps({"deadLetterTargetArn": self.dead_letter_arn(), "maxReceiveCount": "1"})
        with (
            self.queue_with(RedrivePolicy=policy),
            self.configured("WorkerFunction", MAX_RECEIVE_COUNT="1", USERS_TABLE=users_table),
        ):
            yield

    def dead_letter_arn(self) -> str:
        """The ARN of PagesDeadLetterQueue."""
        answer = self.aws.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs["PagesDeadLetterQueue"], AttributeNames=["QueueArn"]
        )
        arn: str = answer["Attributes"]["QueueArn"]
        return arn

    # Looking

    def rows(self) -> dict[str, Row]:
        """Every row of UsersTable, by its key."""
        found: dict[str, Row] = {}
        pages = self.aws.client("dynamodb").get_paginator("scan")
        for page in pages.paginate(TableName=self.outputs["UsersTable"]):
            for item in map(from_item, page["Items"]):
                found[item.pop(self.key)] = item
        return found

    def put_row(self, user_id: str, **attributes: Any) -> None:
        """Write a row as an app would."""
        self.aws.client("dynamodb").put_item(
            TableName=self.outputs["UsersTable"], Item=to_item({self.key: user_id, **attributes})
        )

    def delete_row(self, user_id: str) -> None:
        """Delete a row as an app might."""
        self.aws.client("dynamodb").delete_item(
            TableName=self.outputs["UsersTable"], Key=to_item({self.key: user_id})
        )

    def webhooks_since(self, moment: int) -> None:
        """Record that the only webhook so far arrived then (ms)."""
        Arrivals(Items(self.aws.client("dynamodb"), self.outputs["RunsTable"])).record(moment)

    def dead_letters(self) -> int:
        """How many messages are in PagesDeadLetterQueue."""
        name = "ApproximateNumberOfMessages"
        answer = self.aws.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs["PagesDeadLetterQueue"], AttributeNames=[name]
        )
        return int(answer["Attributes"][name])

    def redrive(self) -> None:
        """What "Start DLQ redrive" in the console does; MiniStack 1.5.33 lacks StartMessageMoveTask."""
        sqs, url = self.aws.client("sqs"), self.outputs["PagesDeadLetterQueue"]
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.send(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def taken_messages(self) -> list[str]:
        """Take every message off PagesQueue and return the bodies."""
        sqs, url = self.aws.client("sqs"), self.outputs["PagesQueue"]
        taken = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                taken.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return taken

    def is_drained(self) -> bool:
        """Whether PagesQueue has no message, seen or unseen."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.aws.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs["PagesQueue"], AttributeNames=names
        )
        return all(answer["Attributes"][name] == "0" for name in names)

    def send(self, body: str) -> None:
        """Put a message on PagesQueue."""
        self.aws.client("sqs").send_message(QueueUrl=self.outputs["PagesQueue"], MessageBody=body)

    def user_writes_since(self, moment: float) -> set[str]:
        """The operations by which functions may have written to UsersTable since then (s since 1970)."""
        table = f":table/{self.outputs['UsersTable']}"
        reads = ("GetItem", "BatchGetItem", "Query", "Scan", "DescribeTable")
        return {
            call.operation
            for call in self.aws.calls(moment)
            if call.operation not in reads and any(arn.endswith(table) for _, arn in call.actions)
        }

    def recorded(self) -> Iterator[str]:
        """The items of RunsTable, from which results and reports are made."""
        for page in (
            self.aws.client("dynamodb").get_paginator("scan").paginate(TableName=self.outputs["RunsTable"])
        ):
            yield from map(str, page["Items"])

    def dashboards(self) -> Iterator[str]:
        """The bodies of all dashboards."""
        client = self.aws.client("cloudwatch")
        for entry in client.list_dashboards()["DashboardEntries"]:
            yield client.get_dashboard(DashboardName=entry["DashboardName"])["DashboardBody"]

    def log(self) -> str:
        """Everything logged since the local AWS started, its own log included."""
        return "\n".join([self.aws.log.read_text(errors="replace"), *self.function_log()])

    def function_log(self) -> Iterator[str]:
        """The log lines of all functions since the local AWS started."""
        logs = self.aws.client("logs")
        for group in logs.describe_log_groups()["logGroups"]:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                yield from (event["message"] for event in page["events"])


def assert_conserved(result: Mapping[str, Any]) -> None:
    """The counts of a run that is over add up."""
    parts = ("createdCount", "updatedCount", "unchangedCount", "skippedCount", "errorCount")
    assert result["totalClerkUsers"] == sum(result[part] for part in parts), json.dumps(result)
    assert result["successCount"] == sum(result[part] for part in parts[:3])
    assert result["timestamp"] >= result["startedAt"]


def assert_true_to_clerk(rows: Mapping[str, Row], payloads: list[dict[str, Any]]) -> None:
    """Each of these users has a row with exactly Clerk's values, apart from the app's attributes."""
    ours = owned(DEFAULT_NAMES)
    for payload in payloads:
        row = rows[payload["id"]]
        assert {name: value for name, value in row.items() if name in ours} == wanted_row(payload)
