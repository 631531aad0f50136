"""What BackfillFunction and AuditFunction share: the resources of a run, wired to AWS and to Clerk."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.aws.clients import client, translated
from clerk_sync.aws.items import Items
from clerk_sync.aws.secrets import read_secret
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.handlers.settings import BackfillSettings
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.users.fields import Names
from clerk_sync.users.table import TableInstance, UsersTable

_RESERVE_SECONDS = 30.0
"""The function's time that is kept for a request under way and an orderly end."""
_MOST_REQUESTS_AT_ONCE = 24
"""Each may hold a page of users, some 4 MB once it is parsed, while the page before is sent."""


def open_resources(settings: BackfillSettings, context: LambdaContext) -> Resources:
    """The resources with which this invocation takes part in a run."""

    def time_left() -> float:
        return context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS

    def open_clerk(on_wait: Callable[[float, str], None], names: Names) -> ClerkClient:
        return ClerkClient(
            settings.clerk_api_url,
            read_secret(settings.clerk_secret_key_parameter, "CLERK_SECRET_KEY"),
            requests_per_second=settings.clerk_requests_per_second,
            time_left=time_left,
            on_wait=on_wait,
            names=names,
        )

    def invoke_again(event: Mapping[str, Any]) -> None:
        with translated("starting the invocation that continues the run"):
            client("lambda").invoke(
                FunctionName=context.function_name, InvocationType="Event", Payload=json.dumps(event)
            )

    dynamodb, key = client("dynamodb"), settings.users_table_key
    items = Items(dynamodb, settings.runs_table)
    # So many requests at once use up the rate where each takes a quarter of a second.
    max_requests = min(_MOST_REQUESTS_AT_ONCE, ceil(settings.clerk_requests_per_second / 4))
    return Resources(
        runs=RunsTable(items),
        pages=PageLedger(items),
        queue=PagesQueue(client("sqs"), settings.pages_queue_url),
        instance=TableInstance(items, settings.users_table),
        users_table=UsersTable(dynamodb, settings.users_table, key, settings.names),
        open_clerk=open_clerk,
        page_size=settings.page_size,
        create_missing=settings.create_missing_users,
        is_out_of_time=lambda: time_left() < 0,
        invoke_again=invoke_again,
        open_executor=lambda: ThreadPoolExecutor(max_requests),
        max_requests=max_requests,
    )
