"""python3 -m tests.local bench writes: ways to write the same rows conditionally, compared.

The choice in UsersTable.write rests on it.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import batched
from typing import Any

import boto3
from botocore.config import Config

from clerk_sync.clock import now_ms
from clerk_sync.users.table import UsersTable
from clerk_sync.users.table_writes import update_item_request
from clerk_sync.users.user import User, parse_user
from clerk_sync.users.write_rule import VERSION, Write, decide
from tests.local.aws.local_aws import CREDENTIALS, REGION, LocalAws
from tests.local.bench.counter import CountingProxy
from tests.local.bench.figures import table
from tests.local.clerk.fake_users import make_users
from tests.local.commands.terminal import step

ROWS = 5000
THREADS = 16
TABLE = "written-in-each-way"
KEY = "clerkUserId"
HEADINGS = (
    "way",
    "",
    "writes/s",
    "requests",
    "write units",
    "client CPU s",
    "written of 25, one of them lost",
)


def measure(_: argparse.Namespace) -> int:
    with LocalAws() as aws, CountingProxy(aws.endpoint, 0) as proxy, step("Writing in each way"):
        compared = compare(aws, proxy)
    print("", compared, "", sep="\n", flush=True)
    return 0


def compare(aws: LocalAws, proxy: CountingProxy) -> str:
    """The same changes to existing rows, in each way."""
    direct, counted = _client(aws.endpoint), _client(proxy.endpoint)
    direct.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    changes = _changes()
    _in_batches(direct, next(changes)(direct))
    rows = []
    for name, (detail, way) in WAYS.items():
        writes = next(changes)(direct)
        started, cpu = time.monotonic(), time.process_time()
        way(direct, writes)
        seconds, cpu = time.monotonic() - started, time.process_time() - cpu

        writes = next(changes)(direct)
        proxy.take()
        way(counted, writes)
        counts = proxy.take()

        few = next(changes)(direct)[:25]
        lost = replace(few[7], expected={VERSION: 1})
        written = way(direct, [*few[:7], lost, *few[8:]])
        rows.append(
            (
                name,
                detail,
                f"{ROWS / seconds:,.0f}",
                f"{counts.requests.total():,}",
                f"{counts.units[TABLE].write:,.0f}",
                f"{cpu:,.1f}",
                str(written),
            )
        )
    return table(HEADINGS, rows)


def _changes() -> Iterator[Callable[[Any], list[Write]]]:
    """Each time a newer version of everybody, to be decided on the rows as they are."""
    users = [
        user
        for user in (parse_user(payload, now_ms()) for payload in make_users(ROWS))
        if isinstance(user, User)
    ]
    for version in range(1, 1000):
        newer = [
            replace(
                user,
                updated_at=user.updated_at + version,
                fields={**user.fields, "firstName": f"Version {version}"},
            )
            for user in users
        ]
        yield partial(_decided, newer)


def _decided(users: Sequence[User], dynamodb: Any) -> list[Write]:
    rows = UsersTable(dynamodb, TABLE, KEY).read((user.id for user in users), consistent=True)
    decided = [decide(user, rows.get(user.id), as_of=0, now=now_ms(), create_missing=True) for user in users]
    return [write for write in decided if isinstance(write, Write)]


def _by_threads(dynamodb: Any, writes: Sequence[Write]) -> int:
    users_table = UsersTable(dynamodb, TABLE, KEY)
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(users_table.update, writes)).count(None)


def _in_batches(dynamodb: Any, writes: Sequence[Write]) -> int:
    return UsersTable(dynamodb, TABLE, KEY).write(writes).count(None)


def _in_transactions(size: int, dynamodb: Any, writes: Sequence[Write]) -> int:
    written = 0
    for batch in batched(writes, size, strict=False):
        items = [{"Update": update_item_request(TABLE, KEY, write)} for write in batch]
        try:
            dynamodb.transact_write_items(TransactItems=items)
        except dynamodb.exceptions.TransactionCanceledException:
            continue
        written += len(batch)
    return written


WAYS: dict[str, tuple[str, Callable[[Any, Sequence[Write]], int]]] = {
    "UpdateItem": (f"{THREADS} threads", _by_threads),
    "BatchExecuteStatement": ("25 a call", _in_batches),
    "TransactWriteItems": ("25 a call", partial(_in_transactions, 25)),
    "TransactWriteItems, bigger": ("100 a call", partial(_in_transactions, 100)),
}


def _client(endpoint: str) -> Any:
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(max_pool_connections=THREADS, retries={"total_max_attempts": 1}),
    )
