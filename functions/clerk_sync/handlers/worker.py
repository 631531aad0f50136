"""WorkerFunction: takes pages from PagesQueue."""

import re
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.aws.clients import client
from clerk_sync.errors import AwsError, MessageError, NewerVersion
from clerk_sync.handlers.settings import WorkerSettings
from clerk_sync.log import logger
from clerk_sync.runs.delivery import Delivery, parse_deliveries
from clerk_sync.runs.page import Page
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.runs.worker import work
from clerk_sync.users.drift import placeholder_pattern
from clerk_sync.users.table import UsersTable


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """SQS records → a partial batch response: the messages to be delivered again. Raises EventError."""
    deliveries = parse_deliveries(event)
    settings = _settings()
    failed = [delivery.message_id for delivery in deliveries if not _handle(delivery, settings)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


@cache
def _settings() -> WorkerSettings:
    return WorkerSettings.from_env()


@cache
def _placeholders(settings: WorkerSettings) -> re.Pattern[str]:
    return placeholder_pattern(settings.placeholder_patterns)


def _handle(delivery: Delivery, settings: WorkerSettings) -> bool:
    """Whether the message is done with."""
    is_last = delivery.number >= settings.max_receive_count
    pause = 0 if is_last else delivery.pause
    tried: dict[str, Any] = {"delivery": delivery.number, "isLast": is_last, "seconds": pause}
    try:
        page = Page.load(delivery.body)
        logger.append_keys(runId=page.run_id, page=page.number)
        work(
            page,
            UsersTable(client("dynamodb"), settings.users_table, settings.users_table_key),
            RunsTable(client("dynamodb"), settings.runs_table),
            PageLedger(client("dynamodb"), settings.runs_table),
            placeholders=_placeholders(settings),
            is_last_delivery=is_last,
        )
    except NewerVersion as error:
        logger.warning("page_deferred", messageId=delivery.message_id, reason=str(error), **tried)
    except MessageError as error:
        pause = 0  # no later delivery can make it a page, so it goes to the dead-letter queue at once
        logger.error("message_refused", messageId=delivery.message_id, reason=str(error))
    except AwsError as error:
        logger.error("page_failed", reason=str(error), **tried)
    else:
        return True
    _deliver_again(delivery, pause, settings)
    return False


def _deliver_again(delivery: Delivery, seconds: int, settings: WorkerSettings) -> None:
    try:
        PagesQueue(client("sqs"), settings.pages_queue_url).change_visibility(
            delivery.receipt_handle, seconds
        )
    except AwsError as error:
        # It is delivered again when its visibility timeout ends.
        logger.warning("message_not_delayed", reason=str(error))
