"""The end of a run, told once: whoever dealt with its last page may be a worker or the backfill itself."""

from aws_lambda_powertools.metrics import MetricUnit

from clerk_sync.log import logger
from clerk_sync.metrics import count, record
from clerk_sync.runs.run import Run
from clerk_sync.runs.runs_table import RunsTable

SILENT_HOURS = 12
"""After how long without a webhook what it should have brought shows that the endpoint is off."""


def finish(runs: RunsTable, run_id: str, now: int) -> Run | None:
    """Give the run its status if every page is settled, and tell of it if that is news. Raises AwsError."""
    run, is_news = runs.finish(run_id, now)
    if run and is_news:
        _tell(run, runs, now)
    return run


def _tell(run: Run, runs: RunsTable, now: int) -> None:
    missed = run.counts.missed_by_webhooks
    logger.info(
        "run_over",
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
