"""A users table with little provisioned capacity: runs over it end whole, slowly, and no page is given up.

Virtual time, with deliveries, time-outs and visibility as template.yaml has them. DynamoDB gives each of the
concurrent workers an equal share of the capacity, and keeps five minutes of what is not used.
"""

import heapq
import random
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from clerk_sync.aws.items import from_item
from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.errors import AwsError
from clerk_sync.runs.page import Page
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.run import Run
from clerk_sync.runs.worker import Worker
from clerk_sync.users.drift import placeholder_pattern
from clerk_sync.users.table import UsersTable
from clerk_sync.users.table_writes import to_attribute
from clerk_sync.users.user import User
from tests.support.pages_in_memory import PagesInMemory
from tests.support.runs import OWNER, RunsInMemory

TIMEOUT, RESERVE, VISIBILITY, DELIVERIES, WORKERS, PAGE = 60.0, 20.0, 360.0, 5, 5, 500
RUN = Run("full-1", "full", create_missing=True, dry_run=False, started_at=1_000)


class KilledError(BaseException):
    """Lambda's time-out."""


class Share:
    """One worker's share of the table's capacity, and its clock (s)."""

    def __init__(self, units: float) -> None:
        self.now = 0.0
        self.ends_at = 0.0
        self._rate = units
        self._saved = {"read": 300 * units, "write": 300 * units}
        self._filled_at = dict.fromkeys(self._saved, 0.0)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > self.ends_at:
            raise KilledError

    def take(self, kind: str, number: int, units: float) -> int:
        """How many of so many rows, of so many units each, are served."""
        gained = (self.now - self._filled_at[kind]) * self._rate
        self._saved[kind] = min(300 * self._rate, self._saved[kind] + gained)
        self._filled_at[kind] = self.now
        served = min(number, int(self._saved[kind] / units))
        self._saved[kind] -= served * units
        return served


class Table:
    """The client of a provisioned table, as one worker sees it."""

    def __init__(self, share: Share, rows: dict[str, Any]) -> None:
        self._share = share
        self._rows = rows

    def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 - boto3's own name
        ((table, request),) = RequestItems.items()
        keys = request["Keys"]
        for attempt in range(5):  # the SDK's own, where nothing at all was read
            self._share.sleep(0.02)
            if served := self._share.take("read", len(keys), 0.5):
                break
            self._share.sleep(random.uniform(0, min(20, 2**attempt)))
        else:
            raise ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "BatchGetItem")
        ids = [key["clerkUserId"]["S"] for key in keys]
        found = [self._rows[user_id] for user_id in ids[:served] if user_id in self._rows]
        left = {table: {"Keys": keys[served:]}} if served < len(keys) else {}
        return {"Responses": {table: found}, "UnprocessedKeys": left}

    def batch_execute_statement(self, Statements: Any) -> Any:  # noqa: N803
        self._share.sleep(0.05)
        served = self._share.take("write", len(Statements), 1)
        for statement in Statements[:served]:
            names = [part.split("'")[1] for part in statement["Statement"].split(", ")]
            names[0] = "clerkUserId"
            item = dict(zip(names, statement["Parameters"], strict=True))
            self._rows[item["clerkUserId"]["S"]] = item
        refused: Any = {"Error": {"Code": "ProvisionedThroughputExceeded"}}
        return {"Responses": [{}] * served + [refused] * (len(Statements) - served)}


def users_of(page: int) -> tuple[User, ...]:
    return tuple(
        User(f"user_{page:04}{n:04}", 1_700_000_000_000 + n, {"email": f"{page}.{n}@mail.test"})
        for n in range(PAGE)
    )


class ProvisionedRun:
    """A run over a provisioned table: each worker handles every fifth page. `seconds` is how long it took,
    `given_up` how many pages ended in the dead-letter queue, `parts` how many messages there were, and
    `most_parts` how many of one page."""

    def __init__(self, users: int, units: int, *, is_synced: bool) -> None:
        random.seed(1)
        self.memory = RunsInMemory()
        self.rows: dict[str, Any] = {}
        self.given_up = self.parts = self.most_parts = 0
        self.seconds = 0.0
        run = self.memory.start(RUN)
        messages = []
        for number in range(1, users // PAGE + 1):
            page = Page.of(run, number, 1, create_missing=True, users=users_of(number))
            run = self.memory.send(run, PendingPage(page.token, "", PAGE, [], Checkpoint()))
            messages.append(page.dump())
            if is_synced:
                self.rows |= {user.id: _row(user) for user in page.users}
        self.memory.runs.save(replace(run, paged_at=2_000), OWNER, 0)
        for worker in range(WORKERS):
            self._drain(Share(units / WORKERS), messages[worker::WORKERS])

    def _drain(self, share: Share, messages: list[str]) -> None:
        queue = [(0.0, n, 1, message) for n, message in enumerate(messages)]
        sent = PagesInMemory()
        order = len(queue)
        while queue:
            at, _, delivery, message = heapq.heappop(queue)
            share.now = max(share.now, at)
            share.ends_at = share.now + TIMEOUT
            pause = self._deliver(share, sent, message, delivery)
            order += 1
            self.parts += 1
            self.most_parts = max(self.most_parts, Page.load(message).part + 1)
            for continued, delay in zip(sent.messages, sent.delays, strict=True):
                heapq.heappush(queue, (share.now + delay, order, 1, continued))
            sent.messages, sent.delays = [], []
            if pause is not None and delivery < DELIVERIES:
                heapq.heappush(queue, (share.now + pause, order, delivery + 1, message))
            elif pause is not None:
                self.given_up += 1
        self.seconds = max(self.seconds, share.now)

    def _deliver(self, share: Share, sent: PagesInMemory, message: str, delivery: int) -> float | None:
        """After how many seconds the message is delivered again; None if it is done with."""
        table: Any = Table(share, self.rows)
        users_table = UsersTable(
            table,
            "users",
            "clerkUserId",
            is_out_of_time=lambda: share.ends_at - share.now < RESERVE,
            sleep=share.sleep,
        )
        worker = Worker(users_table, self.memory.runs, self.memory.pages, sent, placeholder_pattern([]))
        is_last = delivery == DELIVERIES
        try:
            worker.work(Page.load(message), is_first_delivery=delivery == 1, is_last_delivery=is_last)
        except AwsError:
            return float(min(900, 15 * 4 ** (delivery - 1)))
        except KilledError:
            return VISIBILITY - TIMEOUT
        return None


def _row(user: User) -> dict[str, Any]:
    values = {"clerkUserId": user.id, **user.fields, "clerkUpdatedAt": user.updated_at}
    return {name: to_attribute(value) for name, value in values.items()}


@pytest.mark.parametrize("is_synced", [False, True], ids=["first sync", "nothing changed"])
@pytest.mark.parametrize(("users", "units"), [(10_000, 5), (50_000, 25)])
def test_run_over_a_small_provisioned_table_ends_whole(
    users: int, units: int, is_synced: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    provisioned = ProvisionedRun(users, units, is_synced=is_synced)
    with capsys.disabled():
        minutes = provisioned.seconds / 60
        print(
            f"\n{users:,} users at {units}/{units} units: {minutes:.0f} min, {provisioned.parts:,} messages"
        )
    run = provisioned.memory.run(RUN.run_id)
    assert provisioned.given_up == 0
    assert run.settled_pages == run.pages == users // PAGE
    assert run.counts.total == users
    assert (run.counts.unchanged if is_synced else run.counts.created) == users
    rows = [from_item(row) for row in provisioned.rows.values()]
    assert {row["email"] for row in rows} == {
        user.fields["email"] for page in range(1, run.pages + 1) for user in users_of(page)
    }


def test_page_over_a_tiny_table_continues_in_more_messages_than_a_loop_may_have() -> None:
    """So WorkerFunction must allow it: see tests/tooling/test_recursive_loops.py."""
    provisioned = ProvisionedRun(2_500, 1, is_synced=False)
    assert provisioned.most_parts > 16
    assert provisioned.given_up == 0
