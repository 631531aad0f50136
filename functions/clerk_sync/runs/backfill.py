"""The backfill: reads users from Clerk, sends them to the workers, and reports what became of them."""

from collections.abc import Generator, Iterator
from contextlib import closing

from clerk_sync.clerk.client import ClerkClient
from clerk_sync.clerk.listing import ListedUsers, TooManyChanges, list_changed
from clerk_sync.clerk.parallel_listing import ParallelListing
from clerk_sync.clock import now_ms
from clerk_sync.log import logger
from clerk_sync.runs.events import Request
from clerk_sync.runs.id_digests import digests
from clerk_sync.runs.invocation import Invocation
from clerk_sync.runs.lease import Lease
from clerk_sync.runs.page import MAX_BYTES, Page, message_size
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.queue import batches
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.run import Run, RunResult
from clerk_sync.users.user import User, UserProblem, parse_user


def backfill(resources: Resources, request: Request) -> RunResult:
    """Start a run or continue the one under way, wait for the workers, and report. Raises what
    `Invocation.take_part` does."""
    run = Invocation(resources, request).take_part(_page)
    return run.result(resources.pages.problems(run), resources.runs.webhooks(), now_ms())


def _page(lease: Lease, clerk: ClerkClient) -> None:
    lease.end_paging(send_users(lease, clerk))


def send_users(lease: Lease, clerk: ClerkClient) -> int:
    """Read the users that the run has not read yet, and send them: those who changed since the last run, or
    everybody if it is a full one or too many changed.

    Returns how many users Clerk did not list, though it counted them before the listing and after it. Raises
    OutOfTime, and what Clerk's client and the lease raise.
    """
    run, limit = lease.run, lease.resources.page_size
    # An incremental run that began to read everybody has recorded how many users Clerk counts.
    if run.since is not None and run.expected_users is None:
        try:
            _send_all(lease, list_changed(clerk, run.checkpoint, limit=limit, since=run.since))
        except TooManyChanges:
            logger.info("too_many_changes")
        else:
            return 0
    listing = _all_users(lease, clerk)
    _send_all(lease, listing.pages())
    return listing.unlisted


def _all_users(lease: Lease, clerk: ClerkClient) -> ParallelListing:
    resources = lease.resources
    if lease.run.expected_users is None:
        lease.save(expected_users=clerk.count())
    return ParallelListing(
        clerk,
        lease.run.checkpoint,
        resources.open_executor(),
        max_requests=resources.max_requests,
        limit=resources.page_size,
        expected=lease.run.expected_users or 0,
    )


def _send_all(lease: Lease, listing: Generator[list[ListedUsers]]) -> None:
    with closing(listing):
        while True:
            lease.keep()
            listed = next(listing, None)
            if listed is None:
                return
            pages: list[PendingPage] = []
            for one in listed:
                pages += _pages(lease.run, lease.run.pages + len(pages) + 1, one)
            for batch in batches(pages, lambda page: len(page.body)):
                lease.send(batch)


def _pages(run: Run, first: int, listed: ListedUsers) -> Iterator[PendingPage]:
    """The pages for one window's users: nearly always one. `first` is its number."""
    end = 0
    now, names = now_ms(), run.names
    parsed = [parse_user(payload, now, names) for payload in listed.users]
    for number, part in enumerate(batches(parsed, message_size, MAX_BYTES, len(parsed)), first):
        start, end = end, end + len(part)
        users = tuple(user for user in part if isinstance(user, User))
        malformed = [user for user in part if isinstance(user, UserProblem)]
        page = Page.of(run, number, listed.requested_at, create_missing=run.create_missing, users=users)
        yield PendingPage(
            page.token,
            page.dump(),
            len(users),
            malformed,
            listed.checkpoint_after(end),
            digests(listed.users[start:end]),
        )
