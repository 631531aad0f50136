"""Users who are gone from Clerk without the table's having been told.

An audit's walk over Clerk leaves a digest of each id behind. A synced row whose id is not among them is a
candidate, and Clerk is asked for it by name before it counts. An empty, a wrong or a half-read instance must
mark nobody, so either all fits, or none is marked.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from clerk_sync.audit.scan import SavedScans, Scan
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.clock import now_ms
from clerk_sync.errors import ClerkUnavailable, OutOfTime
from clerk_sync.runs.id_digests import Ids
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.run import MissedDeletions, Run
from clerk_sync.text import counted
from clerk_sync.users.drift import RECENT_MS, SHOWN
from clerk_sync.users.row import Row, is_marked, last_seen, snapshot_version
from clerk_sync.users.table import UsersTable
from clerk_sync.users.user import Deletion

IDS_PER_REQUEST = 100
"""How many users Clerk can be asked for by name at once."""
MOST = 5_000
"""More are not marked in one audit: so many fit in a message, and in an item of RunsTable."""
ALWAYS_ALLOWED = 10


def is_complete(met: int, counted_before: int, counted_after: int) -> bool:
    """Whether a walk met everybody, by Clerk's own counts: users may have come and gone meanwhile."""
    return met >= min(counted_before, counted_after)


def held_back(gone: int, rows: int, run: Run, most_percent: float) -> str | None:
    """Why so many deletions, `gone` of `rows`, can't be believed; None if they can."""
    if not run.counts.updated + run.counts.unchanged:
        return "Not one of the users in this Clerk instance had a row: is it the right one?"
    if gone > max(ALWAYS_ALLOWED, rows * most_percent / 100):
        return (
            f"{gone:,} of {counted(rows, 'row')} would be marked, more than MaxDeletionsPercent "
            f"({most_percent:g} %) allows. If those users were deleted in Clerk, raise it for one audit."
        )
    return None


class DeletionFinder:
    """Finds the deletions that an audit's walk over Clerk has left open. Call it when the walk is over and
    the workers are done."""

    def __init__(
        self,
        users_table: UsersTable,
        pages: PageLedger,
        scans: SavedScans,
        *,
        most_percent: float,
        time_left: Callable[[], float],
    ) -> None:
        self._users_table = users_table
        self._pages = pages
        self._scans = scans
        self._most_percent = most_percent
        self._time_left = time_left

    def find(
        self, clerk: ClerkClient, run: Run, keep_lease: Callable[[], None]
    ) -> tuple[MissedDeletions, Sequence[Deletion]]:
        """What is to be recorded, and whom to mark: nobody unless the run repairs.

        Raises OutOfTime with the scan kept, after which another call goes on from there; AwsError; and what
        ClerkClient and `keep_lease` raise.
        """
        if run.settled_pages < run.pages:
            return MissedDeletions(
                held_back="The workers are not done with the other users: audit again."
            ), ()
        expected = clerk.count()
        if not is_complete(run.total_users, run.expected_users or 0, expected):
            listed = f"Clerk listed {run.total_users:,} of the {counted(expected, 'user')} that it counts"
            return MissedDeletions(held_back=f"{listed}: audit again."), ()
        scan = self._confirm(clerk, run, self._scan(run, keep_lease), keep_lease)
        rows = self._users_table.read(scan.gone, consistent=True)
        gone = [user_id for user_id, row in rows.items() if _is_unheard_of(row, now_ms())]
        found = MissedDeletions(scan.rows, len(gone), tuple(gone[:SHOWN]), unasked=scan.more)
        if not gone:
            return found, ()
        too_many = held_back(len(gone) + scan.more, scan.rows, run, self._most_percent)
        if too_many or run.dry_run:
            return replace(found, held_back=too_many), ()
        now = now_ms()
        return replace(found, sent=len(gone)), [Deletion(user_id, now) for user_id in gone]

    def _scan(self, run: Run, keep_lease: Callable[[], None]) -> Scan:
        """Look at the whole table for synced rows that were not met in Clerk."""
        scan = self._scans.load(run)
        if scan.is_done:
            return scan
        met = Ids(self._pages.id_digests(run.run_id))
        for batch, last in self._users_table.unmarked(scan.after, now_ms()):
            candidates = [*scan.candidates, *(user_id for user_id in batch if user_id not in met)]
            more = scan.more + max(0, len(candidates) - MOST)
            scan = Scan(last, last is None, scan.rows + len(batch), more, tuple(candidates[:MOST]))
            keep_lease()
            self._stop_if_out_of_time(run, scan)
        return scan

    def _confirm(self, clerk: ClerkClient, run: Run, scan: Scan, keep_lease: Callable[[], None]) -> Scan:
        """Ask Clerk for the candidates by name."""
        while scan.candidates:
            self._stop_if_out_of_time(run, scan)
            keep_lease()
            asked, left = scan.candidates[:IDS_PER_REQUEST], scan.candidates[IDS_PER_REQUEST:]
            try:
                gone = _gone(clerk, asked)
            except (ClerkUnavailable, OutOfTime):
                self._scans.save(run, scan)
                raise
            scan = replace(scan, candidates=left, gone=(*scan.gone, *gone))
        return scan

    def _stop_if_out_of_time(self, run: Run, scan: Scan) -> None:
        if self._time_left() <= 0:
            self._scans.save(run, scan)
            raise OutOfTime


def _gone(clerk: ClerkClient, user_ids: Sequence[str]) -> list[str]:
    """Those of the ids that Clerk has no user for."""
    users = clerk.users(user_id=user_ids, limit=len(user_ids))
    alive = [user.get("id") for user in users if isinstance(user, dict)]
    return [user_id for user_id in user_ids if user_id not in alive]


def _is_unheard_of(row: Row, now: int) -> bool:
    """Whether no webhook has told of the deletion, nor may one be on its way still: who was there a moment
    ago was deleted since."""
    if snapshot_version(row, now) is None or is_marked(row, now):
        return False
    return last_seen(row, now) <= now - RECENT_MS
