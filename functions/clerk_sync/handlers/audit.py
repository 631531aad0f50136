"""AuditFunction: is the table right? Invoked by the schedule, from the console or by `sam local invoke`."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.audit.deletions import DeletionFinder
from clerk_sync.audit.report import KINDS, Report, report
from clerk_sync.aws.clients import client
from clerk_sync.clock import now_ms
from clerk_sync.errors import ClerkSyncError
from clerk_sync.handlers.runs import open_backfill
from clerk_sync.handlers.settings import AuditSettings
from clerk_sync.log import logger
from clerk_sync.runs.backfill import RESERVE_SECONDS
from clerk_sync.runs.events import audit_request
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.users.table import UsersTable


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> Report:
    """Event `{}` or any of the keys of AuditEvent → what is wrong with the table, as Report has it."""
    try:
        return _audit(event, _settings(), context)
    except ClerkSyncError as error:
        logger.error("audit_interrupted", kind=type(error).__name__, reason=str(error))
        raise


def _audit(event: Any, settings: AuditSettings, context: LambdaContext) -> Report:
    request = audit_request(event)
    runs = RunsTable(client("dynamodb"), settings.runs_table)
    find_deletions = DeletionFinder(
        UsersTable(client("dynamodb"), settings.users_table, settings.users_table_key),
        runs,
        most_percent=settings.max_deletions_percent,
        time_left=lambda: context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS,
    )
    run = open_backfill(settings, context, find_deletions).go_on(request)
    problems = runs.problems(run.run_id) if run.counts.errors else []
    made = report(run, runs.findings(run.run_id), problems, runs.webhooks(), now_ms())
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


@cache
def _settings() -> AuditSettings:
    return AuditSettings.from_env()
