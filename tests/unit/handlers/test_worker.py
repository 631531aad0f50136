import json
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.errors import AwsError, EventError
from clerk_sync.handlers import worker
from clerk_sync.runs import page as page_module
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.page import Page
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.queue import SOONEST_REDRIVE_MS
from clerk_sync.runs.run import Run
from clerk_sync.runs.worker import Worker
from clerk_sync.users.upsert import Planned
from clerk_sync.users.user import User
from tests.support.fake_users_table import FakeUsersTable
from tests.support.runs import RunsInMemory
from tests.support.strategies import stored_as

RUN = Run("full-1", "full", create_missing=True, dry_run=False, started_at=1_000)
READ_AT = 5
VARIABLES = {
    "USERS_TABLE": "Users",
    "USERS_TABLE_KEY": "clerkUserId",
    "RUNS_TABLE": "Runs",
    "PAGES_QUEUE_URL": "https://queue.test",
    "MAX_RECEIVE_COUNT": "5",
    "PLACEHOLDER_PATTERNS": "",
}


class Context(LambdaContext):
    function_name = "worker"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn"
    aws_request_id = "1"

    def __init__(self) -> None:
        pass


class Sqs:
    """Remembers after how many seconds each message is to be delivered again."""

    def __init__(self) -> None:
        self.pauses: list[tuple[str, int]] = []

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:  # noqa: N803
        assert QueueUrl == VARIABLES["PAGES_QUEUE_URL"]
        self.pauses.append((ReceiptHandle, VisibilityTimeout))


class Aws:
    """One page of a run under way, whose message is still to be written."""

    def __init__(self) -> None:
        self.sqs = Sqs()
        self.users_table = FakeUsersTable()
        self.memory = RunsInMemory()
        page = Page.of(RUN, 1, READ_AT, create_missing=True, users=(User("user_1", 5, {}),))
        self.body = page.dump()
        self.memory.send(self.memory.start(RUN), PendingPage(page.token, "", 1, [], Checkpoint()))

    def client(self, service: str) -> Any:
        return {"sqs": self.sqs, "dynamodb": self.memory.dynamodb}[service]

    def counts(self) -> Counts:
        return self.memory.run(RUN.run_id).counts


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    aws = Aws()
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(worker, "client", aws.client)
    monkeypatch.setattr(worker, "UsersTable", lambda *_, **__: aws.users_table)
    return aws


def deliver(body: str, delivery: int = 1, sent_at: int = READ_AT) -> list[str]:
    """The messages that the function wants delivered again."""
    record = {
        "messageId": "m1",
        "receiptHandle": "r1",
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(delivery), "SentTimestamp": str(sent_at)},
    }
    answer = worker.handler({"Records": [record]}, Context())
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def test_a_page_is_written_and_counted(aws: Aws) -> None:
    assert deliver(aws.body) == []
    assert aws.users_table.rows.keys() == {"user_1"}
    assert aws.counts() == Counts(created=1)
    assert aws.sqs.pauses == []


@pytest.mark.parametrize("sent_at", [READ_AT, READ_AT + SOONEST_REDRIVE_MS])
def test_redriven_page_counts_what_was_written_before(sent_at: int, aws: Aws) -> None:
    aws.memory.pages.record_plan(Page.load(aws.body), {"user_1": Planned(True)})
    aws.users_table.rows["user_1"] = dict(stored_as(User("user_1", 5, {})))
    assert deliver(aws.body, sent_at=sent_at) == []
    is_redriven = sent_at > READ_AT
    assert aws.counts() == (Counts(created=1) if is_redriven else Counts(unchanged=1))


@pytest.mark.parametrize(("delivery", "seconds"), [(1, 15), (2, 60), (3, 240), (4, 900), (5, 0)])
def test_a_page_that_aws_fails_is_delivered_again_later_each_time(
    aws: Aws, delivery: int, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AwsError("The table is throttled")

    monkeypatch.setattr(Worker, "work", fails)
    assert deliver(aws.body, delivery) == ["m1"]
    assert aws.sqs.pauses == [("r1", seconds)]


def test_a_message_that_is_not_a_page_goes_to_the_dead_letter_queue_at_once(aws: Aws) -> None:
    assert deliver("hello") == ["m1"]
    assert aws.sqs.pauses == [("r1", 0)]


@pytest.mark.parametrize(("delivery", "seconds"), [(1, 15), (2, 60), (3, 240), (4, 900), (5, 0)])
def test_an_old_worker_leaves_a_page_of_the_next_version_for_a_new_one(
    aws: Aws, delivery: int, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = json.dumps(json.loads(aws.body) | {"version": page_module.VERSION + 1, "more": [1]})
    assert deliver(newer, delivery) == ["m1"]
    assert aws.sqs.pauses == [("r1", seconds)]
    assert (aws.users_table.rows, aws.counts()) == ({}, Counts())

    monkeypatch.setattr(page_module, "VERSION", page_module.VERSION + 1)
    assert deliver(aws.body, delivery + 1) == [], "the new worker reads it"


def test_a_new_worker_writes_pages_that_the_version_before_has_sent(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "VERSION", page_module.VERSION + 1)
    assert deliver(aws.body) == []
    assert aws.users_table.rows.keys() == {"user_1"}
    assert aws.counts() == Counts(created=1)


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"Records": None},
        {"Records": [{}]},
        {"Records": [{"messageId": "m", "receiptHandle": "r", "body": "b", "attributes": {}}]},
        {
            "Records": [
                {
                    "messageId": "m",
                    "receiptHandle": "r",
                    "body": "b",
                    "attributes": {"ApproximateReceiveCount": "-1", "SentTimestamp": "1"},
                }
            ]
        },
    ],
)
def test_an_event_that_is_not_from_sqs_is_refused(event: Any) -> None:
    with pytest.raises(EventError, match="PagesQueue"):
        worker.handler(event, Context())
