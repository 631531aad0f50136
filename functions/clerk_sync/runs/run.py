"""A run of the backfill, and what is reported of it."""

from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict

from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.users.user import UserProblem
from clerk_sync.webhook.arrivals import Webhooks

Mode = Literal["full", "incremental", "audit"]
Status = Literal["RUNNING", "COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED"]

PROBLEMS_SHOWN = 20
STALE_MS = 24 * 3600 * 1000
"""After this time an unfinished run that is continued does not replace a new one."""


class ProblemResult(TypedDict):
    """One entry of a result's `errors`; the id is null where the trouble is not one user's."""

    clerkUserId: str | None
    reason: str


class RunResult(TypedDict):
    """What BackfillFunction answers. Times in ms; `timestamp` is when the run ended, null before.

    `missedByWebhooks`, of the users created and updated, are those that a webhook should have told of;
    both it and `hoursSinceLastWebhook` are null where Clerk never sent one.
    """

    runId: str
    mode: Mode
    dryRun: bool
    status: Status
    totalClerkUsers: int
    successCount: int
    errorCount: int
    createdCount: int
    updatedCount: int
    unchangedCount: int
    skippedCount: int
    missedByWebhooks: int | None
    hoursSinceLastWebhook: float | None
    pages: int
    startedAt: int
    timestamp: int | None
    errors: list[ProblemResult]


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of some users, each of whom is counted once; and of those created or updated, how many a
    webhook should have told of, and how many had a row that was wrong."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    errors: int = 0
    missed_by_webhooks: int = 0
    findings: int = 0

    @property
    def total(self) -> int:
        """How many users were counted."""
        return self.created + self.updated + self.unchanged + self.skipped + self.errors

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(
            self.created - other.created,
            self.updated - other.updated,
            self.unchanged - other.unchanged,
            self.skipped - other.skipped,
            self.errors - other.errors,
            self.missed_by_webhooks - other.missed_by_webhooks,
            self.findings - other.findings,
        )


@dataclass(frozen=True, slots=True)
class MissedDeletions:
    """Rows of users that are not in Clerk any more, and not marked: how many of `rows` synced ones, the first
    of them, how many are sent to be marked and why not all are; and how many more may be that Clerk was not
    asked for."""

    rows: int = 0
    found: int = 0
    first: tuple[str, ...] = ()
    sent: int = 0
    held_back: str | None = None
    unasked: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is recorded. All times in ms.

    `since` is how far back an incremental run reads; None: everybody. `expected_users` is Clerk's own count
    at the start. `pages` were put on the queue so far, with `total_users` users; `settled_pages` of them
    have been dealt with, or given up. `paged_at` is when the last one was put there, `failure` why there
    are no more. `webhooks_since` is when the first webhook came, `full_run_at` when the last complete full
    run began, and `deletions` what an audit found of users that are gone.
    """

    run_id: str
    mode: Mode
    create_missing: bool
    dry_run: bool
    started_at: int
    since: int | None = None
    status: Status = "RUNNING"
    expected_users: int | None = None
    pages: int = 0
    total_users: int = 0
    settled_pages: int = 0
    counts: Counts = field(default_factory=Counts)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    paged_at: int | None = None
    ended_at: int | None = None
    failure: str | None = None
    webhooks_since: int | None = None
    full_run_at: int | None = None
    deletions: MissedDeletions | None = None

    def with_page(self, users: int, checkpoint: Checkpoint, deletions: MissedDeletions | None) -> "Run":
        """The run once one more page, of so many users, is sent."""
        return replace(
            self,
            pages=self.pages + 1,
            total_users=self.total_users + users,
            checkpoint=checkpoint,
            deletions=deletions or self.deletions,
        )

    @property
    def is_over(self) -> bool:
        """Whether every page has been dealt with."""
        return self.status != "RUNNING"

    def is_left_over(self, now: int) -> bool:
        """Whether it was started so long before `now` (ms) that it does not replace a new run."""
        return now - self.started_at > STALE_MS

    @property
    def users_to_deal_with(self) -> int | None:
        """How many there are, as far as it is known; None before Clerk has counted them."""
        # Clerk's count is of the run's start, and users who have gone since are not to hold a bar back.
        if self.paged_at is not None:
            return self.total_users
        return None if self.expected_users is None else max(self.expected_users, self.total_users)

    @property
    def is_complete(self) -> bool:
        """Whether all that it was to read was read and dealt with, and not just tried."""
        return self.status in ("COMPLETED", "COMPLETED_WITH_ERRORS") and not self.dry_run

    @property
    def has_drift(self) -> bool:
        """Whether an audit that is over found anything wrong, or could not look."""
        gone = self.deletions
        return bool(
            self.counts.findings
            or self.counts.errors
            or (gone and (gone.found or gone.unasked or gone.held_back))
        )

    def verdict(self) -> Status:
        """The status that follows from what is recorded."""
        if self.paged_at is None or self.settled_pages < self.pages:
            return "RUNNING"
        if self.failure is not None:
            return "FAILED"
        return "COMPLETED_WITH_ERRORS" if self.counts.errors else "COMPLETED"

    def result(self, problems: list[UserProblem], webhooks: Webhooks | None, now: int) -> RunResult:
        """The contract's shape, as of `now` (ms)."""
        counts = self.counts
        return {
            "runId": self.run_id,
            "mode": self.mode,
            "dryRun": self.dry_run,
            "status": self.status,
            "totalClerkUsers": self.total_users,
            "successCount": counts.created + counts.updated + counts.unchanged,
            "errorCount": counts.errors,
            "createdCount": counts.created,
            "updatedCount": counts.updated,
            "unchangedCount": counts.unchanged,
            "skippedCount": counts.skipped,
            "missedByWebhooks": counts.missed_by_webhooks if webhooks else None,
            "hoursSinceLastWebhook": webhooks.hours_silent(now) if webhooks else None,
            "pages": self.pages,
            "startedAt": self.started_at,
            "timestamp": self.ended_at,
            "errors": self.errors(problems),
        }

    def errors(self, problems: list[UserProblem]) -> list[ProblemResult]:
        """The first problems as a result has them, before all what stopped the run."""
        stopped = [] if self.failure is None else [UserProblem(None, self.failure)]
        return [
            {"clerkUserId": problem.clerk_user_id, "reason": problem.reason}
            for problem in [*stopped, *problems][:PROBLEMS_SHOWN]
        ]
