"""The listing of all users, in several windows of creation times at once.

At 200 ms an answer, one cursor reads 5 pages a second, of the 100 that Clerk allows. So a long listing is
split into windows, each with its own cursor. A bulk import may put all users into one second, so windows are
split as the listing goes: when there is room for another request, the window whose page has just come is
split if it seems to have many users left. A small instance stays in one window.
"""

from collections.abc import Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

from clerk_sync.clerk.checkpoint import Checkpoint, Window, time_of
from clerk_sync.clerk.listing import Clerk, ListedUsers, WindowPage, list_page

PAGES_WORTH_A_WINDOW = 6
"""A window costs a request, wasted if fewer users are left than it seemed."""


@dataclass
class ParallelListing:
    """Lists every user from a checkpoint on, each once.

    The executor must be able to run `max_requests` at once. `expected` is Clerk's own count when the run
    began. If every window has ended with fewer users listed than that, those that Clerk may have cut are
    listed further, once, until no users come.
    """

    clerk: Clerk
    checkpoint: Checkpoint
    executor: Executor
    max_requests: int
    limit: int
    expected: int
    _requests: dict[Future[WindowPage], Window] = field(default_factory=dict)
    _listed_further: set[int | None] = field(default_factory=set)

    @property
    def unlisted(self) -> int:
        """How many users Clerk counted before and after the listing but did not list, once `pages` ends."""
        return max(0, self.expected - self.checkpoint.listed)

    def pages(self) -> Generator[list[ListedUsers]]:
        """Yield the new users that have come, if any, in the order of their checkpoints.

        Close it, or read it to its end, to shut the executor down. Raises what ClerkClient raises.
        """
        try:
            self._request(window for window in self.checkpoint.windows if not window.ended)
            while True:
                while self._requests:
                    pages = [self._take(request) for request in self._completed()]
                    yield [listed for listed in pages if listed.users]
                further = self._windows_to_list_further()
                if not further:
                    return
                self._request(further)
        finally:
            # Without waiting: the requests under way end when the client is closed.
            self.executor.shutdown(wait=False, cancel_futures=True)

    def _completed(self) -> list[Future[WindowPage]]:
        while not (completed := [request for request in self._requests if request.done()]):
            wait(self._requests, return_when=FIRST_COMPLETED)
        return completed

    def _take(self, request: Future[WindowPage]) -> ListedUsers:
        """The users that a request returned. Sends the window's next request, or those of its parts."""
        page, window = request.result(), self._requests.pop(request)
        listed = ListedUsers(page.users, page.requested_at, window, self.checkpoint)
        if page.is_last:
            following = []
        elif page.has_ended:
            following = [replace(page.window, ended=True)]
        else:
            following = self._parts(page)
            self._request(following)
        self.checkpoint = self.checkpoint.replacing(window, *following, listed=len(page.users))
        return listed

    def _request(self, windows: Iterable[Window]) -> None:
        for window in windows:
            request = self.executor.submit(list_page, self.clerk, window, self.limit)
            self._requests[request] = window

    def _windows_to_list_further(self) -> list[Window]:
        """The windows whose last page Clerk may have cut, unless as many users were listed as it counted."""
        if not self.unlisted:
            return []
        ended = [w for w in self.checkpoint.windows if w.since not in self._listed_further]
        self._listed_further.update(window.since for window in ended)
        if not ended:
            # Users who were deleted meanwhile are not missing. They would hide others if they were left out
            # of the count before.
            self.expected = min(self.expected, self.clerk.count())
        return ended

    def _parts(self, page: WindowPage) -> list[Window]:
        """The window of a page, or its parts, by how close in time the page's users are."""
        window = page.window
        most = self.max_requests - len(self._requests)
        left = self.expected - self.checkpoint.listed - len(page.users)
        worth = PAGES_WORTH_A_WINDOW * self.limit
        if most < 2 or left < 2 * worth or len(page.users) < self.limit:
            return [window]
        first, last = (time_of(page.users[n], "created_at") for n in (0, -1))
        end = self._end if window.before is None else window.before
        if first is None or last is None or end is None:
            return [window]
        in_window = len(page.users) / (last - first + 1) * (end - last)
        parts = int(min(most, left // worth, in_window // worth))
        return _split(window, last + 1, end, parts)

    @cached_property
    def _end(self) -> int | None:
        """The time (ms) before which the newest user was created; None if it is not known."""
        newest = self.clerk.users(order_by="-created_at", limit=1)
        at = time_of(newest[0], "created_at") if newest else None
        return None if at is None else at + 1


def _split(window: Window, start: int, end: int, parts: int) -> list[Window]:
    """The window, or parts of the same length from `start` to `end` (ms). The first has what was listed."""
    bounds = [start + (end - start) * part // parts for part in range(1, parts)]
    # No part begins before 1970: whether Clerk takes such a time in a filter is not documented.
    bounds = sorted({bound for bound in bounds if bound > max(start, 0)})
    if not bounds:
        return [window]
    first = replace(window, before=bounds[0], ended=False)
    return [first, *(Window(*part) for part in pairwise([*bounds, window.before]))]
