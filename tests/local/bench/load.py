"""python3 -m tests.local bench load: webhooks beside a full run, then a long queue. Is anything lost?"""

import argparse
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from random import Random
from typing import Any
from urllib.parse import urlsplit

from clerk_sync.aws.items import from_item
from clerk_sync.clock import now_ms
from clerk_sync.users.user import User, parse_user
from tests.local.aws.build import build
from tests.local.aws.local_aws import LocalAws, Outputs
from tests.local.clerk.fake_users import make_user, make_users
from tests.local.clerk.simulated_clerk import SimulatedClerk
from tests.local.commands.run import deploy
from tests.local.commands.sign import LOCAL_SECRET, signature_headers
from tests.local.commands.terminal import step

USERS = 50_000
SENDERS = 6
"""Webhooks at once, each a process of the local AWS's, which takes seconds of this machine's to start."""
NEWCOMERS = 1_000_000
"""Those of higher numbers come during the load."""
SVIX_SECONDS = 15
WORKERS = 5
"""WorkerConcurrency, unless it is given."""


@dataclass
class Load:
    """What came of the webhooks: how long each took (s) that was answered, and how."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    late: float = 0.0
    took: float = 0.0

    def percentile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Changes:
    """Changes users of a Clerk, and gives the webhook of each change. It knows who is gone."""

    def __init__(self, clerk: SimulatedClerk) -> None:
        self._clerk = clerk
        self._dice = Random(1)
        self._alive = clerk.ids()
        self._numbers = itertools.count(NEWCOMERS)
        self._lock = threading.Lock()
        self.gone: set[str] = set()

    def next(self) -> str:
        """The body of a webhook, of what has just happened."""
        with self._lock:
            kind = self._dice.choices(("updated", "created", "deleted"), (8, 1, 1))[0]
            user = getattr(self, f"_{kind}")()
        envelope = {"object": "event", "type": f"user.{kind}", "timestamp": _now(), "data": user}
        return json.dumps(envelope)

    def _created(self) -> dict[str, Any]:
        user = make_user(next(self._numbers))
        user |= dict.fromkeys(("created_at", "updated_at", "last_sign_in_at", "last_active_at"), _now())
        self._clerk.add(user)
        self._alive.append(user["id"])
        return user

    def _updated(self) -> dict[str, Any]:
        user_id = self._dice.choice(self._alive)
        self._clerk.update(
            user_id, first_name=f"Renamed {self._dice.randrange(10**6)}", last_sign_in_at=_now()
        )
        user = self._clerk.get(user_id)
        assert user
        return user

    def _deleted(self) -> dict[str, Any]:
        position = self._dice.randrange(len(self._alive))
        self._alive[position], self._alive[-1] = self._alive[-1], self._alive[position]
        user_id = self._alive.pop()
        self._clerk.delete(user_id)
        self.gone.add(user_id)
        return {"object": "user", "id": user_id, "deleted": True}


def measure(options: argparse.Namespace) -> int:
    users: int = options.users or USERS
    with step(f"A simulated Clerk with {users:,} users"):
        clerk = SimulatedClerk(users=make_users(users))
    with clerk, LocalAws() as aws:
        with step("Building and deploying"):
            build()
            outputs = deploy(aws, clerk.url, clerk.issuer, clerk.secret_key)
        print("\nA first run, by itself")
        problems = _run_problems(aws.invoke(outputs["BackfillFunction"], {"waitSeconds": 840}))
        problems += _webhooks_beside_a_run(aws, outputs, clerk, options.rate, options.seconds)
        problems += _a_long_queue(aws, outputs, clerk, options.pages)
    print("\n" + ("\n".join(f"FAILED: {problem}" for problem in problems) or "Nothing was lost."))
    return 1 if problems else 0


# Webhooks beside a run


def _webhooks_beside_a_run(
    aws: LocalAws, outputs: Outputs, clerk: SimulatedClerk, rate: int, seconds: int
) -> list[str]:
    print(f"\n{rate} webhooks a second for {seconds} s, beside a full run of {len(clerk):,} users")
    changes = Changes(clerk)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(aws.invoke, outputs["BackfillFunction"], {"waitSeconds": 840})
        load = _send(outputs["WebhookUrl"], changes, rate, seconds)
        result = run.result()
    sent, answered = rate * seconds, load.statuses["204"]
    held = sent / load.took
    print(f"  sent {sent:,} in {load.took:.1f} s, {held:.0f} a second; answered 204: {answered:,}")
    took = ", ".join(f"p{share} {load.percentile(share / 100) * 1000:.0f} ms" for share in (50, 95, 99))
    print(f"  took {took}; sent at most {load.late:.1f} s late")
    problems = [f"{count} webhooks were answered {s}" for s, count in load.statuses.items() if s != "204"]
    if load.took > seconds * 1.05 + 1:
        problems.append(f"{rate} a second were not held, but {held:.0f}")
    if load.percentile(0.99) > SVIX_SECONDS:
        problems.append(f"a webhook of 100 took over {SVIX_SECONDS} s")
    wrong = _wrong_rows(aws, outputs, clerk, changes.gone)
    print(f"  {len(clerk):,} users in Clerk, {len(changes.gone):,} deleted; wrong rows: {len(wrong):,}")
    problems += [f"the row of {user_id} is wrong: {why}" for user_id, why in wrong[:10]]
    return problems + _run_problems(result)


def _send(url: str, changes: Changes, rate: int, seconds: int) -> Load:
    warm_up = json.dumps({"object": "event", "type": "email.created", "timestamp": _now(), "data": {}})
    load, lock, numbers = Load(), threading.Lock(), iter(range(rate * seconds))
    address = urlsplit(url)

    # Not httpx: at such a rate it takes as much of this machine as the functions do.
    def post(connection: HTTPConnection, body: str, number: int) -> str:
        headers = signature_headers(body, LOCAL_SECRET, f"msg_{number}")
        try:
            connection.request("POST", address.path, body.encode(), headers)
            with connection.getresponse() as response:
                response.read()
                return str(response.status)
        except (OSError, HTTPException) as error:
            connection.close()
            return type(error).__name__

    def send_some(connection: HTTPConnection, began: float) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            due = began + number / rate
            time.sleep(max(0.0, due - time.monotonic()))
            body = changes.next()
            started = time.monotonic()
            status = post(connection, body, number)
            with lock:
                load.statuses[status] += 1
                load.seconds.append(time.monotonic() - started)
                load.late = max(load.late, started - due)

    connections = [HTTPConnection(address.netloc, timeout=60) for _ in range(SENDERS)]
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(lambda connection: post(connection, warm_up, 0), connections))
        began = time.monotonic()
        list(pool.map(lambda connection: send_some(connection, began), connections))
    load.took = time.monotonic() - began
    return load


def _wrong_rows(
    aws: LocalAws, outputs: Outputs, clerk: SimulatedClerk, gone: set[str]
) -> list[tuple[str, str]]:
    rows = _rows(aws, outputs["UsersTable"])
    wrong = [
        (user_id, "it is not marked") for user_id in gone if "clerkDeletedAt" not in rows.get(user_id, {})
    ]
    for wanted in map(_wanted, clerk.users()):
        row = rows.get(wanted["clerkUserId"], {})
        differing = sorted(name for name in row.keys() | wanted if row.get(name) != wanted.get(name))
        if differing:
            wrong.append((wanted["clerkUserId"], ", ".join(differing)))
    return wrong


def _wanted(payload: Mapping[str, Any]) -> dict[str, Any]:
    user = parse_user(payload, now_ms())
    assert isinstance(user, User)
    return {**user.fields, "clerkUserId": user.id, "clerkUpdatedAt": user.updated_at}


def _rows(aws: LocalAws, table: str) -> dict[str, dict[str, Any]]:
    pages = aws.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    return {row["clerkUserId"]: row for page in pages for row in map(from_item, page["Items"])}


def _run_problems(result: Mapping[str, Any]) -> list[str]:
    counted = result["successCount"] + result["skippedCount"] + result["errorCount"]
    took = (result["timestamp"] - result["startedAt"]) / 1000 if result.get("timestamp") else 0
    print(
        f"  run {result['status']}: {result['totalClerkUsers']:,} users, {counted:,} counted, "
        f"{result['pages']:,} pages in {took:.0f} s"
    )
    problems = [] if result["status"] == "COMPLETED" else [f"the run is {result['status']}"]
    return problems + ([] if counted == result["totalClerkUsers"] else ["the run's counts don't add up"])


# A long queue


def _a_long_queue(aws: LocalAws, outputs: Outputs, clerk: SimulatedClerk, pages: int) -> list[str]:
    size = min(500, max(1, len(clerk) // pages))
    print(f"\nA queue of some {pages:,} pages with {size} users each")
    with _workers_paused(aws, outputs), step("  Filling it"):
        _configure(aws, outputs["BackfillFunction"], PAGE_SIZE=str(size), CLERK_REQUESTS_PER_SECOND="100")
        filled = aws.invoke(outputs["BackfillFunction"], {"waitSeconds": 0})
    with ThreadPoolExecutor(1) as pool, step("  Draining it"):
        run = pool.submit(_finished, aws, outputs, filled["runId"])
        most = _most_at_once(aws, outputs["PagesQueue"], run)
        result = run.result()
    dead = _waiting(aws, outputs["PagesDeadLetterQueue"], "ApproximateNumberOfMessages")
    print(f"  at most {most} pages at once, of {WORKERS} allowed; {dead} in the dead-letter queue")
    problems = _run_problems(result)
    if not 0 < most <= WORKERS:
        problems.append(f"{most} pages were worked on at once")
    if dead:
        problems.append(f"{dead} pages are in the dead-letter queue")
    if result["totalClerkUsers"] != len(clerk):
        problems.append(f"the run counts {result['totalClerkUsers']:,} users, and Clerk {len(clerk):,}")
    return problems


def _finished(aws: LocalAws, outputs: Outputs, run_id: str) -> Any:
    while True:
        result = aws.invoke(outputs["BackfillFunction"], {"runId": run_id, "waitSeconds": 600})
        if result["status"] != "RUNNING":
            return result


def _most_at_once(aws: LocalAws, queue: str, run: Future[Any]) -> int:
    most = 0
    while not run.done():
        most = max(most, _waiting(aws, queue, "ApproximateNumberOfMessagesNotVisible"))
        time.sleep(0.1)
    return most


def _waiting(aws: LocalAws, queue: str, name: str) -> int:
    answer = aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=[name])
    return int(answer["Attributes"][name])


@contextmanager
def _workers_paused(aws: LocalAws, outputs: Outputs) -> Iterator[None]:
    client = aws.client("lambda")
    [mapping] = client.list_event_source_mappings(FunctionName=outputs["WorkerFunction"])[
        "EventSourceMappings"
    ]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    yield
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def _configure(aws: LocalAws, function: str, **variables: str) -> None:
    client = aws.client("lambda")
    was = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    client.update_function_configuration(FunctionName=function, Environment={"Variables": was | variables})


def _now() -> int:
    return time.time_ns() // 1_000_000
