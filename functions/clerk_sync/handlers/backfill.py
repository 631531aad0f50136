"""BackfillFunction: invoked by the schedule, from the console or by `sam local invoke`."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from math import ceil
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.aws import client, translated
from clerk_sync.backfill import RESERVE_SECONDS, Backfill, FindDeletions
from clerk_sync.clerk import ClerkClient
from clerk_sync.errors import ClerkSyncError
from clerk_sync.log import logger
from clerk_sync.pages_queue import PagesQueue
from clerk_sync.request import backfill_request
from clerk_sync.run import RunResult
from clerk_sync.runs_table import RunsTable
from clerk_sync.secret import read_secret
from clerk_sync.settings import BackfillSettings
from clerk_sync.users_table import UsersTable
from clerk_sync.windows import Threads

MOST_LANES = 24
"""Each may hold a page as Clerk sent it, some 4 MB once it is parsed, while the one before is being sent."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> RunResult:
    """Event `{}` or any of the keys of BackfillEvent → the run's record as RunResult has it."""
    try:
        return open_backfill(_settings(), context).run(backfill_request(event))
    except ClerkSyncError as error:
        logger.error("backfill_interrupted", kind=type(error).__name__, reason=str(error))
        raise


@cache
def _settings() -> BackfillSettings:
    return BackfillSettings.from_env()


def _lanes(requests_per_second: float) -> int:
    """How many requests at once use up the rate where each takes a quarter of a second."""
    return min(MOST_LANES, ceil(requests_per_second / 4))


def open_backfill(
    settings: BackfillSettings, context: LambdaContext, find_deletions: FindDeletions | None = None
) -> Backfill:
    """What goes through a run in this invocation, wired to AWS and to Clerk."""

    def time_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    def open_clerk(on_wait: Callable[[float, str], None]) -> ClerkClient:
        return ClerkClient(
            settings.clerk_api_url,
            read_secret(settings.clerk_secret_key_parameter, "CLERK_SECRET_KEY"),
            requests_per_second=settings.clerk_requests_per_second,
            time_left=lambda: time_left() - RESERVE_SECONDS,
            on_wait=on_wait,
        )

    def go_on_later(event: Mapping[str, Any]) -> None:
        with translated("starting the invocation that is to go on with the run"):
            client("lambda").invoke(
                FunctionName=context.function_name, InvocationType="Event", Payload=json.dumps(event)
            )

    return Backfill(
        runs=RunsTable(client("dynamodb"), settings.runs_table),
        queue=PagesQueue(client("sqs"), settings.pages_queue_url),
        open_clerk=open_clerk,
        check_table=UsersTable(client("dynamodb"), settings.users_table, settings.users_table_key).check,
        page_size=settings.page_size,
        create_missing=settings.create_missing,
        time_left=time_left,
        go_on_later=go_on_later,
        open_lanes=lambda: Threads(_lanes(settings.clerk_requests_per_second)),
        find_deletions=find_deletions,
    )
