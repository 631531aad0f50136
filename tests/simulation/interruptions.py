"""Episodes: whole runs and audits in which things go wrong between any two calls.

The code of the backfill, the audit, the worker and RunsTable is the real one; DynamoDB, the queue, Clerk and
the users table are in memory, and time is simulated. Each invocation of a function is a thread. One thread at
a time has the turn, and gives it up at each call that leaves the function. A seeded dice decides which thread
is next and what goes wrong, so an episode can be repeated.
"""

import json
import random
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from types import ModuleType, SimpleNamespace
from typing import Any, Literal, Self, cast
from unittest.mock import patch

from clerk_sync import metrics
from clerk_sync.audit import audit, deletions
from clerk_sync.audit.deletions import DeletionFinder
from clerk_sync.audit.scan import SavedScans
from clerk_sync.aws import items as items_module
from clerk_sync.aws.items import Items
from clerk_sync.clerk import listing, parallel_listing
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.errors import (
    AwsError,
    ClerkRefused,
    ClerkUnavailable,
    CursorRefused,
    EventError,
    SettingsError,
)
from clerk_sync.runs import (
    backfill,
    completion,
    lease,
    paging,
    run_starter,
    runs_table,
    worker,
)
from clerk_sync.runs import (
    invocation as invocation_module,
)
from clerk_sync.runs import (
    page as page_module,
)
from clerk_sync.runs.completion import DRAINED_MS
from clerk_sync.runs.events import audit_request, backfill_request
from clerk_sync.runs.id_digests import IdSet
from clerk_sync.runs.lease import LEASE_MS
from clerk_sync.runs.page import Page
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.runs.resources import RESERVE_SECONDS, Resources
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.users.drift import placeholder_pattern
from clerk_sync.users.instance import TableInstance
from clerk_sync.users.row import DELETED, VERSION
from clerk_sync.users.table import Result
from clerk_sync.users.write_rule import Write
from tests.support.executors import InTurnExecutor
from tests.support.fake_dynamodb import FakeDynamoDB, Item
from tests.support.fake_users_table import FakeUsersTable, is_unmarked

PAGE_SIZE = 2
NO_PLACEHOLDERS = placeholder_pattern([])
WORKERS = 2
MAX_DELIVERIES = (1, 2, 3)
VISIBILITY_MS = 360_000
TICKS_MS = (1, 1, 5, 20)
MORE_AT_ONCE = (0, 0, 1, 3)
"""How many more of Clerk's answers have come when one is wanted."""
STALLS_MS = (500, LEASE_MS + 10_000, LEASE_MS + 10_000, DRAINED_MS + 10_000)
DELIVERY_MS = (0, 0, 0, 100, 2_000)
LATE_DELIVERY_MS = LEASE_MS + 5_000
"""When an invocation that was cut off after it sent the message may have a successor."""
START_MS = (0, 0, 50, 2_000)
LATE_MS = (LEASE_MS + 500, LEASE_MS + 1_000, LEASE_MS + 5_000)
"""When an invocation can take over from one that was killed or stalled at once."""
WAIT_SECONDS = (0, 0, 5, LEASE_MS // 1000 + 5)
FUNCTION_SECONDS = 900.0
SHORT_SECONDS = RESERVE_SECONDS + 0.12
"""Time for a page or two."""
BUSY_SECONDS = LEASE_MS // 1000 + 10
AUDITS: tuple[Mapping[str, bool], ...] = ({}, {"repair": True}, {"repair": True})
ORPHANS = (0, 1, 3, 12)
MAX_PERCENT = (0, 2, 100)
ROWS_A_SCAN = 3
SLOW_SCAN_MS = LEASE_MS // 2
FRESH_INVOCATIONS = 3
"""One that takes the run over, one that gives up what is in the dead-letter queue, one to spare."""
MALFORMED = 0.05
"""How many of Clerk's users, about."""
MAX_STEPS = 20_000
STUCK_SECONDS = 60.0
"""Real ones: an invocation that keeps its turn so long hangs."""

COUNTS = ("createdCount", "updatedCount", "unchangedCount", "skippedCount", "errorCount")


@dataclass(frozen=True, slots=True, repr=False)
class Faults:
    """How likely each fault is, each time that it can happen.

    `kill` and `stall`: before a call, and again after it. `repeat`: the answer to a call was lost and the
    SDK makes it again. `conflict`: a write meets a transaction. `wrong_settings`: the secret or the users
    table will not do. `clerk_busy`: Clerk asks for a pause. `clerk_down`, `table_down`: the request fails.
    `clerk_refuses`: the secret key is taken back in the middle of a run.
    `sign_up`: Clerk has one more user than when it was last asked, so a page that is read anew is another.
    `second_delivery`: a message is delivered again while it is being worked on. `late_delivery`: it comes
    when its sender's lease is over. `short_time`: an invocation has time for a page or two. `audit`: an
    invocation is one of AuditFunction. `deletion`: Clerk has a user fewer than when it was last asked.
    `short_list`: a list of Clerk's ends too soon. `unlisted`: how many users Clerk counts and never lists.
    `slow_scan`: the next few rows of the table take long to come. `kill_late`: before an invocation records
    that it is done with Clerk. `kill_at`, `stall_at`: no chance but the one moment for trouble, counted from
    1 in each episode; none if 0. `cut_list_at`: the one list of Clerk's that ends too soon, counted likewise.
    """

    kill: float = 0.0
    stall: float = 0.0
    repeat: float = 0.0
    conflict: float = 0.0
    wrong_settings: float = 0.0
    clerk_busy: float = 0.0
    clerk_down: float = 0.0
    clerk_refuses: float = 0.0
    table_down: float = 0.0
    sign_up: float = 0.0
    second_delivery: float = 0.0
    late_delivery: float = 0.0
    short_time: float = 0.0
    audit: float = 0.0
    deletion: float = 0.0
    short_list: float = 0.0
    unlisted: int = 0
    slow_scan: float = 0.0
    kill_late: float = 0.0
    kill_at: int = 0
    stall_at: int = 0
    cut_list_at: int = 0

    def __repr__(self) -> str:
        likely = {name: value for name, value in asdict(self).items() if value}
        return f"Faults({', '.join(f'{name}={value}' for name, value in likely.items())})"


NO_FAULTS = Faults()
CLOCKED: tuple[ModuleType, ...]
CLOCKED = (
    audit,
    backfill,
    completion,
    deletions,
    invocation_module,
    lease,
    listing,
    paging,
    run_starter,
    worker,
)
"""The modules that ask for the time."""


class Killed(BaseException):
    """The function's process is gone; as nothing catches that, nothing catches this."""


class _Baton:
    """Handed from one thread to another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def give(self) -> None:
        self._lock.release()

    def take(self) -> None:
        assert self._lock.acquire(timeout=STUCK_SECONDS), "an invocation keeps its turn"


class Invocation:
    """One invocation of a function; `page` is what a worker was given. Its thread runs during `step` and at
    no other time."""

    def __init__(
        self, name: str, starts_at: int, function: Callable[[], None], page: Page | None = None
    ) -> None:
        self.name = name
        self.wakes_at = starts_at
        self.is_over = False
        self.is_killed = False
        self.crash: str | None = None
        self.page = page
        self._function = function
        self._turn = _Baton()
        self._turn_back = _Baton()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def step(self) -> None:
        """Let it go on to its next pause, or its end."""
        self._turn.give()
        self._turn_back.take()
        if self.is_over:
            self._thread.join()

    def pause(self, until: int) -> None:
        """Give the turn up, from inside."""
        self.wakes_at = until
        self._turn_back.give()
        self._turn.take()
        if self.is_killed:
            raise Killed

    def end(self) -> None:
        """Have it killed, if it is not over: no thread outlives its episode."""
        self.is_killed = True
        while not self.is_over:
            self.step()

    def _main(self) -> None:
        self._turn.take()
        try:
            if not self.is_killed:
                self._function()
        except Killed:
            self.is_killed = True
        except BaseException:
            self.crash = traceback.format_exc()
        self.is_over = True
        self._turn_back.give()


class World:
    """What the invocations share: the time, the dice, the trace, and the way out."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self.faults = faults
        self.dice = random.Random(seed)
        self.max_requests = 1 + seed % 4
        self.now = 1_000_000
        self.trace: list[str] = []
        self.events: Counter[str] = Counter()
        self.current: Invocation | None = None
        self.moments = 0
        """For trouble, so far."""
        self.lists = 0
        """Of Clerk's users, so far."""

    def chance(self, probability: float) -> bool:
        return self.dice.random() < probability

    def note(self, event: str, details: str = "") -> None:
        self.events[event] += 1
        name = self.current.name if self.current else "-"
        self.trace.append(f"{self.now / 1000 - 1000:10.3f}  {name:12} {event} {details}".rstrip())

    def pause(self, milliseconds: int = 0) -> None:
        assert self.current
        self.current.pause(self.now + milliseconds)

    def edge[T](self, what: str, action: Callable[[], T], *, can_repeat: bool = False) -> T:
        """Make a call that leaves the function: the others' turn, and the moment for trouble."""
        self.pause()
        self._interrupt("before", what)
        answer = self._attempt(what, action)
        if can_repeat and self.chance(self.faults.repeat):
            self.pause()
            self._interrupt("before the second try to", what)
            answer = self._attempt(f"{what} (again)", action)
        self._interrupt("after", what)
        return answer

    def _attempt[T](self, what: str, action: Callable[[], T]) -> T:
        try:
            answer = action()
        except Exception as error:
            self.note(what, f"→ {type(error).__name__}")
            raise
        self.note(what)
        return answer

    def _interrupt(self, when: str, what: str) -> None:
        self.moments += 1
        is_late = when == "before" and "pagedAt" in what
        is_killed = self.chance(self.faults.kill + is_late * self.faults.kill_late)
        if is_killed or self.moments == self.faults.kill_at:
            self.note("killed", f"{when} {what}")
            raise Killed
        if self.chance(self.faults.stall) or self.moments == self.faults.stall_at:
            self.note("stalled", f"{when} {what}")
            self.pause(self.dice.choice(STALLS_MS))


class _TracedLog:
    """Stands in for the logger: what the code says of itself is worth most in a trace."""

    def __init__(self, world: World) -> None:
        self._world = world

    def info(self, event: str, **keys: Any) -> None:
        told = " ".join(f"{name}={value}" for name, value in keys.items() if name != "runId")
        self._world.note(event, told)

    warning = error = info

    def append_keys(self, **keys: Any) -> None:
        pass


@dataclass(slots=True, eq=False)
class Message:
    body: str
    visible_at: int
    deliveries: int = 0


class InterruptedQueue(PagesQueue):
    """`sent` has every page by its token, `dead` is the dead-letter queue."""

    def __init__(self, world: World) -> None:
        self.messages: list[Message] = []
        self.dead: list[Message] = []
        self.sent: dict[str, Page] = {}
        self.max_deliveries = world.dice.choice(MAX_DELIVERIES)
        self._world = world

    def send(self, messages: Sequence[str]) -> None:
        # SQS takes all, none or any of a batch before the answer is lost.
        pages = [Page.load(message) for message in messages]
        self._world.dice.shuffle(pages)
        for page in pages:
            self._world.edge(f"send page {page.number}", partial(self._put, page), can_repeat=True)

    def is_drained(self) -> bool:
        return self._world.edge("count messages", lambda: not self.messages)

    def receive(self) -> Message | None:
        world = self._world
        due = [message for message in self.messages if message.visible_at <= world.now]
        if not due:
            return None
        message = world.dice.choice(due)
        message.deliveries += 1
        if message.deliveries > self.max_deliveries:
            self.messages.remove(message)
            self.dead.append(message)
            world.note("dead_letter", f"page {Page.load(message.body).number}")
            return None
        again = world.chance(world.faults.second_delivery)
        message.visible_at = world.now + (50 if again else VISIBILITY_MS)
        return message

    def delete(self, message: Message) -> None:
        # A second delivery may have ended in the dead-letter queue meanwhile, where it stays.
        if message in self.messages:
            self.messages.remove(message)

    def redrive(self) -> None:
        self.messages += [Message(message.body, self._world.now) for message in self.dead]
        self.dead.clear()

    def _put(self, page: Page) -> None:
        self.sent[page.token] = page
        is_late = self._world.chance(self._world.faults.late_delivery)
        delay = LATE_DELIVERY_MS if is_late else self._world.dice.choice(DELIVERY_MS)
        self.messages.append(Message(page.dump(), self._world.now + delay))


class ClerkUsers:
    """The users that Clerk has, oldest first, and since when; some are as old as the one before.
    `on_deleted` is what it makes of a cursor whose user is gone."""

    def __init__(self, world: World) -> None:
        self.payloads: list[dict[str, Any]] = []
        self.known_since: dict[str, int] = {}
        self.gone_since: dict[str, int] = {}
        self.on_deleted: Literal["reject", "empty", "position"]
        self.on_deleted = world.dice.choice(["reject", "empty", "position"])
        self.newest = 0
        self._world = world
        # With several requests at once as many as are worth several windows.
        for _ in range(world.dice.choice([0, 3, 4, 7] if world.max_requests == 1 else [3, 12, 18])):
            self.sign_up()
        ids = self.ids()
        self.unlisted = set(world.dice.sample(ids, min(len(ids), world.faults.unlisted)))

    def sign_up(self) -> None:
        dice, user_id = self._world.dice, f"user_{len(self.known_since)}"
        self.newest += dice.choice([0, 1, 1])
        payload = {"id": user_id, "created_at": self.newest, "updated_at": 1}
        if dice.random() < MALFORMED:
            del payload["updated_at"]
        self.payloads.append(payload)
        self.known_since[user_id] = self._world.now

    def delete(self) -> None:
        if self.payloads:
            gone = self.payloads.pop(self._world.dice.randrange(len(self.payloads)))
            self.gone_since[gone["id"]] = self._world.now
            self._world.note("deleted", gone["id"])

    def ids(self) -> list[str]:
        return [payload["id"] for payload in self.payloads]

    def after(self, cursor: str) -> list[dict[str, Any]]:
        """The users behind that one, or behind the place where it was."""
        if cursor in self.gone_since and self.on_deleted == "reject":
            raise CursorRefused("404")
        if cursor in self.gone_since and self.on_deleted == "empty":
            return []
        order = list(self.known_since)
        return [user for user in self.payloads if order.index(user["id"]) > order.index(cursor)]


class InterruptedClerk(ClerkClient):
    """`on_wait` is called before each pause, as by the real client."""

    def __init__(self, world: World, users: ClerkUsers, on_wait: Callable[[float, str], None]) -> None:
        self._world = world
        self._users = users
        self._tell = on_wait

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def instance_id(self) -> str:
        return self._request("ask for the instance", lambda: "ins_1")

    def count(self) -> int:
        return self._request("count users", lambda: len(self._users.payloads))

    def users(self, **query: str | int | Sequence[str]) -> list[Any]:
        return self._request(f"list users {query}", lambda: self._list(query))

    def _list(self, query: Mapping[str, Any]) -> list[Any]:
        world, users = self._world, self._users
        if world.chance(world.faults.sign_up):
            users.sign_up()
        if world.chance(world.faults.deletion):
            users.delete()
        if "user_id" in query:
            return [user for user in users.payloads if user["id"] in query["user_id"]][: int(query["limit"])]
        if query.get("order_by") == "-created_at":
            return users.payloads[-int(query["limit"]) :]
        since = int(query.get("created_at_after", -1))
        found = users.after(query["starting_after"]) if "starting_after" in query else users.payloads
        listed = [user for user in found if user["created_at"] > since and user["id"] not in users.unlisted]
        listed = listed[: int(query["limit"])]
        world.lists += 1
        if listed and (world.chance(world.faults.short_list) or world.lists == world.faults.cut_list_at):
            world.note("cut_short")
            return listed[: world.dice.randrange(len(listed))]
        return listed

    def _request[T](self, what: str, answer: Callable[[], T]) -> T:
        def answer_or_failure() -> T:
            if self._world.chance(self._world.faults.clerk_down):
                raise ClerkUnavailable("503")
            if self._world.chance(self._world.faults.clerk_refuses):
                raise ClerkRefused("401")
            return answer()

        if self._world.chance(self._world.faults.clerk_busy):
            self._tell(BUSY_SECONDS, "429")
            self._world.pause(BUSY_SECONDS * 1000)
        return self._world.edge(what, answer_or_failure)


class InterruptedUsersTable(FakeUsersTable):
    """Checks each write, as a later one may correct a wrong one."""

    def __init__(self, world: World, users: ClerkUsers, is_dry: Callable[[str], bool]) -> None:
        super().__init__()
        self._world = world
        self._users = users
        self._is_dry = is_dry

    def read(self, user_ids: Iterable[str], *, consistent: bool = False) -> dict[str, Any]:
        wanted, read = list(user_ids), super().read
        if not wanted:
            return {}
        what = "read rows consistently" if consistent else "read rows"
        return self._edge(what, lambda: dict(read(wanted)))

    def write(self, writes: Sequence[Write]) -> list[Result]:
        write = super().write

        def checked() -> list[Result]:
            for one in writes:
                self._check(one)
            return write(writes)

        return self._edge("write rows", checked, can_repeat=True) if writes else []

    def unmarked(self, after: str | None, now: int) -> Iterator[tuple[list[str], str | None]]:
        is_last = False
        while not is_last:
            if self._world.chance(self._world.faults.slow_scan):
                self._world.pause(SLOW_SCAN_MS)
            batch = self._edge("scan rows", partial(self._batch, after))
            is_last, after = len(batch) < ROWS_A_SCAN, batch[-1] if batch else None
            unmarked = [user_id for user_id in batch if is_unmarked(self.rows[user_id], now)]
            yield unmarked, None if is_last else after

    def orphans(self) -> set[str]:
        """Synced rows of users that Clerk does not have, which are not marked."""
        now = self._world.now
        unmarked = {user_id for user_id, row in self.rows.items() if is_unmarked(row, now)}
        return unmarked - set(self._users.ids())

    def _batch(self, after: str | None) -> list[str]:
        return sorted(user_id for user_id in self.rows if after is None or user_id > after)[:ROWS_A_SCAN]

    def _check(self, write: Write) -> None:
        assert self._world.current
        assert self._world.current.page, "an invocation that is not a worker writes"
        assert not self._is_dry(self._world.current.page.run_id), "a dry run writes"
        if DELETED in write.put:
            assert write.user_id not in self._users.ids(), f"{write.user_id} is marked and alive"
            assert VERSION in self.rows.get(write.user_id, {}), f"{write.user_id} is not Clerk's"
            self._world.note("marked", write.user_id)

    def _edge[T](self, what: str, action: Callable[[], T], *, can_repeat: bool = False) -> T:
        def action_or_failure() -> T:
            if self._world.chance(self._world.faults.table_down):
                raise AwsError("The table is throttled")
            return action()

        return self._world.edge(what, action_or_failure, can_repeat=can_repeat)


class Rules:
    """What must be right at each write, as a later one may hide a wrong one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._holders: dict[str, Invocation | None] = {}
        """Who has the lease of each run, or had it last."""

    def check(self, before: Item, after: Item) -> None:
        item = after or before
        if item["part"].startswith("page#"):
            self._check_page(before, after)
        elif item["part"] == "run" and before:
            changed = {name for name in after if before.get(name) != after[name]}
            self._check_lease(before, changed, is_given_back=not after.get("leaseOwner"))
            if changed & {"pages", "totalClerkUsers", "checkpoint", "pagedAt", "leaseUntil"}:
                self._check_holder(item["runId"])
            if "status" in changed:
                _check_verdict(after)

    def _check_lease(self, before: Item, changed: set[str], *, is_given_back: bool) -> None:
        if "leaseOwner" in changed and is_given_back:
            self._check_holder(before["runId"])
        elif "leaseOwner" in changed:
            assert before["leaseUntil"] < self._world.now, "a lease is taken before it is over"
            self._holders[before["runId"]] = self._world.current
        if changed & {"leaseOwner", "pages", "pagedAt"}:
            assert "pagedAt" not in before, "the run is paged after its last page"

    def _check_page(self, before: Item, after: Item) -> None:
        if not (before and after):
            self._check_holder((after or before)["runId"])
        elif self._world.current and (page := self._world.current.page):
            assert page.token == after["pageToken"], "another copy of the page is counted"

    def _check_holder(self, run_id: str) -> None:
        assert self._holders.get(run_id) is self._world.current, "one pages, another has the lease"


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
            self._check()
            if self.queue.dead:
                self._redrive()
                self._check()

    def runs(self) -> list[Item]:
        return [item for (_, part), item in self.dynamodb.items.items() if part == "run"]

    def _stand_ins(self) -> Iterator[tuple[object, str, object]]:
        log = _TracedLog(self.world)
        module: ModuleType
        for module in (audit, completion, invocation_module, lease, run_starter, worker):
            yield module, "logger", log
        for module in (metrics, completion):
            yield module, "record", lambda *_, **__: None
        for module in CLOCKED:
            yield module, "now_ms", lambda: self.world.now
        numbers = count(1)
        yield run_starter, "_new_run_id", lambda mode: f"{mode}-{next(numbers)}"
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
            scans = SavedScans(Items(cast(Any, self.dynamodb), "RunsTable"))
            finder = DeletionFinder(cast(Any, self.users_table), scans, self._max_percent)
            made = audit.audit(resources, audit_request(event), finder)
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
            users_table="users",
            open_clerk=self._open_clerk,
            check_table=partial(self._check_settings, "describe table", "The table is of another shape"),
            page_size=PAGE_SIZE,
            create_missing=True,
            time_left=lambda: (deadline - world.now) / 1000,
            invoke_again=partial(self._invoke_again, function),
            open_executor=lambda: InTurnExecutor(
                world.dice.randrange, lambda: world.dice.choice(MORE_AT_ONCE)
            ),
            max_requests=world.max_requests,
            sleep=lambda seconds: world.pause(int(seconds * 1000)),
        )

    def _open_clerk(self, on_wait: Callable[[float, str], None]) -> ClerkClient:
        self._check_settings("read secret", "The parameter is not there")
        return InterruptedClerk(self.world, self.users, on_wait)

    def _check_settings(self, what: str, problem: str) -> None:
        def check() -> None:
            if self.world.chance(self.world.faults.wrong_settings):
                raise SettingsError(problem)

        self.world.edge(what, check)

    def _invoke_again(self, function: Literal["backfill", "audit"], event: Mapping[str, Any]) -> None:
        self.world.edge("invoke", lambda: self._invoke(event, function=function), can_repeat=True)

    def _work(self, page: Page, message: Message) -> None:
        """WorkerFunction's handler."""
        is_last = message.deliveries >= self.queue.max_deliveries
        try:
            worker.Worker(
                self.users_table, self._runs_table(), self._page_ledger(), self.queue, NO_PLACEHOLDERS
            ).work(page, is_first_delivery=message.deliveries == 1, is_last_delivery=is_last)
        except AwsError:
            message.visible_at = self.world.now + (0 if is_last else 15_000)
        else:
            self.world.edge("delete message", lambda: self.queue.delete(message))

    # What must come out

    def _check(self) -> None:
        assert self.runs(), "there is no run"
        assert self.world.events["stalled"] or not self.world.events["lease_lost"], (
            "the lease is lost without a stall"
        )
        for run in self.runs():
            assert run["status"] != "RUNNING", f"a run is never over: {run}"
            pages = self._parts("runId", run["runId"])
            _check_pages(run, pages)
            self._check_status(run, pages)
            self._check_users(run, pages)
            if run["mode"] == "audit" and run["status"] == "COMPLETED":
                self._check_deletions(run, pages)

    def _check_status(self, run: Item, pages: Sequence[Item]) -> None:
        dead = {Page.load(message.body).token for message in self.queue.dead}
        given_up = {page["pageToken"] for page in pages if page["state"] == "FAILED"}
        assert given_up <= dead, f"pages given up that no redrive brings back: {given_up - dead}"
        # A worker that is killed between its last page's count and the run's status leaves that to a redrive.
        is_final = dead.isdisjoint(page["pageToken"] for page in pages if page["state"] == "DONE")
        if is_final:
            _check_verdict(run)

    def _check_users(self, run: Item, pages: Sequence[Item]) -> None:
        met = [user_id for page in pages for user_id in self._users_of(page)]
        marked = [deletion.id for page in pages for deletion in self._sent(page).deletions]
        told = run["totalClerkUsers"]
        assert len(met) + len(marked) == told, f"{told} users, but {met} and {marked}"
        assert len(set(met)) == len(met), f"users that count twice: {met}"
        known = IdSet(page.get("ids", b"") for page in pages)
        assert all(user_id in known for user_id in met), "users that were met leave no digest"
        if run["status"] == "FAILED":
            return
        users = self.users
        awaited = {user_id for user_id, since in users.known_since.items() if since <= run["startedAt"]}
        awaited -= users.gone_since.keys()
        # Users who are gone, or came, by the end of a list that was cut may hide that others are missing.
        has_churn = users.gone_since or self._faults.sign_up
        if not (run.get("unlistedUsers") or (self.world.events["cut_short"] and has_churn)):
            assert set(met) >= awaited, f"users that do not count: {awaited - set(met)}"
        if run["dryRun"]:
            return
        done = {user_id for page in pages if page["state"] == "DONE" for user_id in self._users_of(page)}
        stored = {payload["id"] for payload in users.payloads if "updated_at" in payload} & done
        assert stored <= self.users_table.rows.keys(), "users that count and are not in the table"

    def _check_deletions(self, run: Item, pages: Sequence[Item]) -> None:
        found = json.loads(run["deletions"])
        marked = [deletion.id for page in pages for deletion in self._sent(page).deletions]
        assert found["sent"] == len(marked), f"{marked} are marked, but not by what is told: {found}"
        alive = set(self.users.ids())
        assert alive.isdisjoint(found["first"]), f"reported and alive: {alive & set(found['first'])}"
        left = self._orphans_at[run["runId"]] & self.users_table.orphans()
        if found["held_back"]:
            self.world.note("held_back", found["held_back"])
        elif run["dryRun"]:
            assert left <= set(found["first"]), f"not reported: {left - set(found['first'])}"
        else:
            assert not left, f"not marked: {left}"

    def _users_of(self, page: Item) -> list[str]:
        users = [user.id for user in self._sent(page).users]
        return users + [user_id for user_id, _ in json.loads(page["malformed"])]

    def _sent(self, page: Item) -> Page:
        assert page["pageToken"] in self.queue.sent, f"a page counts that was never sent: {page}"
        return self.queue.sent[page["pageToken"]]

    def _parts(self, name: str, value: str) -> list[Item]:
        """The page records of which this is true."""
        return [
            item
            for (_, part), item in sorted(self.dynamodb.items.items())
            if part.startswith("page#") and item[name] == value
        ]


def play(faults: Faults, seed: int) -> Episode:
    """Play one episode. A failure says how to play it again and what happened."""
    episode = Episode(faults, seed)
    try:
        episode.play()
    except AssertionError as failure:
        trace = "\n".join(episode.world.trace)
        raise AssertionError(f"{failure}\n\nplay({faults}, seed={seed}) went:\n{trace}") from None
    return episode


def _check_verdict(run: Item) -> None:
    assert "pagedAt" in run, f"over before it is paged: {run}"
    assert run["settledPages"] == run["pages"], f"over before its pages are: {run}"
    is_whole = not (run["errorCount"] or run.get("unlistedUsers"))
    due = "COMPLETED" if is_whole else "COMPLETED_WITH_ERRORS"
    assert run["status"] == ("FAILED" if "failure" in run else due), f"not the status due: {run}"


def _check_pages(run: Item, pages: Sequence[Item]) -> None:
    numbers = [page["part"] for page in pages]
    assert numbers == [f"page#{number:08}" for number in range(1, run["pages"] + 1)], f"{numbers} of {run}"
    assert run["settledPages"] == run["pages"], f"pages not settled, or twice: {run}"
    states = Counter(page["state"] for page in pages)
    assert set(states) <= {"DONE", "FAILED"}, f"over with pages that are {states}: {run}"
    for name in COUNTS:
        told = [page[name] for page in pages]
        assert run[name] == sum(told), f"the pages' {name} are {told}, but {run}"
    found = [_found(page) for page in pages]
    assert run["findingsCount"] == sum(found), f"the pages' findings are {found}, but {run}"
    assert sum(run[name] for name in COUNTS) == run["totalClerkUsers"], f"the counts don't add up: {run}"


def _found(page: Item) -> int:
    return sum(one["count"] for one in json.loads(page.get("findings") or "{}").values())
