"""Missed deletions: rows of users who are no longer in Clerk.

A run records a digest of each id that Clerk lists. A synced row whose id is not among an audit's digests is a
candidate. It counts if Clerk, asked for it by id, has no such user. If Clerk's list seems incomplete or to be
another instance's, no row is marked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clerk_sync.audit.scan import SavedScans, Scan
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.clock import now_ms
from clerk_sync.errors import ClerkUnavailable, OutOfTime
from clerk_sync.runs.id_digests import IdSet, not_listed
from clerk_sync.runs.lease import Lease
from clerk_sync.runs.run import MissedDeletions, Run
from clerk_sync.text import counted
from clerk_sync.users.drift import RECENT_MS, USERS_NAMED
from clerk_sync.users.row import Row, is_marked, last_seen, snapshot_version
from clerk_sync.users.table import UsersTable
from clerk_sync.users.user import Deletion

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


@dataclass(frozen=True, slots=True)
class DeletionFinder:
    """Finds the rows that an audit marks as deleted, after every user was read and written."""

    users_table: UsersTable
    scans: SavedScans
    max_percent: float

    def find(
        self, lease: Lease, clerk: ClerkClient, unlisted: int
    ) -> tuple[MissedDeletions, Sequence[Deletion]]:
        """The record to save, and the deletions to send; none unless the run repairs.

        `unlisted` is the number of users that Clerk counts and did not list. Raises OutOfTime with the scan
        saved, so that another call continues it; AwsError; and the errors of ClerkClient and the lease.
        """
        run = lease.run
        if run.settled_pages < run.pages:
            return MissedDeletions(held_back="The workers have not written every user yet: audit again."), ()
        if unlisted:
            counts = counted(run.total_users + unlisted, "user")
            listed = f"Clerk listed {run.total_users:,} of the {counts} that it counts"
            return MissedDeletions(held_back=f"{listed}: audit again."), ()
        scan = self._confirm(lease, clerk, self._scan(lease))
        rows = self.users_table.read(scan.gone, consistent=True)
        gone = [user_id for user_id, row in rows.items() if _is_unmarked(row, now_ms())]
        found = MissedDeletions(scan.rows, len(gone), tuple(gone[:USERS_NAMED]), unasked=scan.more)
        if not gone:
            return found, ()
        held_back = reason_to_hold_back(len(gone) + scan.more, scan.rows, run, self.max_percent)
        if held_back:
            return replace(found, held_back=held_back), ()
        found = replace(found, listed_before=self._listed_before(lease, scan, gone))
        if run.dry_run:
            return found, ()
        now = now_ms()
        return replace(found, sent=len(gone)), [Deletion(user_id, now) for user_id in gone]

    def _scan(self, lease: Lease) -> Scan:
        """Scan the table for synced rows whose users Clerk has not listed."""
        scan = self.scans.load(lease.run)
        if scan.is_done:
            return scan
        listed = IdSet(lease.resources.pages.id_digests(lease.run.run_id))
        for batch, last in self.users_table.unmarked(scan.after, now_ms()):
            candidates = [*scan.candidates, *(user_id for user_id in batch if user_id not in listed)]
            more = scan.more + max(0, len(candidates) - MAX_DELETIONS)
            scan = Scan(last, last is None, scan.rows + len(batch), more, tuple(candidates[:MAX_DELETIONS]))
            self._keep(lease, scan)
        return scan

    def _confirm(self, lease: Lease, clerk: ClerkClient, scan: Scan) -> Scan:
        """Ask Clerk for the candidates by id."""
        while scan.candidates:
            self._keep(lease, scan)
            asked, left = scan.candidates[:IDS_PER_REQUEST], scan.candidates[IDS_PER_REQUEST:]
            try:
                gone = _gone(clerk, asked)
            except (ClerkUnavailable, OutOfTime):
                self.scans.save(lease.run, scan)
                raise
            scan = replace(scan, candidates=left, gone=(*scan.gone, *gone))
        return scan

    def _listed_before(self, lease: Lease, scan: Scan, gone: Sequence[str]) -> int:
        """How many of the users who are gone were listed by an earlier run.

        The others may never have been in Clerk: a sample webhook makes a row too.
        """
        left = set(gone)
        for run_id in lease.resources.runs.ids_before(lease.run):
            if not left:
                break
            self._keep(lease, scan)
            left = not_listed(left, lease.resources.pages.id_digests(run_id))
        return len(gone) - len(left)

    def _keep(self, lease: Lease, scan: Scan) -> None:
        """Keep the lease; raise OutOfTime, with the scan saved, when only the reserve is left."""
        lease.keep()
        if lease.resources.is_out_of_time():
            self.scans.save(lease.run, scan)
            raise OutOfTime


def _gone(clerk: ClerkClient, user_ids: Sequence[str]) -> list[str]:
    """The ids for which Clerk has no user."""
    users = clerk.users(user_id=user_ids, limit=len(user_ids))
    alive = [user.get("id") for user in users if isinstance(user, dict)]
    return [user_id for user_id in user_ids if user_id not in alive]


def _is_unmarked(row: Row, now: int) -> bool:
    """Whether the row is synced and not marked, and a webhook can't be on its way: the user of a row that
    changed a moment ago was deleted since."""
    if snapshot_version(row, now) is None or is_marked(row, now):
        return False
    return last_seen(row, now) <= now - RECENT_MS
