"""The deployed alarms, evaluated on the metrics that the functions really write."""

import json
import operator
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.stack import Stack, eventually
from tests.local.aws.local_aws import ROOT, SECRET_KEY
from tests.local.clerk.fake_users import broken_users, make_user, make_users
from tests.support.deployed_api import event, post

HOUR_MS = 3_600_000
COMPARED = {"GreaterThanThreshold": operator.gt, "GreaterThanOrEqualToThreshold": operator.ge}
STATISTICS: dict[str, Callable[[list[float]], float]] = {"Sum": sum, "Maximum": max}


@dataclass(frozen=True)
class Datum:
    """One value of a metric."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    value: float


def metrics_in(lines: Iterable[str], since: float) -> Iterator[Datum]:
    """The metrics in log lines since then (s since 1970), as CloudWatch extracts them."""
    for line in lines:
        if '"CloudWatchMetrics"' in line:
            record = json.loads(line[line.index("{") :])
            [directive] = record["_aws"]["CloudWatchMetrics"]
            dimensions = frozenset((name, record[name]) for name in directive["Dimensions"][0])
            if record["_aws"]["Timestamp"] >= since * 1000:
                for metric in directive["Metrics"]:
                    for value in record[metric["Name"]]:
                        yield Datum(directive["Namespace"], metric["Name"], dimensions, value)


class Watched:
    """A stack and the metrics that it writes from now on."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._since = time.time()
        alarms = stack.aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
        self.alarms = {self._logical_id(a): a for a in alarms if a["AlarmName"].startswith(f"{stack.name}-")}

    def _logical_id(self, alarm: dict[str, Any]) -> str:
        name: str = alarm["AlarmName"]
        return name.removeprefix(f"{self.stack.name}-").rsplit("-", 1)[0]

    def metrics(self) -> list[Datum]:
        """Every metric that was written."""
        return list(metrics_in(self.stack.function_log(), self._since))

    def values(self, name: str) -> list[float]:
        """The values of one metric."""
        return [datum.value for datum in self.metrics() if datum.name == name]

    def raised(self, data: list[Datum] | None = None) -> set[str]:
        """The alarms that these data raise, or all that was written."""
        data = self.metrics() if data is None else data
        return {name for name, alarm in self.alarms.items() if _is_raised(alarm, data)}


def _is_raised(alarm: dict[str, Any], data: list[Datum]) -> bool:
    assert (alarm["EvaluationPeriods"], alarm["TreatMissingData"]) == (1, "notBreaching")
    dimensions = frozenset((d["Name"], d["Value"]) for d in alarm.get("Dimensions", []))
    wanted = (alarm["Namespace"], alarm["MetricName"], dimensions)
    values = [d.value for d in data if (d.namespace, d.name, d.dimensions) == wanted]
    if not values:
        return False
    is_breaching: bool = COMPARED[alarm["ComparisonOperator"]](
        STATISTICS[alarm["Statistic"]](values), alarm["Threshold"]
    )
    return is_breaching


@pytest.fixture
def watched(stack: Stack) -> Watched:
    return Watched(stack)


def test_healthy_stack_raises_no_alarm(watched: Watched) -> None:
    stack, users = watched.stack, make_users(1_200)
    with stack.clerk(users) as clerk:
        assert stack.backfill()["status"] == "COMPLETED"
        assert post(stack, event(users[0])).status_code == 204
        assert post(stack, event({"id": "org_1"}, "organization.created")).status_code == 204
        clerk.update(users[1]["id"], first_name="New")
        assert post(stack, event(clerk.get(users[1]["id"]) or {})).status_code == 204
        assert stack.backfill({"mode": "incremental"})["status"] == "COMPLETED"
        assert stack.audit({"repair": True})["verdict"] == "OK"
        assert stack.backfill()["status"] == "COMPLETED"
    assert watched.raised([]) == watched.raised() == set()

    def total(name: str) -> float:
        return sum(watched.values(name))

    assert (total("UsersCreated"), total("UsersFailed"), total("UsersSkipped")) == (1_200, 0, 0)
    assert (total("WebhooksAccepted"), total("WebhooksIgnored"), total("WebhooksRejected")) == (2, 1, 0)
    assert total("ClerkRequests") == sum("jwks" not in request.path for request in clerk.requests)
    assert (total("ClerkThrottles"), total("MissedByWebhooks")) == (0, 0)
    assert len(watched.values("RunDuration")) == 4
    assert all(0 <= hours < 0.1 for hours in watched.values("HoursSinceLastFullRun"))
    assert watched.values("HoursSinceLastFullRun"), "from the second run on"


def test_every_alarm_says_what_to_do_and_is_published(watched: Watched) -> None:
    template = (ROOT / "template.yaml").read_text()
    assert len(watched.alarms) == template.count("Type: AWS::CloudWatch::Alarm")
    for name, alarm in watched.alarms.items():
        assert len(alarm["AlarmDescription"]) > 80, name
        assert alarm["AlarmActions"] == [watched.stack.outputs["AlertsTopic"]], name


def test_docs_list_every_alarm(watched: Watched) -> None:
    _, _, rest = (ROOT / "docs/operations.md").read_text().partition("| alarm |")
    table, _, _ = rest.partition("\n\n")
    listed = set(re.findall(r"`(\w+Alarm)`", table))
    one_per_function = {
        name for name in watched.alarms if name.endswith("ErrorsAlarm") and name != "ApiErrorsAlarm"
    }
    assert watched.alarms.keys() - one_per_function <= listed
    assert listed <= watched.alarms.keys()


def test_failed_run_raises_runs_alarm(watched: Watched) -> None:
    watched.stack.aws.put_secret(SECRET_KEY, "sk_test_wrong")
    with watched.stack.clerk(make_users(1)):
        assert watched.stack.backfill()["status"] == "FAILED"
    assert watched.raised() == {"RunsAlarm"}


def test_run_with_errors_raises_runs_alarm(watched: Watched) -> None:
    with watched.stack.clerk([make_user(1), broken_users()[7]]):
        assert watched.stack.backfill()["status"] == "COMPLETED_WITH_ERRORS"
    assert watched.raised() == {"RunsAlarm"}


def test_run_of_over_a_day_raises_run_overdue_alarm_when_the_next_starts(watched: Watched) -> None:
    stack = watched.stack
    with stack.clerk(make_users(10)):
        with stack.workers_paused():
            run_id = stack.backfill({"waitSeconds": 0})["runId"]
            stack.change_run(run_id, "startedAt", int(time.time() * 1000) - 25 * HOUR_MS)
            stack.backfill({"mode": "incremental", "waitSeconds": 0})
            assert watched.raised() == {"RunOverdueAlarm"}
        stack.finished(run_id)


def test_eight_days_without_a_full_run_raise_full_run_alarm(watched: Watched) -> None:
    stack = watched.stack
    with stack.clerk(make_users(3)):
        run_id = stack.backfill()["runId"]
        for days, raised in ((7.9, set()), (8.1, {"FullRunAlarm"})):
            stack.change_run(run_id, "startedAt", int(time.time() * 1000 - days * 24 * HOUR_MS))
            stack.backfill({"mode": "incremental"})
            assert watched.raised() == raised


def test_deletions_held_back_raise_audit_alarm(watched: Watched) -> None:
    stack, users = watched.stack, make_users(20)
    with stack.clerk(users) as clerk:
        stack.backfill()
        for user in users[:12]:
            clerk.delete(user["id"])
        assert stack.audit({"repair": True})["deletionsHeldBack"]
    assert watched.raised() == {"AuditAlarm"}


def test_ten_rejected_webhooks_raise_webhooks_rejected_alarm(watched: Watched) -> None:
    for _ in range(9):
        assert post(watched.stack, event(make_user(1)), {}).status_code == 401
    assert watched.raised() == set()
    assert post(watched.stack, "no event").status_code == 400
    assert watched.raised() == {"WebhooksRejectedAlarm"}


def test_missing_webhooks_raise_webhooks_silent_alarm_once_users_changed(watched: Watched) -> None:
    stack, users = watched.stack, make_users(20)
    now = int(time.time() * 1000)
    with stack.clerk(users) as clerk:
        stack.backfill()
        stack.webhooks_since(now - 25 * HOUR_MS)
        stack.backfill()
        assert watched.raised() == set(), "nobody changed"
        clerk.update(users[0]["id"], first_name="Unheard", updated_at=now - HOUR_MS)
        assert stack.backfill()["missedByWebhooks"] == 1
    assert watched.raised() == {"WebhooksSilentAlarm"}


def test_metrics_of_aws_services_raise_alarms(watched: Watched) -> None:
    outputs, stack = watched.stack.outputs, watched.stack

    def raised(namespace: str, metric: str, value: float, **dimensions: str) -> set[str]:
        return watched.raised([Datum(namespace, metric, frozenset(dimensions.items()), value)])

    dead_letters = outputs["PagesDeadLetterQueue"].rsplit("/", 1)[1]
    waiting = ("AWS/SQS", "ApproximateNumberOfMessagesVisible")
    assert raised(*waiting, 1, QueueName=dead_letters) == {"PagesDeadLetterAlarm"}
    assert raised(*waiting, 0, QueueName=dead_letters) == set()
    queues = stack.aws.client("sqs").list_queues()["QueueUrls"]
    [schedules] = [url for url in queues if f"/{stack.name}-SchedulesDeadLetterQueue" in url]
    assert raised(*waiting, 1, QueueName=schedules.rsplit("/", 1)[1]) == {"SchedulesDeadLetterAlarm"}
    for function in ("Backfill", "Audit", "Worker", "Webhook", "Profile", "Dashboard"):
        name = outputs[f"{function}Function"]
        assert raised("AWS/Lambda", "Errors", 1, FunctionName=name) == {f"{function}ErrorsAlarm"}
    assert raised("AWS/Lambda", "Throttles", 1) == {"ThrottlesAlarm"}
    apis = stack.aws.client("apigateway").get_rest_apis()["items"]
    [api] = [api["name"] for api in apis if f"/{api['id']}/" in outputs["ApiUrl"]]
    assert raised("AWS/ApiGateway", "5XXError", 5, ApiName=api, Stage="v1") == {"ApiErrorsAlarm"}


def test_docs_list_every_metric_with_its_one_dimension(watched: Watched) -> None:
    stack = watched.stack
    with stack.clerk(make_users(3)):
        stack.backfill()
        stack.audit()
    post(stack, event(make_user(1)))
    eventually(lambda: watched.values("WebhooksAccepted"))
    docs = (ROOT / "docs/operations.md").read_text()
    for datum in watched.metrics():
        assert f"| `{datum.name}` |" in docs
        assert datum.namespace == "clerk-sync"
        assert datum.dimensions == {("service", stack.name)}
