"""BackfillFunction: invoked by the schedule, from the console or by `sam local invoke`."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.errors import ClerkSyncError
from clerk_sync.handlers.runs import open_resources
from clerk_sync.handlers.settings import BackfillSettings
from clerk_sync.log import logger
from clerk_sync.runs.backfill import backfill
from clerk_sync.runs.events import backfill_request
from clerk_sync.runs.run import RunResult


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> RunResult:
    """Event `{}` or any of the keys of BackfillRequest → the run's record as RunResult has it."""
    try:
        return backfill(open_resources(BackfillSettings.from_env(), context), backfill_request(event))
    except ClerkSyncError as error:
        logger.error("backfill_interrupted", kind=type(error).__name__, reason=str(error))
        raise
