"""What the invocations of an episode share: time, dice and trace. Each is a thread that runs in turn."""

import random
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from clerk_sync.errors import SettingsError
from clerk_sync.runs.lease import DRAINED_MS, LEASE_MS
from clerk_sync.runs.page import Page

STALLS_MS = (500, LEASE_MS + 10_000, LEASE_MS + 10_000, DRAINED_MS + 10_000)
STUCK_SECONDS = 60.0
"""Real ones: an invocation that keeps its turn so long hangs."""


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

    def check_settings(self, what: str, problem: str) -> None:
        """Such a call that finds out whether the settings will do."""

        def check() -> None:
            if self.chance(self.faults.wrong_settings):
                raise SettingsError(problem)

        self.edge(what, check)

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


class TracedLog:
    """Stands in for the logger: log lines are the most useful part of a trace."""

    def __init__(self, world: World) -> None:
        self._world = world

    def info(self, event: str, **keys: Any) -> None:
        details = " ".join(f"{name}={value}" for name, value in keys.items() if name != "runId")
        self._world.note(event, details)

    warning = error = info

    def append_keys(self, **keys: Any) -> None:
        pass
