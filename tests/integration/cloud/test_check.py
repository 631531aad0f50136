"""`python3 -m tests.cloud check`: it finds nothing on a healthy stack, and each fault that is planted."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cloud.check import check
from tests.cloud.checks import clerk as clerk_check
from tests.cloud.checks import runs as runs_check
from tests.cloud.checks.schedules import SCHEDULES
from tests.cloud.result import Mark, Result, is_well
from tests.cloud.stack import Clients, find_stack
from tests.integration.stack import Stack
from tests.local.aws.local_aws import CREDENTIALS, REGION, SECRET_KEY, WEBHOOK_SECRET, free_port
from tests.local.clerk.fake_users import broken_users, make_users
from tests.local.clerk.faults import Fault
from tests.local.clerk.session_tokens import jwks, new_key
from tests.local.clerk.simulated_clerk import SimulatedClerk
from tests.local.commands.sign import LOCAL_SECRET
from tests.support.launched import Launched, launched

DAY_MS = 24 * 3600 * 1000
OTHER_SECRET = "whsec_b3RoZXIgc2VjcmV0IG9mIGFub3RoZXIgZW5kcG9pbnQ="

type Check = Callable[..., AbstractContextManager[Launched]]
type Plant = Callable[[Stack, SimulatedClerk], AbstractContextManager[object]]


@pytest.fixture(scope="module")
def healthy(deployed: Stack) -> Iterator[tuple[Stack, SimulatedClerk]]:
    """A stack that has run in every mode and got a webhook, with its alarms reset."""
    deployed.reset()
    cloudwatch = deployed.aws.client("cloudwatch")
    for alarm in cloudwatch.describe_alarms(AlarmNamePrefix=f"{deployed.name}-")["MetricAlarms"]:
        cloudwatch.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="OK", StateReason="reset")
    with deployed.clerk(make_users(20)) as clerk:
        run_all(deployed)
        yield deployed, clerk


def run_all(stack: Stack) -> None:
    results = [stack.backfill(), stack.backfill({"mode": "incremental"}), stack.audit({"repair": True})]
    assert [result["status"] for result in results] == ["COMPLETED"] * 3
    stack.webhooks_since(now_ms())


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def found(stack: Stack, clients: Clients | None = None) -> list[Result]:
    return list(check(find_stack(clients or stack.aws.client, stack.name)))


def wrong_subjects(results: list[Result]) -> set[str]:
    return {result.subject for result in results if result.mark is Mark.WRONG}


def test_check_finds_nothing_on_a_healthy_stack(healthy: tuple[Stack, SimulatedClerk]) -> None:
    stack, _ = healthy
    noted = stack.runs.webhooks()
    rows, runs = stack.rows(), sorted(stack.recorded())
    results = found(stack)
    assert {result.mark for result in results} == {Mark.OK}, results
    assert is_well(results)
    assert len(results) > 20
    assert stack.rows() == rows
    assert (sorted(stack.recorded()), stack.runs.webhooks()) == (runs, noted), "it changes nothing"
    text = json.dumps([result.dump() for result in results])
    assert LOCAL_SECRET not in text
    assert "sk_test_local" not in text


def test_runs_for_another_table_do_not_count(healthy: tuple[Stack, SimulatedClerk]) -> None:
    stack = find_stack(healthy[0].aws.client, healthy[0].name)
    before = stack.outputs["UsersTable"]
    results = list(runs_check.look(replace(stack, outputs={**stack.outputs, "UsersTable": "Another"})))
    assert wrong_subjects(results) == {"full run"}
    assert [result.finding for result in results if f"was for {before}" in result.finding]
    assert not [result for result in results if "synced rows" in result.finding]


# Each plants a fault and removes it again.


@contextmanager
def webhook_secret(stack: Stack, value: str | None) -> Iterator[None]:
    with secret(stack, WEBHOOK_SECRET, value):
        stack.kill("WebhookFunction")  # its process still has the other value
        yield


@contextmanager
def secret(stack: Stack, name: str, value: str | None) -> Iterator[None]:
    ssm = stack.aws.client("ssm")
    was = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    if value is None:
        ssm.delete_parameter(Name=name)
    else:
        stack.aws.put_secret(name, value)
    yield
    stack.aws.put_secret(name, was)


@contextmanager
def configured(stack: Stack, function: str, **variables: str) -> Iterator[None]:
    updated = stack.aws.client("lambda").get_waiter("function_updated_v2")
    with stack.configured(function, timeout=None, **variables):
        yield
    updated.wait(FunctionName=stack.outputs[function], WaiterConfig={"Delay": 1})


@contextmanager
def schedule(stack: Stack, mode: str, **changes: Any) -> Iterator[None]:
    client = stack.aws.client("scheduler")
    name = find_stack(stack.aws.client, stack.name).resources[SCHEDULES[mode][0]]
    known = ("Name", "ScheduleExpression", "State", "FlexibleTimeWindow", "Target", "Description")
    was = {key: value for key, value in client.get_schedule(Name=name).items() if key in known}
    client.update_schedule(**was | changes)
    yield
    client.update_schedule(**was)


@contextmanager
def message(stack: Stack, logical_id: str) -> Iterator[None]:
    sqs = stack.aws.client("sqs")
    url = find_stack(stack.aws.client, stack.name).resources[logical_id]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    yield
    sqs.purge_queue(QueueUrl=url)


@contextmanager
def waiting_page(stack: Stack) -> Iterator[None]:
    with stack.workers_paused(), message(stack, "PagesQueue"):
        yield


@contextmanager
def table_with_key(stack: Stack, key: str) -> Iterator[None]:
    rows = list(stack.rows().items())

    def make(key: str) -> None:
        stack.aws.empty(
            stack.outputs["UsersTable"],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        )

    make(key)
    yield
    make(stack.key)
    for user_id, row in rows:
        stack.put_row(user_id, **row)


@contextmanager
def clerk_has(clerk: SimulatedClerk, name: str, value: str) -> Iterator[None]:
    was = getattr(clerk, name)
    setattr(clerk, name, value)
    yield
    setattr(clerk, name, was)


@contextmanager
def clerk_answers(clerk: SimulatedClerk, path: str, fault: Fault) -> Iterator[None]:
    clerk.on_request = lambda _, request: fault if request.path == path else None
    yield
    clerk.on_request = None


@contextmanager
def run_record(stack: Stack, mode: Any, **values: int) -> Iterator[None]:
    """The last run of a mode with these attributes changed."""
    run_id = stack.runs.current(mode).run_id
    assert run_id
    table = {"TableName": stack.outputs["RunsTable"], "Key": {"runId": {"S": run_id}, "part": {"S": "run"}}}
    was = stack.aws.client("dynamodb").get_item(**table)["Item"]
    for name, value in values.items():
        stack.change_run(run_id, name, int(was[name]["N"]) + value)
    yield
    stack.aws.client("dynamodb").put_item(TableName=table["TableName"], Item=was)


@contextmanager
def failed_run(stack: Stack, clerk: SimulatedClerk) -> Iterator[None]:
    with clerk_has(clerk, "secret_key", "sk_test_other"):
        assert stack.backfill()["status"] == "FAILED"
    yield
    stack.backfill()


@contextmanager
def run_with_errors(stack: Stack, clerk: SimulatedClerk) -> Iterator[None]:
    [user, *_] = broken_users()
    before = set(clerk.ids())
    clerk.add(user)
    assert stack.backfill()["status"] == "COMPLETED_WITH_ERRORS"
    yield
    for user_id in set(clerk.ids()) - before:
        clerk.delete(user_id)
    stack.backfill()


@contextmanager
def audit_with_drift(stack: Stack, clerk: SimulatedClerk) -> Iterator[None]:
    user_id = clerk.ids()[0]
    row = stack.rows()[user_id]
    stack.put_row(user_id, **row | {"email": "other@example.org"})
    assert stack.audit()["verdict"] == "DRIFT"
    yield
    stack.put_row(user_id, **row)
    assert stack.audit()["verdict"] == "OK"


@contextmanager
def webhooks_stopped(stack: Stack) -> Iterator[None]:
    stack.webhooks_since(now_ms() - DAY_MS)
    with run_record(stack, "incremental", missedByWebhooks=3):
        yield
    stack.webhooks_since(now_ms())


@contextmanager
def subscription(stack: Stack, endpoint: str) -> Iterator[None]:
    sns, topic = stack.aws.client("sns"), stack.outputs["AlertsTopic"]
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint)
    yield
    for one in sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
        if one["Endpoint"] == endpoint:
            sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])


@contextmanager
def unsubscribed(stack: Stack) -> Iterator[None]:
    sns, topic = stack.aws.client("sns"), stack.outputs["AlertsTopic"]
    [was] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    sns.unsubscribe(SubscriptionArn=was["SubscriptionArn"])
    yield
    sns.subscribe(TopicArn=topic, Protocol=was["Protocol"], Endpoint=was["Endpoint"])


@contextmanager
def alarm(stack: Stack, logical_id: str) -> Iterator[None]:
    cloudwatch = stack.aws.client("cloudwatch")
    name = find_stack(stack.aws.client, stack.name).resources[logical_id]
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="planted")
    yield
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="taken away")


@contextmanager
def switched_off(stack: Stack, function: str) -> Iterator[None]:
    client, name = stack.aws.client("lambda"), stack.outputs[function]
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    yield
    client.delete_function_concurrency(FunctionName=name)


NO_KEYS = Fault.status(404)
OTHER_KEYS = Fault.status(200, body=json.dumps(jwks({"other": new_key()})).encode())
REACHED = {"webhook endpoint", "webhook signatures"}

FAULTS: dict[str, tuple[Plant, set[str]]] = {
    "an unknown extra field": (
        lambda s, _: configured(s, "WebhookFunction", EXTRA_FIELDS="password"),
        {"WebhookFunction", *REACHED},
    ),
    "no secret key": (lambda s, _: secret(s, SECRET_KEY, None), {"secret key"}),
    "a publishable key": (lambda s, _: secret(s, SECRET_KEY, "pk_test_x"), {"secret key"}),
    "a key that Clerk refuses": (lambda s, _: secret(s, SECRET_KEY, "sk_test_other"), {"Clerk"}),
    "a key of another instance": (lambda _, c: clerk_has(c, "instance_id", "ins_other"), {"instance"}),
    "no webhook secret": (lambda s, _: webhook_secret(s, None), {"webhook secret", "webhook signatures"}),
    "a webhook secret that is cut": (
        lambda s, _: webhook_secret(s, "whsec_%"),
        {"webhook secret", "webhook signatures"},
    ),
    "a function with another webhook secret": (
        lambda s, _: configured(s, "WebhookFunction", CLERK_WEBHOOK_SECRET=OTHER_SECRET),
        {"WebhookFunction", "webhook endpoint"},
    ),
    "a webhook function that answers 500": (
        lambda s, _: configured(s, "WebhookFunction", CREATE_MISSING_USERS="perhaps"),
        {"WebhookFunction", *REACHED},
    ),
    "a webhook function that is switched off": (
        lambda s, _: switched_off(s, "WebhookFunction"),
        {"WebhookFunction"},
    ),
    "a worker with another key": (
        lambda s, _: configured(s, "WorkerFunction", USERS_TABLE_KEY="sub"),
        {"WorkerFunction"},
    ),
    "a table with another key": (lambda s, _: table_with_key(s, "sub"), {"users table"}),
    "an issuer without keys": (
        lambda _, c: clerk_answers(c, "/.well-known/jwks.json", NO_KEYS),
        {"page loads"},
    ),
    "an issuer of another instance": (
        lambda _, c: clerk_answers(c, "/.well-known/jwks.json", OTHER_KEYS),
        {"page loads"},
    ),
    "origins that are not let in": (
        lambda s, _: configured(s, "ProfileFunction", CLERK_AUTHORIZED_PARTIES="https://other.example.org"),
        {"ProfileFunction", "page load origins"},
    ),
    "a disabled schedule": (lambda s, _: schedule(s, "full", State="DISABLED"), {"full schedule"}),
    "a changed schedule": (
        lambda s, _: schedule(s, "audit", ScheduleExpression="rate(90 days)"),
        {"audit schedule"},
    ),
    "a disabled trigger": (lambda s, _: s.workers_paused(), {"workers"}),
    "a page that waits though nothing runs": (lambda s, _: waiting_page(s), {"workers", "pages waiting"}),
    "no redrive policy": (lambda s, _: s.queue_with(RedrivePolicy=""), {"redrive policy"}),
    "a page given up": (lambda s, _: message(s, "PagesDeadLetterQueue"), {"pages given up"}),
    "a run that was not started": (lambda s, _: message(s, "SchedulesDeadLetterQueue"), {"runs not started"}),
    "a last run of long ago": (
        lambda s, _: run_record(s, "full", startedAt=-30 * DAY_MS, timestamp=-30 * DAY_MS),
        {"full run"},
    ),
    "a failed run": (failed_run, {"full run"}),
    "a run with errors": (run_with_errors, {"full run"}),
    "an audit with drift": (audit_with_drift, {"audit"}),
    "webhooks that stopped": (lambda s, _: webhooks_stopped(s), {"webhooks from Clerk"}),
    "a subscription that is not confirmed": (
        lambda s, _: subscription(s, f"http://127.0.0.1:{free_port()}/"),
        {"alarm notifications"},
    ),
    "an address without a subscription": (lambda s, _: unsubscribed(s), {"alarm notifications"}),
    "an alarm that fires": (lambda s, _: alarm(s, "RunsAlarm"), {"alarms"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_check_finds_a_planted_fault_and_nothing_else(
    healthy: tuple[Stack, SimulatedClerk], name: str
) -> None:
    stack, clerk = healthy
    plant, subjects = FAULTS[name]
    with plant(stack, clerk):
        results = found(stack)
    assert wrong_subjects(results) == subjects, [r.line() for r in results if r.mark is not Mark.OK]
    assert all(result.to_do for result in results if result.mark is Mark.WRONG)
    assert not is_well(results)


def test_check_finds_nothing_after_the_faults_are_removed(healthy: tuple[Stack, SimulatedClerk]) -> None:
    assert wrong_subjects(found(healthy[0])) == set()


def test_check_without_an_answer_from_clerk_is_undecided(
    healthy: tuple[Stack, SimulatedClerk], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, clerk = healthy
    monkeypatch.setattr(clerk_check, "PATIENCE_SECONDS", 0.1)
    with clerk_answers(clerk, "/v1/instance", Fault.html(502)):
        results = found(stack)
    [answer] = [result for result in results if result.subject == "Clerk"]
    assert answer.mark is Mark.UNKNOWN
    assert "502" in answer.finding
    assert wrong_subjects(results) == set()
    assert not is_well(results)


class Refusing:
    """A client that rejects every call."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*_: Any, **__: Any) -> Any:
            raise ClientError({"Error": {"Code": self._code, "Message": ""}}, name)

        return call


@pytest.mark.parametrize(
    ("code", "leaves_it_open"), [("AccessDeniedException", True), ("InvalidAction", False)]
)
def test_check_without_an_answer_from_aws_is_undecided(
    healthy: tuple[Stack, SimulatedClerk], code: str, *, leaves_it_open: bool
) -> None:
    stack, _ = healthy
    refused = Refusing(code)
    results = found(stack, lambda name: refused if name == "sns" else stack.aws.client(name))
    [answer] = [result for result in results if result.mark is Mark.UNKNOWN]
    assert answer.subject == "alarms"
    assert bool(answer.to_do) == leaves_it_open
    assert is_well(results) != leaves_it_open


# The command itself.


@pytest.fixture
def checking(deployed: Stack, tmp_path: Path) -> Check:
    account = {"AWS_ENDPOINT_URL": deployed.aws.endpoint, "HOME": str(tmp_path), **CREDENTIALS}

    def check(*arguments: str, region: str = REGION) -> AbstractContextManager[Launched]:
        environment = account | ({"AWS_DEFAULT_REGION": region} if region else {})
        return launched("check", *arguments, package="tests.cloud", folder=tmp_path, environment=environment)

    return check


def test_check_command_prints_a_line_per_result_and_exits_with_0(
    healthy: tuple[Stack, SimulatedClerk], checking: Check
) -> None:
    with checking(healthy[0].name) as command:
        assert command.finish() == 0, command.said
    *lines, empty, last = command.said.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    assert (empty, last) == ("", f"All is well: {len(lines)} ok.")


def test_check_command_exits_with_1_if_something_is_wrong(
    healthy: tuple[Stack, SimulatedClerk], checking: Check
) -> None:
    stack, _ = healthy
    with secret(stack, SECRET_KEY, None), checking(stack.name, "--json") as command:
        assert command.finish() == 1, command.said
    report = json.loads(command.said)
    assert (report["stack"], report["region"], report["isWell"]) == (stack.name, REGION, False)
    [fault] = [result for result in report["results"] if result["mark"] == "wrong"]
    assert fault["subject"] == "secret key"
    assert fault["finding"] == f"There is no SSM parameter {SECRET_KEY}."
    assert "aws ssm put-parameter" in fault["toDo"]


@pytest.mark.parametrize(
    ("name", "region", "message"),
    [
        ("no-stack", REGION, "There is no stack no-stack in us-east-1 of this AWS account. Name the stack"),
        ("aws-sam-cli-managed-default", REGION, "has no output RunsTable: it is not a stack of clerk-sync"),
        ("clerk-sync", "", "No AWS region is set. Set AWS_DEFAULT_REGION"),
    ],
)
def test_check_command_says_in_one_line_why_it_cannot_check(
    checking: Check, name: str, region: str, message: str
) -> None:
    with checking(name, region=region) as command:
        assert command.finish() == 1
    assert command.said.count("\n") == 1, command.said
    assert message in command.said
