"""WorkerFunction: takes pages from PagesQueue."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.aws.clients import client
from clerk_sync.aws.items import Items
from clerk_sync.errors import AwsError, MessageError, NewerVersion
from clerk_sync.handlers.settings import WorkerSettings
from clerk_sync.log import logger
from clerk_sync.runs.page import Page
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.queue import Delivery, PagesQueue, backoff, parse_deliveries
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.runs.worker import Worker
from clerk_sync.users.drift import placeholder_pattern
from clerk_sync.users.table import UsersTable

_RESERVE_MS = 20_000
"""Kept for a request under way with the SDK's retries, and for recording the outcome."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """SQS records → a partial batch response: the messages to be delivered again. Raises EventError."""
    deliveries = parse_deliveries(event)
    settings = WorkerSettings.from_env()
    worker = _worker(settings, context)
    failed = [one.message_id for one in deliveries if not _handle(one, worker, settings.max_receive_count)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _worker(settings: WorkerSettings, context: LambdaContext) -> Worker:
    def is_out_of_time() -> bool:
        return context.get_remaining_time_in_millis() < _RESERVE_MS

    dynamodb, key = client("dynamodb"), settings.users_table_key
    items = Items(dynamodb, settings.runs_table)
    return Worker(
        UsersTable(dynamodb, settings.users_table, key, is_out_of_time=is_out_of_time),
        RunsTable(items),
        PageLedger(items),
        PagesQueue(client("sqs"), settings.pages_queue_url),
        placeholder_pattern(settings.placeholder_patterns),
    )


def _handle(delivery: Delivery, worker: Worker, max_receive_count: int) -> bool:
    """Whether the message is done with."""
    is_last = delivery.number >= max_receive_count
    pause = 0 if is_last else backoff(delivery.number)
    tried: dict[str, Any] = {"delivery": delivery.number, "isLast": is_last, "seconds": pause}
    try:
        page = Page.load(delivery.body)
        logger.append_keys(runId=page.run_id, page=page.number)
        is_first = delivery.is_first_of(page.read_at)
        worker.work(page, is_first_delivery=is_first, is_last_delivery=is_last)
    except NewerVersion as error:
        logger.warning("page_deferred", messageId=delivery.message_id, reason=str(error), **tried)
    except MessageError as error:
        pause = 0  # no later delivery can make it a page, so it goes to the dead-letter queue at once
        logger.error("message_refused", messageId=delivery.message_id, reason=str(error))
    except AwsError as error:
        logger.error("page_failed", reason=str(error), **tried)
    else:
        return True
    worker.queue.deliver_again(delivery.receipt_handle, pause)
    return False
