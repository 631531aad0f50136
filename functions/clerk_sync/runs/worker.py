"""The worker: brings the users of one page into the table, and counts what became of them once."""

import re
from dataclasses import dataclass
from functools import partial

from clerk_sync.clock import now_ms
from clerk_sync.errors import AwsError, PageOutdated
from clerk_sync.log import logger
from clerk_sync.metrics import record
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.page import Page, PageOutcome
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.queue import PagesQueue, backoff
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.users.drift import DriftClassifier, group_by_kind
from clerk_sync.users.table import UsersTable
from clerk_sync.users.upsert import Outcome, upsert


@dataclass(frozen=True, slots=True)
class Worker:
    """Works on pages, one at a time. `placeholders` matches placeholder data."""

    users_table: UsersTable
    runs: RunsTable
    pages: PageLedger
    queue: PagesQueue
    placeholders: re.Pattern[str]

    def work(self, page: Page, *, is_first_delivery: bool, is_last_delivery: bool) -> None:
        """Sync one page. Raises AwsError; to repeat it is safe, whatever was done before.

        If the last delivery before the dead-letter queue fails, the page is counted as errors, so that the
        run ends; a redrive corrects the count.
        """
        try:
            self._write(page, is_first_delivery)
        except PageOutdated:
            logger.info("page_outdated", part=page.part)
        except AwsError:
            if is_last_delivery and self.pages.record_outcome(page.run_id, page.number, page.token, None):
                self.runs.finish(page.run_id, now_ms())
            raise

    def _write(self, page: Page, is_first_delivery: bool) -> None:
        plan = {} if is_first_delivery else self.pages.plan(page)
        if plan is None:
            raise PageOutdated
        outcome = upsert(
            self.users_table.with_fields(page.names),
            page.changes,
            as_of=page.read_at,
            now=now_ms(),
            create_missing=page.create_missing,
            dry_run=page.dry_run,
            classifier=DriftClassifier(
                self.placeholders, page.read_at, page.webhooks_since, page.full_run_at
            ),
            earlier=plan,
            before_writing=partial(self.pages.record_plan, page),
        )
        for problem in outcome.problems:
            logger.warning("user_set_aside", clerkUserId=problem.clerk_user_id, reason=problem.reason)
        done = page.done + _page_outcome(outcome)
        if outcome.left:
            self._continue(page.next_part(outcome.left, done))
        else:
            self._record_outcome(page, done)

    def _continue(self, page: Page) -> None:
        """Go on in a new message, so that only poison uses up deliveries, and throttling does not."""
        delay = backoff(page.stalls) if page.stalls else 0
        self.queue.send_later(page.dump(), delay)
        logger.warning("page_throttled", part=page.part, left=len(page.changes), seconds=delay)

    def _record_outcome(self, page: Page, done: PageOutcome) -> None:
        is_one_of_many = self.pages.record_outcome_fast(page.run_id, page.number, page.token, done)
        is_counted = is_one_of_many or self.pages.record_outcome(page.run_id, page.number, page.token, done)
        counts = done.counts
        logger.info(
            "page_done",
            counted=is_counted,
            users=counts.total,
            writes=0 if page.dry_run else counts.created + counts.updated,
        )
        if is_counted and not page.dry_run:
            record(
                Pages=1,
                UsersCreated=counts.created,
                UsersUpdated=counts.updated,
                UsersUnchanged=counts.unchanged,
                UsersSkipped=counts.skipped,
                UsersFailed=counts.errors,
            )
        if not is_one_of_many:
            self.runs.finish(page.run_id, now_ms())


def _page_outcome(outcome: Outcome) -> PageOutcome:
    counts = Counts(
        created=outcome.created,
        updated=outcome.updated,
        unchanged=outcome.unchanged,
        skipped=outcome.skipped,
        errors=len(outcome.problems),
        missed_by_webhooks=sum(finding.missed_by_webhook for finding in outcome.findings.values()),
        findings=len(outcome.findings),
    )
    return PageOutcome(
        counts, tuple(outcome.problems), group_by_kind(outcome.findings) if outcome.findings else {}
    )
