"""The services around the functions in an episode: queue, Clerk and users table, each with its faults."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from clerk_sync.errors import (
    AwsError,
    ClerkRefused,
    ClerkUnavailable,
    CursorRefused,
)
from clerk_sync.runs.lease import LEASE_MS
from clerk_sync.runs.page import Page
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.users.table_writes import Result
from clerk_sync.users.write_rule import DELETED, VERSION, Write
from tests.simulation.interruptions.world import World
from tests.support.fake_clerk import ClerkInMemory
from tests.support.fake_users_table import FakeUsersTable, is_unmarked

MAX_DELIVERIES = (1, 2, 3)
VISIBILITY_MS = 360_000
DELIVERY_MS = (0, 0, 0, 100, 2_000)
LATE_DELIVERY_MS = LEASE_MS + 5_000
"""When an invocation that was cut off after it sent the message may have a successor."""
BUSY_SECONDS = LEASE_MS // 1000 + 10
MALFORMED = 0.05
"""How many of Clerk's users, about."""
ROWS_A_SCAN = 3
SLOW_SCAN_MS = LEASE_MS // 2


@dataclass(slots=True, eq=False)
class Message:
    body: str
    visible_at: int
    deliveries: int = 0
    is_redriven: bool = False


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
        self.messages += [Message(message.body, self._world.now, is_redriven=True) for message in self.dead]
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


class InterruptedClerk(ClerkInMemory):
    """`on_wait` is called before each pause, as by the real client."""

    def __init__(self, world: World, users: ClerkUsers, on_wait: Callable[[float, str], None]) -> None:
        self._world = world
        self._users = users
        self._on_wait = on_wait

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
            world.note("signed_up")
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
            self._on_wait(BUSY_SECONDS, "429")
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

    def check(self) -> None:
        self._world.check_settings("describe table", "The table is of another shape")

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
