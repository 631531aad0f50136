"""What an invocation needs to take part in a run."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from clerk_sync.clerk.client import ClerkClient
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.users.fields import Names
from clerk_sync.users.table import TableInstance, UsersTable


@dataclass(frozen=True, slots=True)
class Resources:
    """The tables, the queue, Clerk and the function's time.

    `instance` says which Clerk instance the users table belongs to. `open_clerk` makes a client; the client
    calls what it is given before each pause, with the seconds and the reason, and reads the fields that a run
    syncs. `create_missing` and the fields of `users_table` are those of a new run. `is_out_of_time` says
    whether the function must end. `invoke_again` starts another invocation with an event. `open_executor`
    makes one that sends up to `max_requests` requests to Clerk at once.
    """

    runs: RunsTable
    pages: PageLedger
    queue: PagesQueue
    instance: TableInstance
    users_table: UsersTable
    open_clerk: Callable[[Callable[[float, str], None], Names], ClerkClient]
    page_size: int
    create_missing: bool
    is_out_of_time: Callable[[], bool]
    invoke_again: Callable[[Mapping[str, Any]], None]
    open_executor: Callable[[], Executor]
    max_requests: int
    sleep: Callable[[float], None] = time.sleep
