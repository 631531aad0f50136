"""Do the workers take pages from the queue, and is nothing left over?"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from clerk_sync.aws.items import Items
from clerk_sync.clock import now_ms
from clerk_sync.dashboard.wording import ago
from clerk_sync.runs.run import Mode, Run
from clerk_sync.runs.runs_table import RunsTable
from tests.cloud.result import Result, ok, wrong
from tests.cloud.stack import Stack

SLOW_MS = 5 * 60 * 1000
"""After this time a worker should have written the first page of a run."""
REDRIVE = "see docs/operations.md, Redrive failed pages."
COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


def look(stack: Stack) -> Iterator[Result]:
    pages = _attributes(stack, "PagesQueue")
    dead_letters = _attributes(stack, "PagesDeadLetterQueue")
    mappings = stack.client("lambda").list_event_source_mappings(FunctionName=stack.outputs["WorkerFunction"])
    yield mapping_result(mappings["EventSourceMappings"], pages["QueueArn"])
    runs = RunsTable(Items(stack.client("dynamodb"), stack.outputs["RunsTable"]))
    current = [runs.current(mode).run for mode in get_args(Mode)]
    yield backlog_result(messages(pages), [run for run in current if run and not run.is_over], now_ms())
    yield redrive_result(pages, dead_letters["QueueArn"])
    yield dead_letters_result(
        "pages given up",
        messages(dead_letters),
        f"Read why in WorkerFunction's log (page_failed), correct that and redrive the queue: {REDRIVE}",
    )
    yield dead_letters_result(
        "runs not started",
        messages(_attributes(stack, "SchedulesDeadLetterQueue")),
        "The message in SchedulesDeadLetterQueue says why. Correct that, delete it, and invoke the function.",
    )


def messages(attributes: Mapping[str, str]) -> int:
    """How many messages a queue has, seen or unseen."""
    return sum(int(attributes[name]) for name in COUNTS)


def mapping_result(mappings: Sequence[Mapping[str, Any]], queue: str) -> Result:
    """Whether WorkerFunction is invoked with the messages of this queue (ARN)."""
    subject = "workers"
    found = next((mapping for mapping in mappings if mapping["EventSourceArn"] == queue), None)
    if found is None:
        to_do = (
            "Create the event source mapping in the Lambda console: PagesQueue as the source, batch size 1, "
            "'Report batch item failures' on."
        )
        return wrong(subject, "WorkerFunction is not invoked with the pages of PagesQueue.", to_do)
    if found["State"] not in ("Enabled", "Enabling", "Updating", "Creating"):
        command = f"aws lambda update-event-source-mapping --uuid {found['UUID']} --enabled"
        return wrong(subject, f"WorkerFunction's trigger is {found['State']}: no page is written.", command)
    if "ReportBatchItemFailures" not in found.get("FunctionResponseTypes", []):
        to_do = f"Turn on 'Report batch item failures' of the trigger {found['UUID']} in the Lambda console."
        return wrong(subject, "What a worker could not write would be lost.", to_do)
    limit = found.get("ScalingConfig", {}).get("MaximumConcurrency", "any number of")
    return ok(subject, f"write the pages of PagesQueue, {limit} at once")


def backlog_result(waiting: int, runs: Sequence[Run], now: int) -> Result:
    """Whether pages wait that none of the runs under way is for, or that no worker takes."""
    subject = "pages waiting"
    log = "Read WorkerFunction's log (page_failed): pages that fail are tried again for up to 30 minutes."
    if not waiting:
        return ok(subject, "0")
    if not runs:
        return wrong(subject, f"{waiting:,}, though no run is under way.", log)
    for run in runs:
        if run.pages and not run.settled_pages and now - run.started_at > SLOW_MS:
            since = ago(now - run.started_at)
            return wrong(
                subject, f"{waiting:,}; {run.run_id} began {since}, and no page of it is written.", log
            )
    return ok(subject, f"{waiting:,}, while a run is under way")


def redrive_result(attributes: Mapping[str, str], dead_letter_queue: str) -> Result:
    """Whether PagesQueue sets pages that fail aside in this queue (ARN)."""
    policy = json.loads(attributes.get("RedrivePolicy") or "{}")
    if policy.get("deadLetterTargetArn") != dead_letter_queue:
        to_do = "In the SQS console, edit PagesQueue: set PagesDeadLetterQueue as its dead-letter queue."
        return wrong("redrive policy", "Pages that fail are not set aside.", to_do)
    return ok("redrive policy", f"pages that fail {policy['maxReceiveCount']} times are set aside")


def dead_letters_result(subject: str, count: int, to_do: str) -> Result:
    """Whether a dead-letter queue is empty."""
    return wrong(subject, f"{count:,}.", to_do) if count else ok(subject, "none")


def _attributes(stack: Stack, queue: str) -> Mapping[str, str]:
    attributes: Mapping[str, str] = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.resources[queue], AttributeNames=["All"]
    )["Attributes"]
    return attributes
