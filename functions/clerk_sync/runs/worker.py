"""The worker: writes the users of one page, and counts once what became of them."""

import re

from clerk_sync.clock import now_ms
from clerk_sync.log import logger
from clerk_sync.metrics import count
from clerk_sync.runs.completion import finish
from clerk_sync.runs.page import Page
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.run import Counts
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.users.drift import DriftClassifier
from clerk_sync.users.table import UsersTable
from clerk_sync.users.upsert import upsert


def work(
    page: Page,
    users_table: UsersTable,
    runs: RunsTable,
    pages: PageLedger,
    *,
    placeholders: re.Pattern[str],
    is_last_delivery: bool,
) -> None:
    """Write one page and record its outcome. Raises AwsError; it is safe to repeat, whatever was done.

    On the last delivery before the dead-letter queue, the page is counted as errors first, so that the run
    ends even if this invocation dies. Success corrects the counts, at once or after a redrive.
    """
    if is_last_delivery and pages.record_outcome(page.run_id, page.number, page.token, None):
        finish(runs, page.run_id, now_ms())
    outcome = upsert(
        users_table,
        [*page.users, *page.deletions],
        as_of=page.read_at,
        now=now_ms(),
        create_missing=page.create_missing,
        dry_run=page.dry_run,
        judge=DriftClassifier(placeholders, page.read_at, page.webhooks_since, page.full_run_at),
    )
    for problem in outcome.problems:
        logger.warning("user_set_aside", clerkUserId=problem.clerk_user_id, reason=problem.reason)
    counts = Counts(
        created=outcome.created,
        updated=outcome.updated,
        unchanged=outcome.unchanged,
        skipped=outcome.skipped,
        errors=len(outcome.problems),
        missed_by_webhooks=sum(finding.is_missed for finding in outcome.findings),
        findings=len(outcome.findings),
    )
    outcome_of_page = (page.run_id, page.number, page.token, counts, outcome.problems, outcome.findings)
    is_one_of_many = pages.record_outcome_fast(*outcome_of_page)
    is_counted = is_one_of_many or pages.record_outcome(*outcome_of_page)
    logger.info(
        "page_done",
        counted=is_counted,
        users=len(page.users) + len(page.deletions),
        writes=0 if page.dry_run else counts.created + counts.updated,
    )
    if is_counted and not page.dry_run:
        count(
            Pages=1,
            UsersCreated=counts.created,
            UsersUpdated=counts.updated,
            UsersUnchanged=counts.unchanged,
            UsersSkipped=counts.skipped,
            UsersFailed=counts.errors,
        )
    if not is_one_of_many:
        finish(runs, page.run_id, now_ms())
