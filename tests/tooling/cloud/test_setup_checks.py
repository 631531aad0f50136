"""What the checks of deployment, functions, secrets, the instance and AWS's parts decide."""

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import boto3
import pytest
from botocore.stub import Stubber

from clerk_sync.handlers.environment import Environment
from clerk_sync.runs.run import Run
from tests.cloud.checks import alarms, clerk, deployment, extra_fields, functions, queues, schedules, secrets
from tests.cloud.checks.secrets import Stored
from tests.cloud.result import Mark, Result
from tests.cloud.stack import Stack, find_stack
from tests.local.aws.local_aws import ROOT

NOW = 1_800_000_000_000
SIGNING = "whsec_" + base64.b64encode(b"made up").decode()


def assert_wrong(result: Result, finding: str, to_do: str) -> None:
    assert result.mark is Mark.WRONG
    assert finding in result.finding
    assert to_do in result.to_do


@pytest.mark.parametrize(
    ("status", "mark"),
    [
        ("CREATE_COMPLETE", Mark.OK),
        ("UPDATE_COMPLETE", Mark.OK),
        ("UPDATE_IN_PROGRESS", Mark.WRONG),
        ("UPDATE_ROLLBACK_COMPLETE", Mark.WRONG),
        ("UPDATE_ROLLBACK_FAILED", Mark.WRONG),
        ("DELETE_FAILED", Mark.WRONG),
    ],
)
def test_a_deployment_that_is_not_done_or_failed_is_wrong(status: str, mark: Mark) -> None:
    assert deployment.status_result("clerk-sync", status).mark is mark


def test_an_output_that_is_missing_is_named() -> None:
    assert deployment.outputs_result(deployment.OUTPUTS, deployment.OUTPUTS).mark is Mark.OK
    some = deployment.OUTPUTS - {"WebhookUrl"}
    assert_wrong(deployment.outputs_result(some, deployment.OUTPUTS), "no WebhookUrl", "sam deploy")


def test_the_outputs_that_are_expected_are_the_template_s() -> None:
    _, _, section = (ROOT / "template.yaml").read_text().partition("\nOutputs:\n")
    names = set(re.findall(r"^  (\w+):$", section, re.MULTILINE))
    assert names == deployment.OUTPUTS | {deployment.PROFILE_OUTPUT, deployment.STREAM_OUTPUT}


def test_extra_field_that_is_unknown_is_wrong() -> None:
    result = extra_fields.extra_fields_result("phoneNumber,password")
    assert_wrong(result, "can't name password. It can name: phoneNumber, ", "ExtraFields")
    assert extra_fields.extra_fields_result("").mark is Mark.OK
    assert extra_fields.extra_fields_result("phoneNumber,publicMetadata").mark is Mark.OK


def test_an_environment_variable_is_a_parameter_in_upper_case() -> None:
    assert functions.upper_snake("ClerkApiUrl") == "CLERK_API_URL"
    assert functions.upper_snake("UsersTableKey") == "USERS_TABLE_KEY"


class Settings(Environment):
    clerk_api_url: str
    page_size: Annotated[int, int] = 0


def test_a_function_s_variables_are_compared_with_the_parameters_and_never_quoted() -> None:
    expected = {"CLERK_API_URL": "https://api.clerk.com/v1", "POWERTOOLS_SERVICE_NAME": "clerk-sync"}

    def fault(**variables: str) -> str:
        found = functions.variables_fault("f", expected | variables, expected, Settings)
        return found[0] if found else ""

    assert fault(OTHER="x") == ""
    differs = "The environment does not say what the stack's parameters say: "
    assert fault(CLERK_API_URL="https://hidden.example") == f"{differs}CLERK_API_URL."
    assert fault(CLERK_API_URL="") == f"{differs}CLERK_API_URL."
    assert fault(POWERTOOLS_SERVICE_NAME="other") == f"{differs}POWERTOOLS_SERVICE_NAME."
    assert "PAGE_SIZE" in fault(PAGE_SIZE="many")
    found = fault(CLERK_SECRET_KEY="sk_live_hidden")
    assert "CLERK_SECRET_KEY is used in place of SSM" in found
    assert "hidden" not in found


@pytest.mark.parametrize(
    ("configuration", "concurrency", "said"),
    [
        ({"State": "Active", "LastUpdateStatus": "Successful"}, None, ""),
        ({"State": "Inactive", "LastUpdateStatus": "Successful"}, 5, ""),
        ({"State": "Failed", "StateReason": "no subnet"}, None, "State is Failed: no subnet"),
        ({"State": "Active", "LastUpdateStatus": "InProgress"}, None, "LastUpdateStatus is InProgress"),
        ({"State": "Active"}, 0, "switched off"),
    ],
)
def test_a_function_that_cannot_be_invoked_is_found(
    configuration: dict[str, str], concurrency: int | None, said: str
) -> None:
    fault = functions.state_fault("f", configuration, concurrency)
    assert said in fault[0] if fault else not said


@pytest.mark.parametrize(
    ("stored", "finding"),
    [
        (None, "There is no SSM parameter /p."),
        (Stored("sk_live_hidden", "String"), "stored in plain text"),
        (Stored("", "SecureString"), "is empty"),
        (Stored("sk_live_", "SecureString"), "is damaged or cut"),
        (Stored("sk_live_hidden hidden", "SecureString"), "is damaged or cut"),
        (Stored("pk_live_hidden", "SecureString"), "is a publishable key, not a secret key"),
        (Stored(SIGNING, "SecureString"), "is a signing secret, not a secret key"),
        (Stored("hidden", "SecureString"), "is something else"),
    ],
)
def test_a_secret_key_that_is_missing_or_malformed_is_found(stored: Stored | None, finding: str) -> None:
    result = secrets.secret_key_result("/p", stored)
    assert_wrong(result, finding, "aws ssm put-parameter --name /p --type SecureString")
    assert "hidden" not in result.finding + result.to_do


def test_a_secret_key_says_its_environment_and_is_not_shown() -> None:
    for value, environment in [("sk_live_abc", "production"), ("sk_test_abc", "development")]:
        result = secrets.secret_key_result("/p", Stored(value, "SecureString"))
        assert result.mark is Mark.OK
        assert environment in result.finding
        assert "abc" not in result.finding
    assert "abc" not in repr(Stored("sk_live_abc", "SecureString"))


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        ("whsec_", "is damaged or cut"),
        ("whsec_%%%", "is damaged or cut"),
        ("sk_live_x", "is a secret key, not a signing secret"),
        (f"{SIGNING}, whsec_%", "1 of the 2 that SSM has in /p is damaged or cut"),
    ],
)
def test_a_signing_secret_that_is_malformed_is_found(value: str, finding: str) -> None:
    result = secrets.webhook_secret_result("/p", Stored(value, "SecureString"))
    assert_wrong(result, finding, "whsec_…")


def test_several_signing_secrets_are_counted() -> None:
    result = secrets.webhook_secret_result("/p", Stored(f"{SIGNING},{SIGNING} {SIGNING}", "SecureString"))
    assert (result.mark, result.finding) == (Mark.OK, "/p holds 3 signing secrets")


def test_the_key_of_another_instance_is_found() -> None:
    assert clerk.instance_result("ins_1", "ins_1").mark is Mark.OK
    assert clerk.instance_result("ins_1", None).mark is Mark.OK
    result = clerk.instance_result("ins_2", "ins_1")
    assert_wrong(result, "key is that of ins_2, but the table belongs to ins_1", "secret key of the table's")


CRON = "cron(0 2 ? * SUN *)"
SCHEDULE = {
    "Name": "s",
    "State": "ENABLED",
    "ScheduleExpression": CRON,
    "Target": {"Arn": "arn:aws:lambda:x:1:function:f"},
}


@pytest.mark.parametrize(
    ("schedule", "expression", "finding"),
    [
        (SCHEDULE, CRON, None),
        (SCHEDULE | {"State": "DISABLED"}, "never", None),
        (SCHEDULE | {"State": "DISABLED"}, "", None),
        (SCHEDULE, "never", "It is enabled, but P turns it off."),
        (SCHEDULE | {"State": "DISABLED"}, CRON, "It is disabled"),
        (SCHEDULE | {"ScheduleExpression": "rate(1 day)"}, CRON, "It is rate(1 day), but P says cron("),
        (SCHEDULE | {"Target": {"Arn": "arn:aws:lambda:x:1:function:other"}}, CRON, "does not invoke f"),
        (None, CRON, "It was deleted."),
    ],
)
def test_a_schedule_is_compared_with_its_parameter(
    schedule: dict[str, Any] | None, expression: str, finding: str | None
) -> None:
    result = schedules.schedule_result("full schedule", schedule, expression, "P", "f")
    if finding is None:
        assert result.mark is Mark.OK
    else:
        assert_wrong(result, finding, "delete the stack" if schedule is None else ": s.")


QUEUE = "arn:aws:sqs:x:1:pages"
MAPPING = {
    "UUID": "u",
    "EventSourceArn": QUEUE,
    "State": "Enabled",
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "ScalingConfig": {"MaximumConcurrency": 5},
}


def test_a_trigger_that_is_off_gone_or_loses_failures_is_found() -> None:
    assert queues.mapping_result([MAPPING], QUEUE).mark is Mark.OK
    off = queues.mapping_result([MAPPING | {"State": "Disabled"}], QUEUE)
    assert_wrong(off, "is Disabled: no page is written", "--uuid u --enabled")
    assert_wrong(queues.mapping_result([], QUEUE), "not invoked", "Create the event source mapping")
    assert_wrong(queues.mapping_result([MAPPING], QUEUE + "2"), "not invoked", "event source mapping")
    losing = queues.mapping_result([MAPPING | {"FunctionResponseTypes": []}], QUEUE)
    assert_wrong(losing, "would be lost", "Report batch item failures")


def test_pages_wait_only_while_a_run_is_under_way() -> None:
    run = Run("full-1", "full", create_missing=True, dry_run=False, started_at=NOW - queues.SLOW_MS, pages=9)
    assert queues.backlog_result(0, [], NOW).mark is Mark.OK
    assert queues.backlog_result(3_000, [run], NOW).finding == "3,000, while a run is under way"
    assert_wrong(queues.backlog_result(2, [], NOW), "2, though no run", "page_failed")


def test_pages_that_no_worker_takes_are_found() -> None:
    slow = Run("full-1", "full", create_missing=True, dry_run=False, started_at=NOW - 360_000, pages=9)
    said = "4; full-1 began 6 min ago, and no page of it is written"
    assert_wrong(queues.backlog_result(4, [slow], NOW), said, "page_failed")
    assert queues.backlog_result(4, [replace(slow, settled_pages=1)], NOW).mark is Mark.OK
    assert queues.backlog_result(4, [replace(slow, pages=0)], NOW).mark is Mark.OK, "none was sent yet"


def test_a_dead_letter_is_found() -> None:
    assert queues.dead_letters_result("pages given up", 0, "Redrive.").mark is Mark.OK
    assert_wrong(queues.dead_letters_result("pages given up", 1, "Redrive."), "1.", "Redrive.")


@pytest.mark.parametrize("attributes", [{}, {"RedrivePolicy": '{"deadLetterTargetArn": "other"}'}])
def test_a_queue_that_sets_nothing_aside_is_found(attributes: dict[str, str]) -> None:
    assert_wrong(queues.redrive_result(attributes, "dlq"), "not set aside", "PagesDeadLetterQueue")


def test_an_address_that_is_not_subscribed_or_not_confirmed_is_found() -> None:
    mine = {"Protocol": "email", "Endpoint": "me@example.org"}
    other = {"Protocol": "https", "Endpoint": "https://example.org"}

    def result(*subscriptions: dict[str, str], pending: int = 0, email: str = "me@example.org") -> Result:
        found = alarms.subscriptions_result(subscriptions, pending, email, "arn:topic")
        assert "me@" not in found.finding + found.to_do
        return found

    assert result(mine, other).finding == "2 confirmed"
    assert_wrong(result(mine, other, pending=1), "1 of AlertsTopic's 2 subscriptions", "Open the link")
    assert_wrong(result(other), "no subscription", "aws sns subscribe --topic-arn arn:topic")
    assert result(email="").mark is Mark.OK
    assert result(email="").finding.startswith("off, as AlertEmail is empty")
    assert result(other, email="").finding == "1 confirmed"


def test_subscription_that_was_cancelled_is_none() -> None:
    # SNS lists it for three more days.
    cancelled = {"Protocol": "email", "Endpoint": "me@example.org", "SubscriptionArn": "Deleted"}
    clients = {name: boto3.client(name, region_name="eu-west-1") for name in ("sns", "cloudwatch")}
    outputs, parameters = {"AlertsTopic": "arn:topic"}, {"AlertEmail": "me@example.org"}
    stack = Stack(clients.__getitem__, "clerk-sync", "CREATE_COMPLETE", parameters, outputs, {})
    with Stubber(clients["sns"]) as sns:
        sns.add_response("list_subscriptions_by_topic", {"Subscriptions": [cancelled]})
        assert_wrong(next(alarms.look(stack)), "has no subscription: it was cancelled", "aws sns subscribe")


def test_resource_that_an_update_removed_is_not_the_stack_s() -> None:
    cloudformation = boto3.client("cloudformation", region_name="eu-west-1")
    summaries = [
        {
            "LogicalResourceId": name,
            "PhysicalResourceId": f"clerk-sync-{name}",
            "ResourceType": "AWS::CloudWatch::Alarm",
            "LastUpdatedTimestamp": datetime(2026, 11, 21, tzinfo=UTC),
            "ResourceStatus": status,
        }
        for name, status in {"RunsAlarm": "UPDATE_COMPLETE", "ProfileErrorsAlarm": "DELETE_COMPLETE"}.items()
    ]
    described = {
        "StackName": "clerk-sync",
        "StackStatus": "UPDATE_COMPLETE",
        "CreationTime": datetime(2026, 11, 21, tzinfo=UTC),
        "Outputs": [{"OutputKey": "RunsTable", "OutputValue": "clerk-sync-RunsTable"}],
    }
    with Stubber(cloudformation) as stub:
        stub.add_response("describe_stacks", {"Stacks": [described]})
        stub.add_response("list_stack_resources", {"StackResourceSummaries": summaries})
        found = find_stack(lambda _: cloudformation, "clerk-sync")
    assert found.resources == {"RunsAlarm": "clerk-sync-RunsAlarm"}


def test_an_alarm_that_fires_is_disabled_or_gone_is_found_by_name() -> None:
    def alarm(name: str, state: str = "OK", *, enabled: bool = True) -> dict[str, Any]:
        return {
            "AlarmName": name,
            "StateValue": state,
            "ActionsEnabled": enabled,
            "AlarmDescription": f"do {name}",
        }

    names = {"RunsAlarm": "a", "AuditAlarm": "b"}
    [fine] = alarms.alarms_results(names, [alarm("a"), alarm("b", "INSUFFICIENT_DATA"), alarm("c", "ALARM")])
    assert fine.mark is Mark.OK
    fires, silent = alarms.alarms_results(names, [alarm("a", "ALARM"), alarm("b", enabled=False)])
    assert_wrong(fires, "RunsAlarm is in alarm", "do a")
    assert_wrong(silent, "AuditAlarm notifies nobody", "enable-alarm-actions --alarm-names b")
    [gone] = alarms.alarms_results(names, [alarm("a")])
    assert_wrong(gone, "AuditAlarm was deleted", "delete the stack")
