"""WorkerFunction: takes pages from PagesQueue."""

import re
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.aws.clients import client
from clerk_sync.errors import AwsError, EventError, MessageError
from clerk_sync.handlers.settings import WorkerSettings
from clerk_sync.log import logger
from clerk_sync.runs.page import Page
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.runs.worker import work
from clerk_sync.users.drift import placeholder_pattern
from clerk_sync.users.table import UsersTable

_MAX_PAUSE = 900


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """SQS records → a partial batch response: the messages to be delivered again. Raises EventError."""
    records = _records(event)
    settings = _settings()
    failed = [record["messageId"] for record in records if not _handle(record, settings)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


@cache
def _settings() -> WorkerSettings:
    return WorkerSettings.from_env()


@cache
def _placeholders(settings: WorkerSettings) -> re.Pattern[str]:
    return placeholder_pattern(settings.placeholder_patterns)


def _records(event: Any) -> list[dict[str, Any]]:
    match event:
        case {"Records": list(records)} if all(map(_is_record, records)):
            return records
    raise EventError(
        'This function takes SQS records, {"Records": […]}, from PagesQueue alone. What starts a run is '
        "BackfillFunction."
    )


def _is_record(record: Any) -> bool:
    match record:
        case {
            "messageId": str(),
            "receiptHandle": str(),
            "body": str(),
            "attributes": {"ApproximateReceiveCount": str(count)},
        }:
            return count.isdecimal()
    return False


def _handle(record: dict[str, Any], settings: WorkerSettings) -> bool:
    """Whether the message is done with."""
    deliveries = int(record["attributes"]["ApproximateReceiveCount"])
    is_last = deliveries >= settings.max_receive_count
    try:
        page = Page.load(record["body"])
        logger.append_keys(runId=page.run_id, page=page.number)
        work(
            page,
            UsersTable(client("dynamodb"), settings.users_table, settings.users_table_key),
            RunsTable(client("dynamodb"), settings.runs_table),
            PageLedger(client("dynamodb"), settings.runs_table),
            placeholders=_placeholders(settings),
            is_last_delivery=is_last,
        )
    except MessageError as error:
        # No delivery will make it a page, so the dead-letter queue may have it at once.
        logger.error("message_refused", messageId=record["messageId"], reason=str(error))
        _change_visibility(record, settings, 0)
        return False
    except AwsError as error:
        pause = min(_MAX_PAUSE, 15 * 4 ** (deliveries - 1))
        logger.error("page_failed", delivery=deliveries, isLast=is_last, seconds=pause, reason=str(error))
        _change_visibility(record, settings, 0 if is_last else pause)
        return False
    return True


def _change_visibility(record: dict[str, Any], settings: WorkerSettings, seconds: int) -> None:
    try:
        PagesQueue(client("sqs"), settings.pages_queue_url).change_visibility(
            record["receiptHandle"], seconds
        )
    except AwsError as error:
        # Then it comes back when its visibility timeout ends.
        logger.warning("message_not_delayed", reason=str(error))
