"""The audit: a run that compares every row with Clerk and then finds the rows of deleted users."""

from typing import Any

from clerk_sync.audit.deletions import find_deletions
from clerk_sync.audit.report import KINDS, report
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.clock import now_ms
from clerk_sync.log import logger
from clerk_sync.runs.backfill import send_users
from clerk_sync.runs.events import Request
from clerk_sync.runs.invocation import Invocation
from clerk_sync.runs.lease import Lease
from clerk_sync.runs.page import Page
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.run import MissedDeletions, Run


def audit(resources: Resources, request: Request, max_percent: float) -> dict[str, Any]:
    """Start an audit or continue the one under way, wait for the workers, and report. `max_percent` is
    MaxDeletionsPercent. Raises what `Invocation.take_part` does."""

    def page(lease: Lease, clerk: ClerkClient) -> None:
        unlisted = send_users(lease, clerk)
        # The run has them if an earlier invocation was cut off after it had sent them.
        deletions = lease.run.deletions or _send_deletions(lease, clerk, unlisted, max_percent)
        lease.end_paging(unlisted, deletions)

    return _report(resources, Invocation(resources, request).take_part(page))


def _send_deletions(lease: Lease, clerk: ClerkClient, unlisted: int, max_percent: float) -> MissedDeletions:
    """Find the rows of deleted users, and send a page that marks them."""
    lease.wait_for_outcomes()
    lease.has_progressed = True  # a scan that runs out of time is saved
    missed, deletions = find_deletions(lease, clerk, unlisted, max_percent)
    if deletions:
        run = lease.run
        page = Page.of(run, run.pages + 1, now_ms(), create_missing=False, deletions=tuple(deletions))
        record = PendingPage(page.token, page.dump(), len(deletions), [], run.checkpoint, deletions=missed)
        lease.send([record])
    return missed


def _report(resources: Resources, run: Run) -> dict[str, Any]:
    runs, pages = resources.runs, resources.pages
    made = report(run, pages.findings(run.run_id), pages.problems(run), runs.webhooks(), now_ms())
    logger.info(
        "audit_reported",
        runId=run.run_id,
        verdict=made["verdict"],
        deletionsHeldBack=made["deletionsHeldBack"] is not None,
        missedByWebhooks=made["missedByWebhooks"],
        hoursSinceLastWebhook=made["hoursSinceLastWebhook"],
        found={kind: made[kind]["count"] for kind in KINDS},
    )
    return made
