"""The end of a run, reported once: the invocation that records its last outcome may be a worker or not."""

from aws_lambda_powertools.metrics import MetricUnit

from clerk_sync.log import logger
from clerk_sync.metrics import record
from clerk_sync.runs.run import Run
from clerk_sync.runs.runs_table import RunsTable

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
    record(RunsFailed=run.status != "COMPLETED", MissedByWebhooks=missed)
    if run.mode == "audit" and run.status != "FAILED":
        record(AuditsWithDrift=run.has_drift)
    record(MetricUnit.Seconds, RunDuration=(now - run.started_at) / 1000)
    webhooks = runs.webhooks() if run.webhooks_since is not None else None
    if webhooks:
        hours = webhooks.hours_silent(now)
        record(HoursSinceLastWebhook=hours, WebhooksSilent=bool(missed) and hours >= SILENT_HOURS)
