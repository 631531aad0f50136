"""Missed deletions: rows of users who are no longer in Clerk.

A run records a digest of each id that Clerk lists. A synced row whose id is not among an audit's digests is a
candidate. It counts if Clerk, asked for it by id, has no such user. If Clerk's list seems incomplete or to be
another instance's, no row is marked.
"""

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel

from clerk_sync.aws.items import Items
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.clock import now_ms
from clerk_sync.errors import ClerkUnavailable, OutOfTime
from clerk_sync.runs.id_digests import IdSet, not_listed
from clerk_sync.runs.lease import Lease
from clerk_sync.runs.run import MissedDeletions, Run
from clerk_sync.text import counted
from clerk_sync.users.drift import RECENT_MS, USERS_NAMED
from clerk_sync.users.user import Deletion
from clerk_sync.users.write_rule import Row, is_marked, last_seen, snapshot_version

IDS_PER_REQUEST = 100
"""The most users that one request asks Clerk for by id, as Clerk allows."""
MAX_DELETIONS = 5_000
"""The most rows that one audit marks: they fit in one message, and in one item of RunsTable."""
ALWAYS_ALLOWED = 10
"""The number of rows that an audit may mark whatever MaxDeletionsPercent is."""


def reason_to_hold_back(gone: int, rows: int, run: Run, max_percent: float) -> str | None:
    """Why `gone` of `rows` rows must not be marked; None if they may be."""
    if not run.counts.updated + run.counts.unchanged:
        return "No user of this Clerk instance had a row: is it the right one?"
    if gone > max(ALWAYS_ALLOWED, rows * max_percent / 100):
        return (
            f"{gone:,} of {counted(rows, 'row')} would be marked, more than MaxDeletionsPercent "
            f"({max_percent:g} %) allows. If those users were deleted in Clerk, raise it for one audit."
        )
    return None


class Scan(BaseModel):
    """The progress of a scan of the users table, saved in RunsTable if the function is out of time.

    `after` is the last key that was read; None at the start and at the end. `rows` counts the synced rows.
    `candidates` are the ids that Clerk must still be asked for; `more` counts further ones, which are not
    kept. `gone` are the ids that Clerk does not have.
    """

    after: str | None = None
    is_done: bool = False
    rows: int = 0
    more: int = 0
    candidates: list[str] = []
    gone: list[str] = []

    @classmethod
    def load(cls, items: Items, run: Run) -> Self:
        """The run's scan as it was saved last; a new one if there is none. Raises AwsError."""
        item = items.get(run.run_id, "scan")
        return cls.model_validate_json(item["scan"]) if item else cls()

    def save(self, items: Items, run: Run) -> None:
        """Raises AwsError."""
        text = self.model_dump_json()
        items.update(run.run_id, "scan", set_={"scan": text, "expiresAt": run.expires_at})


def find_deletions(
    lease: Lease, clerk: ClerkClient, unlisted: int, max_percent: float
) -> tuple[MissedDeletions, Sequence[Deletion]]:
    """Find the rows to mark as deleted, after every user was read and written: the record to save, and the
    deletions to send; none unless the run repairs.

    `unlisted` is the number of users that Clerk counts and did not list. Raises OutOfTime with the scan
    saved, so that another call continues it; AwsError; and the errors of ClerkClient and the lease.
    """
    run, items = lease.run, lease.resources.runs.items
    if run.settled_pages < run.pages:
        return MissedDeletions(held_back="The workers have not written every user yet: audit again."), ()
    if unlisted:
        counts = counted(run.total_users + unlisted, "user")
        listed = f"Clerk listed {run.total_users:,} of the {counts} that it counts"
        return MissedDeletions(held_back=f"{listed}: audit again."), ()
    scan = Scan.load(items, run)
    try:
        _scan_table(lease, scan)
        _confirm(lease, clerk, scan)
        return _decide(lease, scan, max_percent)
    except (ClerkUnavailable, OutOfTime):
        scan.save(items, run)
        raise


def _scan_table(lease: Lease, scan: Scan) -> None:
    """Scan the table for synced rows whose users Clerk has not listed."""
    if scan.is_done:
        return
    listed = IdSet(lease.resources.pages.id_digests(lease.run.run_id))
    for batch, last in lease.resources.users_table.unmarked(scan.after, now_ms()):
        candidates = [*scan.candidates, *(user_id for user_id in batch if user_id not in listed)]
        scan.after, scan.is_done = last, last is None
        scan.rows += len(batch)
        scan.more += max(0, len(candidates) - MAX_DELETIONS)
        scan.candidates = candidates[:MAX_DELETIONS]
        lease.keep()


def _decide(lease: Lease, scan: Scan, max_percent: float) -> tuple[MissedDeletions, Sequence[Deletion]]:
    """What to record and to send once Clerk was asked for all candidates."""
    run = lease.run
    rows = lease.resources.users_table.read(scan.gone, consistent=True)
    gone = [user_id for user_id, row in rows.items() if _is_unmarked(row, now_ms())]
    first = tuple(gone[:USERS_NAMED])
    found = MissedDeletions(rows=scan.rows, found=len(gone), first=first, unasked=scan.more)
    if gone:
        found.held_back = reason_to_hold_back(len(gone) + scan.more, scan.rows, run, max_percent)
    if not gone or found.held_back:
        return found, ()
    found.listed_before = _listed_before(lease, gone)
    if run.dry_run:
        return found, ()
    found.sent = len(gone)
    now = now_ms()
    return found, [Deletion(user_id, now) for user_id in gone]


def _confirm(lease: Lease, clerk: ClerkClient, scan: Scan) -> None:
    """Ask Clerk for the candidates by id."""
    while asked := scan.candidates[:IDS_PER_REQUEST]:
        lease.keep()
        users = clerk.users(user_id=asked, limit=len(asked))
        alive = [user.get("id") for user in users if isinstance(user, dict)]
        scan.gone += [user_id for user_id in asked if user_id not in alive]
        del scan.candidates[:IDS_PER_REQUEST]


def _listed_before(lease: Lease, gone: Sequence[str]) -> int:
    """How many of the users who are gone were listed by an earlier run.

    The others may never have been in Clerk: a sample webhook makes a row too.
    """
    left = set(gone)
    for run_id in lease.resources.runs.ids_before(lease.run):
        if not left:
            break
        lease.keep()
        left = not_listed(left, lease.resources.pages.id_digests(run_id))
    return len(gone) - len(left)


def _is_unmarked(row: Row, now: int) -> bool:
    """Whether the row is synced and not marked, and a webhook can't be on its way: the user of a row that
    changed a moment ago was deleted since."""
    is_synced = snapshot_version(row, now) is not None and not is_marked(row, now)
    return is_synced and last_seen(row, now) <= now - RECENT_MS
