"""AuditFunction: is the table right? Invoked by the schedule, from the console or by `sam local invoke`."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.audit.audit import audit
from clerk_sync.audit.deletions import DeletionFinder
from clerk_sync.audit.report import Report
from clerk_sync.audit.scan import SavedScans
from clerk_sync.aws.clients import client
from clerk_sync.aws.items import Items
from clerk_sync.errors import ClerkSyncError
from clerk_sync.handlers.runs import open_resources, users_table
from clerk_sync.handlers.settings import AuditSettings
from clerk_sync.log import logger
from clerk_sync.runs.events import audit_request


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> Report:
    """Event `{}` or any of the keys of AuditRequest → what is wrong with the table, as Report has it."""
    try:
        return _audit(event, AuditSettings.from_env(), context)
    except ClerkSyncError as error:
        logger.error("audit_interrupted", kind=type(error).__name__, reason=str(error))
        raise


def _audit(event: Any, settings: AuditSettings, context: LambdaContext) -> Report:
    finder = DeletionFinder(
        users_table(settings),
        SavedScans(Items(client("dynamodb"), settings.runs_table)),
        settings.max_deletions_percent,
    )
    return audit(open_resources(settings, context), audit_request(event), finder)
