"""python3 -m tests.local bench metadata: a full page of users with 8 KB of metadata each."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from clerk_sync.clerk.responses import read_users
from clerk_sync.clock import now_ms
from clerk_sync.runs.page import MAX_BYTES, Page, message_size
from clerk_sync.runs.queue import batches
from clerk_sync.runs.run import Run
from clerk_sync.users.fields import Names, synced
from clerk_sync.users.table import UsersTable
from clerk_sync.users.table_writes import to_attribute
from clerk_sync.users.upsert import Outcome, upsert
from clerk_sync.users.user import Change, User, parse_user
from tests.local.aws.local_aws import LocalAws
from tests.local.bench.capacity import item_size, write_units
from tests.local.bench.errors import BenchmarkError
from tests.local.bench.figures import table
from tests.local.clerk.fake_users import make_users
from tests.local.commands.terminal import step

USERS = 500
TABLE = "with-metadata"
METADATA = {f"key_{n}": {"plan": "pro", "seats": n, "since": 0.5, "notes": "x" * 90} for n in range(56)}
HEADINGS = ("fields", "messages", "largest KB", "read s", "first write s", "again s", "write units", "again")


def measure(_: argparse.Namespace) -> int:
    with LocalAws() as aws, step("A page with and without metadata"):
        rows = [
            _measured(aws.client("dynamodb"), names) for names in (synced(()), synced(["publicMetadata"]))
        ]
    print("", table(HEADINGS, rows), "", sep="\n", flush=True)
    return 0


def _measured(dynamodb: Any, names: Names) -> tuple[str, ...]:
    """A page's way: from Clerk's answer to messages, and from messages to rows, twice."""
    name = f"{TABLE}-{len(names)}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "clerkUserId", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "clerkUserId", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    payloads = [user | {"public_metadata": METADATA} for user in make_users(USERS)]
    body = json.dumps(payloads).encode()
    reading, messages = _timed(lambda: _messages(body, names))
    users_table = UsersTable(dynamodb, name, "clerkUserId", names)
    pages = [Page.load(message) for message in messages]
    changes = [change for page in pages for change in page.changes]
    writing, first = _timed(lambda: _upsert(users_table, changes))
    checking, second = _timed(lambda: _upsert(users_table, changes))
    if (first.created, second.unchanged) != (USERS, USERS):
        raise BenchmarkError(f"{first.created} rows were created, and {second.unchanged} were right.")
    units = sum(write_units(_row_size(user)) for user in changes if isinstance(user, User))
    return (
        ", ".join(names[8:]) or "the default ones",
        f"{len(messages)}",
        f"{max(map(len, messages)) / 1024:,.0f}",
        f"{reading:.2f}",
        f"{writing:.2f}",
        f"{checking:.2f}",
        f"{units:,.0f}",
        f"{second.created + second.updated}",
    )


def _messages(body: bytes, names: Names) -> list[str]:
    run = Run("full-1", "full", create_missing=True, dry_run=False, started_at=1, fields=",".join(names))
    users = [parse_user(payload, now_ms(), names) for payload in read_users(body, names)]
    parts = batches(users, message_size, MAX_BYTES, len(users))
    return [
        Page.of(run, number, 1, create_missing=True, users=_users(part)).dump()
        for number, part in enumerate(parts, 1)
    ]


def _users(parsed: Sequence[Any]) -> tuple[User, ...]:
    return tuple(user for user in parsed if isinstance(user, User))


def _upsert(users_table: UsersTable, changes: Sequence[Change]) -> Outcome:
    return upsert(users_table, changes, as_of=now_ms(), now=now_ms(), create_missing=True)


def _row_size(user: User) -> int:
    values = {"clerkUserId": user.id, **user.fields, "clerkUpdatedAt": user.updated_at}
    return item_size({name: to_attribute(value) for name, value in values.items()})


def _timed[T](action: Callable[[], T]) -> tuple[float, T]:
    started = time.monotonic()
    result = action()
    return time.monotonic() - started, result
