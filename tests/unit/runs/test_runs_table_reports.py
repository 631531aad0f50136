"""The metrics of a run that has ended."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from clerk_sync.aws.items import Items
from clerk_sync.errors import AwsError
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import MissedDeletions, Mode, Run
from clerk_sync.webhook.arrivals import Arrivals
from tests.support.fake_dynamodb import peaceful_dynamodb
from tests.support.metrics import RecordedMetrics
from tests.support.runs import RunsInMemory

NOW = 1_800_000_000_000
HOUR_MS = 3_600_000


def an_hour_ago(mode: Mode, *, webhooks_since: int | None = None) -> Run:
    return Run(
        f"{mode}-1",
        mode,
        create_missing=True,
        dry_run=False,
        started_at=NOW - HOUR_MS,
        webhooks_since=webhooks_since,
    )


AUDIT = an_hour_ago("audit")
FULL = an_hour_ago("full")

# Audits that find something


@pytest.mark.parametrize(
    ("found", "has_drift"),
    [
        ({"counts": Counts(unchanged=9)}, False),
        ({"counts": Counts(unchanged=9), "deletions": MissedDeletions(rows=9)}, False),
        ({"counts": Counts(updated=1, unchanged=8, findings=1)}, True),
        ({"counts": Counts(unchanged=8, errors=1)}, True),
        ({"counts": Counts(unchanged=9), "deletions": MissedDeletions(rows=9, found=1)}, True),
        ({"counts": Counts(unchanged=9), "deletions": MissedDeletions(held_back="odd")}, True),
    ],
)
def test_an_audit_that_has_ended_records_once_whether_it_found_drift(
    found: Mapping[str, Any], has_drift: bool, memory: RunsInMemory, recorded: RecordedMetrics
) -> None:
    run_id = memory.paged(AUDIT, **found)
    for _ in range(3):
        memory.runs.finish(run_id, NOW)
    assert recorded.values("AuditsWithDrift") == [has_drift]


def test_an_audit_that_goes_on_records_nothing_yet(memory: RunsInMemory, recorded: RecordedMetrics) -> None:
    memory.runs.finish(memory.paged(AUDIT), NOW)
    assert recorded == []


def test_an_audit_that_failed_does_not_record_whether_there_is_drift(
    memory: RunsInMemory, recorded: RecordedMetrics
) -> None:
    run_id = memory.paged(AUDIT, counts=Counts(errors=1, findings=1), failure="no key")
    memory.runs.finish(run_id, NOW)
    assert recorded.values("AuditsWithDrift") == []
    assert recorded.values("RunsFailed") == [True]


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_only_an_audit_records_whether_there_is_drift(
    mode: Mode, memory: RunsInMemory, recorded: RecordedMetrics
) -> None:
    memory.runs.finish(memory.paged(an_hour_ago(mode), counts=Counts(updated=9, findings=9)), NOW)
    assert recorded.values("AuditsWithDrift") == []
    assert recorded.values("RunsFailed") == [False]


# Webhooks that stay away


@pytest.mark.parametrize(
    ("missed", "hours", "is_silent"),
    [(1, 0, False), (1, 11.9, False), (1, 12, True), (9, 300, True), (0, 12, False), (0, 300, False)],
)
def test_webhooks_are_silent_after_half_a_day_without_one_that_was_due(
    missed: int, hours: float, is_silent: bool, memory: RunsInMemory, recorded: RecordedMetrics
) -> None:
    Arrivals(Items(memory.dynamodb, "RunsTable")).record(NOW - int(hours * HOUR_MS))
    counts = Counts(updated=9, missed_by_webhooks=missed)
    memory.runs.finish(memory.paged(an_hour_ago("full", webhooks_since=1), counts=counts), NOW)
    assert recorded.values("WebhooksSilent") == [is_silent]
    assert recorded.values("HoursSinceLastWebhook") == [hours]


def test_webhooks_that_never_came_are_not_silent(memory: RunsInMemory, recorded: RecordedMetrics) -> None:
    memory.runs.finish(memory.paged(FULL, counts=Counts(updated=9, missed_by_webhooks=9)), NOW)
    assert recorded.values("WebhooksSilent") == []


def test_run_is_reported_when_the_answer_to_its_last_update_was_lost(recorded: RecordedMetrics) -> None:
    def edge[T](what: str, action: Callable[[], T], *, can_repeat: bool = False) -> T:
        answer = action()
        return action() if what.startswith("update run status=") else answer  # as the SDK repeats it

    memory = RunsInMemory(peaceful_dynamodb(edge))
    run = memory.runs.finish(memory.paged(an_hour_ago("full"), counts=Counts(errors=9)), NOW)
    assert run
    assert run.status == "COMPLETED_WITH_ERRORS"
    assert recorded.values("RunsFailed") == [1]
    memory.runs.finish(run.run_id, NOW)
    assert recorded.values("RunsFailed") == [1], "once"


def test_run_is_reported_when_the_time_of_the_last_webhook_cannot_be_read(recorded: RecordedMetrics) -> None:
    def edge[T](what: str, action: Callable[[], T], *, can_repeat: bool = False) -> T:
        if what == "get webhooks":
            raise EndpointConnectionError(endpoint_url="https://dynamodb.test")
        return action()

    memory = RunsInMemory(peaceful_dynamodb(edge))
    run = an_hour_ago("full", webhooks_since=1)
    with pytest.raises(AwsError):
        memory.runs.finish(memory.paged(run, counts=Counts(errors=9)), NOW)
    assert memory.run(run.run_id).status == "COMPLETED_WITH_ERRORS"
    assert recorded.values("RunsFailed") == [1]
    assert recorded.values("RunDuration") == [3600]
