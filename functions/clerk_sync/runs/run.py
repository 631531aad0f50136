"""A run of the backfill, and what is reported of it."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel

from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.runs.counts import Counts
from clerk_sync.users.fields import DEFAULT_NAMES, FIELDS, Names
from clerk_sync.users.user import UserProblem
from clerk_sync.webhook.arrivals import Webhooks

Mode = Literal["full", "incremental", "audit"]
Status = Literal["RUNNING", "COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED"]
type RunResult = dict[str, Any]
"""What BackfillFunction answers: see the result in docs/reference.md."""
type ProblemResult = dict[str, str | None]
"""`{"clerkUserId", "reason"}`; the id is null if the problem is not one user's."""

PROBLEMS_SHOWN = 20
KEPT_SECONDS = 90 * 24 * 3600
STALE_MS = 24 * 3600 * 1000
"""After this time an unfinished run that is continued does not replace a new one."""


class MissedDeletions(BaseModel):
    """Unmarked rows of users who are no longer in Clerk.

    `rows` counts all synced rows, `found` those of users who are gone; `first` are the first of them. `sent`
    are being marked; `held_back` says why the others are not. Clerk was not asked for `unasked` further
    candidates. An earlier run listed `listed_before` of those found; 0 if they are held back.
    """

    rows: int = 0
    found: int = 0
    first: tuple[str, ...] = ()
    sent: int = 0
    held_back: str | None = None
    unasked: int = 0
    listed_before: int = 0


class Scope(BaseModel):
    """What a run covers. `instance_id` is None until it is known; `fields` are names with commas."""

    instance_id: str | None
    users_table: str
    create_missing: bool
    fields: str


class Watermark(BaseModel):
    """When the last complete run of a mode was started (ms), and what it covered. It says nothing about
    another scope."""

    started_at: int
    scope: Scope


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is recorded. All times in ms.

    The run reads `instance_id`, once that is known, and writes `users_table`. `since` is how far back an
    incremental run reads; None means every user. `fields` are the names of what it syncs, with commas.
    `expected_users` is Clerk's own count at the start. `pages` were sent so far, with `total_users` users;
    `settled_pages` of them have an outcome, and `given_up_pages` of those are in the dead-letter queue. Clerk
    counts `unlisted_users` and did not list them; `total_users` and `counts.errors` include them. `paged_at`
    is when the last page was sent; `failure` says why reading stopped early. `webhooks_since` is when the
    first webhook arrived, `full_run_at` when the last complete full run was started.
    """

    run_id: str
    mode: Mode
    create_missing: bool
    dry_run: bool
    started_at: int
    users_table: str = ""
    instance_id: str | None = None
    since: int | None = None
    status: Status = "RUNNING"
    expected_users: int | None = None
    pages: int = 0
    total_users: int = 0
    settled_pages: int = 0
    given_up_pages: int = 0
    unlisted_users: int = 0
    counts: Counts = field(default_factory=Counts)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    paged_at: int | None = None
    ended_at: int | None = None
    failure: str | None = None
    webhooks_since: int | None = None
    full_run_at: int | None = None
    deletions: MissedDeletions | None = None
    fields: str = ",".join(DEFAULT_NAMES)

    @property
    def names(self) -> Names:
        """The names of the fields that it syncs, as far as this version knows them."""
        return tuple(name for name in self.fields.split(",") if name in FIELDS)

    @property
    def scope(self) -> Scope:
        return Scope(
            instance_id=self.instance_id,
            users_table=self.users_table,
            create_missing=self.create_missing,
            fields=self.fields,
        )

    @property
    def expires_at(self) -> int:
        """When RunsTable deletes what it has of the run (s since 1970)."""
        return self.started_at // 1000 + KEPT_SECONDS

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
        """Whether every page was sent and has an outcome."""
        return self.status != "RUNNING"

    def is_left_over(self, now: int) -> bool:
        """Whether it was started so long before `now` (ms) that it does not replace a new run."""
        return now - self.started_at > STALE_MS

    @property
    def users_to_deal_with(self) -> int | None:
        """How many users the run has, as far as it is known; None before Clerk has counted them."""
        # Clerk counted at the start; a user deleted since must not keep a progress bar from its end.
        if self.paged_at is not None:
            return self.total_users
        return None if self.expected_users is None else max(self.expected_users, self.total_users)

    @property
    def watermark(self) -> Watermark | None:
        """The watermark that this run sets: none unless all users were listed, and all pages written.
        Malformed users don't hold it back."""
        is_written = self.status in ("COMPLETED", "COMPLETED_WITH_ERRORS") and not self.dry_run
        if not is_written or self.given_up_pages or self.unlisted_users:
            return None
        return Watermark(started_at=self.started_at, scope=self.scope)

    @property
    def has_drift(self) -> bool:
        """Whether an audit that is over found anything wrong, or could not compare everything."""
        gone = self.deletions
        return bool(
            self.counts.findings
            or self.counts.errors
            or (gone and (gone.found or gone.unasked or gone.held_back))
        )

    def verdict(self) -> Status:
        if self.paged_at is None or self.settled_pages < self.pages:
            return "RUNNING"
        if self.failure is not None:
            return "FAILED"
        return "COMPLETED_WITH_ERRORS" if self.counts.errors else "COMPLETED"

    def result(self, problems: list[UserProblem], webhooks: Webhooks | None, now: int) -> RunResult:
        """As of `now` (ms)."""
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
        """The first problems as a result shows them; what concerns the whole run comes first."""
        of_run = [UserProblem(None, reason) for reason in (self.failure, self._unlisted()) if reason]
        return [
            {"clerkUserId": problem.clerk_user_id, "reason": problem.reason}
            for problem in [*of_run, *problems][:PROBLEMS_SHOWN]
        ]

    def _unlisted(self) -> str | None:
        if not self.unlisted_users:
            return None
        listed = self.total_users - self.unlisted_users
        return (
            f"Clerk counts {self.total_users:,} users but listed {listed:,} of them, even when it was asked "
            f"again. The other {self.unlisted_users:,} were not synced. Invoke the function again; if this "
            "goes on, ask Clerk's support why users are not listed."
        )
