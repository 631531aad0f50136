"""The end of a run, reported once: the invocation that records its last outcome may be a worker or not."""

from aws_lambda_powertools.metrics import MetricUnit

from clerk_sync.clock import now_ms
from clerk_sync.log import logger
from clerk_sync.metrics import count, record
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.runs.run import Run
from clerk_sync.runs.runs_table import RunsTable

DRAINED_MS = 120_000
"""How long after the last page was sent an empty queue means that pending pages will get no outcome."""
SILENT_HOURS = 12
"""After how long without a webhook a change that a webhook should have delivered means that the endpoint is
off."""


def finish(runs: RunsTable, run_id: str, now: int) -> Run | None:
    """Set the run's status if every page has an outcome, and report it if it changed. None if there is no
    such run. Raises AwsError."""
    run, has_changed = runs.finish(run_id, now)
    if run and has_changed:
        _report(run, runs, now)
    return run


def give_up_lost_pages(runs: RunsTable, pages: PageLedger, queue: PagesQueue, run: Run) -> Run:
    """Count pages as errors whose messages are no longer in the queue, and return the run as it is then.

    Such messages ended in the dead-letter queue before a worker could record that, or were purged. A redrive
    corrects the counts. Raises AwsError.
    """
    if run.paged_at is None or now_ms() - run.paged_at < DRAINED_MS or not queue.is_drained():
        return run
    for number, token in pages.pending_pages(run):
        logger.error("page_given_up", runId=run.run_id, page=number, reason="not in the queue any more")
        pages.record_outcome(run.run_id, number, token, None)
    return finish(runs, run.run_id, now_ms()) or run


def _report(run: Run, runs: RunsTable, now: int) -> None:
    missed = run.counts.missed_by_webhooks
    logger.info(
        "run_finished",
        runId=run.run_id,
        status=run.status,
        users=run.total_users,
        errors=run.counts.errors,
        missedByWebhooks=missed,
    )
    count(RunsFailed=run.status != "COMPLETED", MissedByWebhooks=missed)
    if run.mode == "audit" and run.status != "FAILED":
        count(AuditsWithDrift=run.has_drift)
    record(MetricUnit.Seconds, RunDuration=(now - run.started_at) / 1000)
    webhooks = runs.webhooks() if run.webhooks_since is not None else None
    if webhooks:
        hours = webhooks.hours_silent(now)
        count(HoursSinceLastWebhook=hours, WebhooksSilent=bool(missed) and hours >= SILENT_HOURS)
