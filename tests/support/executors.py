"""Executors without threads, for tests that must run the same way each time."""

import heapq
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class InTurnFuture[T](Future[T]):
    """Done when its executor has run it."""

    def __init__(self, executor: "InTurnExecutor", call: Callable[[], T]) -> None:
        super().__init__()
        self._executor = executor
        self._call = call

    def run(self) -> None:
        try:
            self.set_result(self._call())
        except Exception as error:
            self.set_exception(error)

    def done(self) -> bool:
        self._executor.run_some()
        return super().done()

    def result(self, timeout: float | None = None) -> T:
        self._executor.taken(self)
        return super().result(timeout)


class InTurnExecutor(Executor):
    """Runs a call only when somebody asks for what is done and nothing is: the oldest, unless `pick` returns
    the index of another, given how many there are; and after it `more` others."""

    def __init__(self, pick: Callable[[int], int] = lambda _: 0, more: Callable[[], int] = lambda: 0) -> None:
        self._pick = pick
        self._more = more
        self._waiting: list[InTurnFuture[Any]] = []
        self._done: set[InTurnFuture[Any]] = set()

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = InTurnFuture(self, lambda: fn(*args, **kwargs))
        self._waiting.append(future)
        return future

    def run_some(self) -> None:
        if self._done:
            return
        for _ in range(min(1 + self._more(), len(self._waiting))):
            future = self._waiting.pop(self._pick(len(self._waiting)))
            self._done.add(future)
            future.run()

    def taken(self, future: InTurnFuture[Any]) -> None:
        self._done.discard(future)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        self._waiting.clear()


class VirtualTimeExecutor(InTurnExecutor):
    """Runs calls in a time of its own, up to `number` at once: each takes `latency` seconds, and none begins
    less than `interval` seconds after the one before."""

    def __init__(self, number: int, *, latency: float = 0.2, interval: float = 0.01) -> None:
        super().__init__()
        self.now = 0.0
        self._latency = latency
        self._interval = interval
        self._next = 0.0
        self._free = [0.0] * number
        self._under_way: list[tuple[float, int, InTurnFuture[Any]]] = []
        self._submitted = 0

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future = InTurnFuture(self, lambda: fn(*args, **kwargs))
        begins = max(self.now, heapq.heappop(self._free), self._next)
        self._next = begins + self._interval
        self._submitted += 1
        heapq.heappush(self._free, begins + self._latency)
        heapq.heappush(self._under_way, (begins + self._latency, self._submitted, future))
        return future

    def run_some(self) -> None:
        if self._done or not self._under_way:
            return
        done_at, _, future = heapq.heappop(self._under_way)
        self.now = max(self.now, done_at)
        self._done.add(future)
        future.run()
