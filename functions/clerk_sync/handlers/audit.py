"""AuditFunction: is the table right? Invoked by the schedule, from the console or by `sam local invoke`."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.audit.audit import audit
from clerk_sync.errors import ClerkSyncError
from clerk_sync.handlers.runs import open_resources
from clerk_sync.handlers.settings import AuditSettings
from clerk_sync.log import logger
from clerk_sync.runs.events import audit_request


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Event `{}` or any of the keys of AuditRequest → the report that docs/reference.md shows."""
    try:
        settings = AuditSettings.from_env()
        resources = open_resources(settings, context)
        return audit(resources, audit_request(event), settings.max_deletions_percent)
    except ClerkSyncError as error:
        logger.error("audit_interrupted", kind=type(error).__name__, reason=str(error))
        raise
