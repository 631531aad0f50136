"""Paging a run: reading its users from Clerk and sending them to the workers, page by page."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing

from clerk_sync.clerk.client import ClerkClient
from clerk_sync.clerk.listing import walk_changed
from clerk_sync.clerk.parallel_listing import Found, Place, walk_windows
from clerk_sync.clock import now_ms
from clerk_sync.runs.id_digests import digests
from clerk_sync.runs.lease import Lease
from clerk_sync.runs.page import Page, split
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.queue import batches
from clerk_sync.runs.run import Run
from clerk_sync.users.user import User, UserProblem, parse_user


def read_users(lease: Lease, clerk: ClerkClient) -> None:
    """Read the users that the run has not read yet, and send them. Raises OutOfTime, and what Clerk's client
    and the lease raise."""
    users = _changed_users(lease, clerk) if lease.run.since is not None else _all_users(lease, clerk)
    with closing(users):
        while True:
            lease.stop_if_out_of_time()
            found = next(users, None)
            if found is None:
                return
            _send(lease, found)


def _all_users(lease: Lease, clerk: ClerkClient) -> Generator[list[Found]]:
    run, resources = lease.run, lease.resources
    expected = run.expected_users
    if expected is None:
        expected = clerk.count()
        lease.expect(expected)
    lanes = resources.open_lanes()
    return walk_windows(
        clerk, run.cursor, lanes, limit=resources.page_size, met=run.total_users, expected=expected
    )


def _changed_users(lease: Lease, clerk: ClerkClient) -> Generator[list[Found]]:
    run = lease.run
    (window,) = run.cursor.windows.values()
    pages = walk_changed(
        clerk, window.cursor, limit=lease.resources.page_size, met=run.total_users, since=run.since or 0
    )
    asked_at = now_ms()
    for users in pages:
        yield [Found(users, asked_at, window, Place.at([window]))]
        window = window.after(users)
        asked_at = now_ms()


def _send(lease: Lease, found: Iterable[Found]) -> None:
    """Send what Clerk listed, in as few requests as possible."""
    messages: list[tuple[str, PendingPage]] = []
    for one in found:
        messages += _messages(lease.run, lease.run.pages + len(messages) + 1, one)
    for batch in batches(messages, lambda message: message[0]):
        lease.send(batch)


def _messages(run: Run, first: int, found: Found) -> Iterator[tuple[str, PendingPage]]:
    """The messages for one window's users, with their records: nearly always one. `first` is its number."""
    end = 0
    now = now_ms()
    for number, part in enumerate(split([parse_user(payload, now) for payload in found.users]), first):
        start, end = end, end + len(part)
        users = tuple(user for user in part if isinstance(user, User))
        malformed = [user for user in part if isinstance(user, UserProblem)]
        ids = digests(found.users[start:end])
        page = Page.of(run, number, found.asked_at, create_missing=run.create_missing, users=users)
        yield page.dump(), PendingPage(page.token, len(users), malformed, found.place_after(end), ids)
