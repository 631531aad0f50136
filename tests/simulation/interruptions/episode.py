"""Episodes: whole runs and audits in which things go wrong between any two calls.

The code of the backfill, the audit, the worker and RunsTable is the real one; DynamoDB, the queue, Clerk and
the users table are in memory, and time is simulated. Each invocation of a function is a thread. One thread at
a time has the turn, and gives it up at each call that leaves the function. A seeded dice decides which thread
is next and what goes wrong, so an episode can be repeated.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from types import ModuleType, SimpleNamespace
from typing import Any, Literal, cast
from unittest.mock import patch

from clerk_sync import metrics
from clerk_sync.audit import audit, deletions
from clerk_sync.aws import items as items_module
from clerk_sync.aws.items import Items
from clerk_sync.clerk import listing, parallel_listing
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.errors import (
    AwsError,
    ClerkUnavailable,
    EventError,
)
from clerk_sync.runs import (
    backfill,
    lease,
    runs_table,
    worker,
)
from clerk_sync.runs import (
    invocation as invocation_module,
)
from clerk_sync.runs import (
    page as page_module,
)
from clerk_sync.runs.events import audit_request, backfill_request
from clerk_sync.runs.lease import DRAINED_MS, LEASE_MS
from clerk_sync.runs.page import Page
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.users.drift import placeholder_pattern
from clerk_sync.users.fields import Names
from clerk_sync.users.table import TableInstance
from clerk_sync.users.write_rule import DELETED, VERSION
from tests.simulation.interruptions.outcome import Outcome, runs_of
from tests.simulation.interruptions.rules import Rules
from tests.simulation.interruptions.services import (
    ClerkUsers,
    InterruptedClerk,
    InterruptedQueue,
    InterruptedUsersTable,
    Message,
)
from tests.simulation.interruptions.world import (
    NO_FAULTS,
    Faults,
    Invocation,
    TracedLog,
    World,
)
from tests.support.executors import InTurnExecutor
from tests.support.fake_dynamodb import FakeDynamoDB, Item
from tests.support.metrics import RecordedMetrics

PAGE_SIZE = 2
NO_PLACEHOLDERS = placeholder_pattern([])
WORKERS = 2
TICKS_MS = (1, 1, 5, 20)
MORE_AT_ONCE = (0, 0, 1, 3)
"""How many more of Clerk's answers have come when one is wanted."""
START_MS = (0, 0, 50, 2_000)
LATE_MS = (LEASE_MS + 500, LEASE_MS + 1_000, LEASE_MS + 5_000)
"""When an invocation can take over from one that was killed or stalled at once."""
WAIT_SECONDS = (0, 0, 5, LEASE_MS // 1000 + 5)
FUNCTION_SECONDS = 870.0
SHORT_SECONDS = 0.12
"""Time for a page or two."""
AUDITS: tuple[Mapping[str, bool], ...] = ({}, {"repair": True}, {"repair": True})
ORPHANS = (0, 1, 3, 12)
MAX_PERCENT = (0, 2, 100)
FRESH_INVOCATIONS = 3
"""One that takes the run over, one that gives up what is in the dead-letter queue, one to spare."""
MAX_STEPS = 20_000
CLOCKED: tuple[ModuleType, ...]
CLOCKED = (
    audit,
    backfill,
    deletions,
    invocation_module,
    lease,
    listing,
    worker,
)
"""The modules that ask for the time."""


class Episode:
    """Three invocations of the backfill or of audits, two of them at once, and the workers; then fresh ones
    without faults."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self.world = World(faults, seed)
        self.users = ClerkUsers(self.world)
        self.dynamodb = FakeDynamoDB(
            self.world.edge, lambda: self.world.chance(self.world.faults.conflict), self._on_change
        )
        self._rules = Rules(self.world)
        self.queue = InterruptedQueue(self.world)
        self.users_table = InterruptedUsersTable(self.world, self.users, self._is_dry)
        self._max_percent = self.world.dice.choice(MAX_PERCENT)
        self._orphans_at: dict[str, set[str]] = {}
        """Those there were when a run was started."""
        self._invocations: list[Invocation] = []
        self._workers: list[Invocation] = []
        self._started = 0

    def play(self) -> None:
        """Raises AssertionError if anything does not come out as it must."""
        with ExitStack() as stack:
            stack.callback(self._end)
            for target, name, stand_in in self._stand_ins():
                stack.enter_context(patch.object(target, name, stand_in))
            stack.enter_context(patch.object(parallel_listing, "PAGES_WORTH_A_WINDOW", 1))
            if self._faults.audit:
                self._fill_table()
            self._with_faults()
            self._without_faults()
            outcome = Outcome(self.world, self.users, self.queue, self.users_table, self.dynamodb)
            outcome.check(self._orphans_at)
            if self.queue.dead:
                self._redrive()
                outcome.check(self._orphans_at)

    def runs(self) -> list[Item]:
        return runs_of(self.dynamodb)

    def _stand_ins(self) -> Iterator[tuple[object, str, object]]:
        log = TracedLog(self.world)
        module: ModuleType
        for module in (audit, invocation_module, lease, runs_table, worker):
            yield module, "logger", log
        yield metrics, "_metrics", RecordedMetrics()
        for module in CLOCKED:
            yield module, "now_ms", lambda: self.world.now
        numbers = count(1)
        yield invocation_module, "_new_run_id", lambda mode: f"{mode}-{next(numbers)}"
        for module in (invocation_module, page_module, runs_table):
            yield module, "uuid", SimpleNamespace(uuid4=lambda: SimpleNamespace(hex=f"{next(numbers):06}"))
        # How long is random, and not from the episode's dice, so it counts for nothing.
        yield items_module, "time", SimpleNamespace(sleep=lambda _: self.world.pause(20))

    # The phases

    def _fill_table(self) -> None:
        """Rows that are right, wrong, missing or marked, and some that nobody in Clerk has."""
        dice, rows = self.world.dice, self.users_table.rows
        synced = {VERSION: 1}
        for payload in self.users.payloads:
            right = {**synced, "createdAt": payload["created_at"]}
            defects: list[dict[str, Any]] = [{}, {}, {}, {"firstName": "Old"}, {DELETED: 1}]
            if dice.random() < 0.9:
                rows[payload["id"]] = {**right, **dice.choice(defects)}
        rows |= {f"orphan_{n}": dict(synced) for n in range(dice.choice(ORPHANS))}
        rows["app_only"] = {"plan": "free"}

    def _with_faults(self) -> None:
        dice = self.world.dice
        for after in (0, dice.choice(START_MS), dice.choice(LATE_MS)):
            wait = {"waitSeconds": dice.choice(WAIT_SECONDS)}
            if self.world.chance(self.world.faults.audit):
                self._invoke({**dice.choice(AUDITS), **wait}, after=after, function="audit")
            else:
                self._invoke(wait, after=after)
        self._go_on()

    def _without_faults(self) -> None:
        self.world.faults = NO_FAULTS
        for _ in range(FRESH_INVOCATIONS):
            if self.runs() and all(run["status"] != "RUNNING" for run in self.runs()):
                return
            self.world.now += DRAINED_MS + LEASE_MS
            self.world.note("fresh_invocation")
            under_way = [run for run in self.runs() if run["status"] == "RUNNING"]
            for audit_run in (run for run in under_way if run["mode"] == "audit"):
                # By runId: an event without one asks for an audit without repair, and may start it.
                self._invoke({"runId": audit_run["runId"], "waitSeconds": 60}, function="audit")
            if not under_way or any(run["mode"] == "full" for run in under_way):
                self._invoke({"waitSeconds": 60})
            self._go_on()

    def _redrive(self) -> None:
        self.world.note("redrive")
        self.queue.redrive()
        self._go_on()

    # Who is there, and whose turn it is

    def _go_on(self) -> None:
        """Take turns until everybody is done and the queue empty."""
        for _ in range(MAX_STEPS):
            self._deliver()
            if not self._invocations and not self.queue.messages:
                return
            self.world.now += self.world.dice.choice(TICKS_MS)
            ready = [one for one in self._invocations if one.wakes_at <= self.world.now]
            if ready:
                self._step(self.world.dice.choice(ready))
            else:
                self.world.now = max(self.world.now, self._next_moment())
        raise AssertionError(f"no end in sight after {MAX_STEPS} steps")

    def _deliver(self) -> None:
        while len(self._workers) < WORKERS and (message := self.queue.receive()):
            page = Page.load(message.body)
            name = f"{page.number}/{message.deliveries}"
            function = partial(self._work, page, message)
            self._workers.append(self._start(f"worker {name}", 0, function, page))

    def _next_moment(self) -> int:
        moments = [one.wakes_at for one in self._invocations]
        if len(self._workers) < WORKERS:
            moments += [message.visible_at for message in self.queue.messages]
        return min(moments)

    def _start(
        self, name: str, after: int, function: Callable[[], None], page: Page | None = None
    ) -> Invocation:
        invocation = Invocation(name, self.world.now + after, function, page)
        self._invocations.append(invocation)
        return invocation

    def _step(self, invocation: Invocation) -> None:
        self.world.current = invocation
        invocation.step()
        self.world.current = None
        assert invocation.crash is None, f"{invocation.name} crashed:\n{invocation.crash}"
        if invocation.is_over:
            self._invocations.remove(invocation)
            if invocation in self._workers:
                self._workers.remove(invocation)

    def _end(self) -> None:
        for invocation in self._invocations:
            invocation.end()

    def _is_dry(self, run_id: str) -> bool:
        return bool(self.dynamodb.items[run_id, "run"]["dryRun"])

    def _on_change(self, before: Item, after: Item) -> None:
        self._rules.check(before, after)
        if not before and after["part"] == "run":
            self._orphans_at[after["runId"]] = self.users_table.orphans()

    # The functions

    def _invoke(
        self,
        event: Mapping[str, Any],
        *,
        after: int = 0,
        function: Literal["backfill", "audit"] = "backfill",
    ) -> None:
        self._started += 1
        handler = self._audit if function == "audit" else self._backfill
        self._start(f"{function} {self._started}", after, partial(handler, event))

    def _backfill(self, event: Mapping[str, Any]) -> None:
        """BackfillFunction's handler."""
        with self._failures():
            result = backfill.backfill(self._opened(event, "backfill"), backfill_request(event))
            self.world.note("answered", str(result["status"]))

    def _audit(self, event: Mapping[str, Any]) -> None:
        """AuditFunction's handler."""
        with self._failures():
            resources = self._opened(event, "audit")
            made = audit.audit(resources, audit_request(event), self._max_percent)
            self.world.note("answered", f"{made['status']} {made['verdict']}")
            assert (made["verdict"] is None) == (made["status"] in ("RUNNING", "FAILED"))

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except EventError:
            self.world.note("refused")
        except (ClerkUnavailable, AwsError) as error:
            self.world.note("failed", type(error).__name__)
            if self.world.faults == NO_FAULTS:
                raise

    def _runs_table(self) -> RunsTable:
        return RunsTable(Items(cast(Any, self.dynamodb), "RunsTable"))

    def _page_ledger(self) -> PageLedger:
        return PageLedger(Items(cast(Any, self.dynamodb), "RunsTable"))

    def _opened(self, event: Mapping[str, Any], function: Literal["backfill", "audit"]) -> Resources:
        world = self.world
        seconds = SHORT_SECONDS if world.chance(world.faults.short_time) else FUNCTION_SECONDS
        deadline = world.now + seconds * 1000
        world.note("invoked", f"{dict(event)}, {seconds:.1f} s")
        return Resources(
            runs=self._runs_table(),
            pages=self._page_ledger(),
            queue=self.queue,
            instance=TableInstance(Items(cast(Any, self.dynamodb), "RunsTable"), "users"),
            users_table=self.users_table,
            open_clerk=self._open_clerk,
            page_size=PAGE_SIZE,
            create_missing=True,
            is_out_of_time=lambda: world.now > deadline,
            invoke_again=partial(self._invoke_again, function),
            open_executor=lambda: InTurnExecutor(
                world.dice.randrange, lambda: world.dice.choice(MORE_AT_ONCE)
            ),
            max_requests=world.max_requests,
            sleep=lambda seconds: world.pause(int(seconds * 1000)),
        )

    def _open_clerk(self, on_wait: Callable[[float, str], None], _: Names) -> ClerkClient:
        self.world.check_settings("read secret", "The parameter is not there")
        return InterruptedClerk(self.world, self.users, on_wait)

    def _invoke_again(self, function: Literal["backfill", "audit"], event: Mapping[str, Any]) -> None:
        self.world.edge("invoke", lambda: self._invoke(event, function=function), can_repeat=True)

    def _work(self, page: Page, message: Message) -> None:
        """WorkerFunction's handler."""
        is_first = message.deliveries == 1 and not message.is_redriven
        is_last = message.deliveries >= self.queue.max_deliveries
        try:
            worker.Worker(
                self.users_table, self._runs_table(), self._page_ledger(), self.queue, NO_PLACEHOLDERS
            ).work(page, is_first_delivery=is_first, is_last_delivery=is_last)
        except AwsError:
            message.visible_at = self.world.now + (0 if is_last else 15_000)
        else:
            self.world.edge("delete message", lambda: self.queue.delete(message))


def play(faults: Faults, seed: int) -> Episode:
    """Play one episode. A failure says how to play it again and what happened."""
    episode = Episode(faults, seed)
    try:
        episode.play()
    except AssertionError as failure:
        trace = "\n".join(episode.world.trace)
        raise AssertionError(f"{failure}\n\nplay({faults}, seed={seed}) went:\n{trace}") from None
    return episode
