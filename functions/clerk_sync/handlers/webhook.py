"""WebhookFunction: takes Clerk's signed webhooks from API Gateway."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.aws.clients import client
from clerk_sync.aws.items import Items
from clerk_sync.aws.secrets import CachedSecret
from clerk_sync.errors import AwsError, MessageError, SettingsError, SignatureError
from clerk_sync.handlers.api_gateway import body, check_is_request, dynamodb, headers, prepare
from clerk_sync.handlers.settings import WebhookSettings
from clerk_sync.log import logger
from clerk_sync.metrics import count
from clerk_sync.users.instance import TableInstance
from clerk_sync.users.table import UsersTable
from clerk_sync.webhook.arrivals import Arrivals
from clerk_sync.webhook.event import parse_webhook
from clerk_sync.webhook.processor import WebhookProcessor
from clerk_sync.webhook.signature import verify_with

MAX_BYTES = 1024 * 1024


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> dict[str, int]:  # noqa: ARG001
    """A request of API Gateway's REST API → its status: 204 stored or ignored, 400 not an event, 401 not
    signed by Clerk, 413 too big; 500 and 503 where Clerk should send it again."""
    try:
        return {"statusCode": _answer(event)}
    except (SettingsError, AwsError) as error:
        logger.error("webhook_failed", reason=str(error))
        return {"statusCode": 500 if isinstance(error, SettingsError) else 503}


def _answer(event: Any) -> int:
    try:
        check_is_request(event)
        content = body(event)
        if len(content) > MAX_BYTES:
            return _rejected(413, "The body is larger than 1 MiB.")
        signed_at = verify_with(_secret(), content, headers(event))
        processor = _processor()
        processor.process(parse_webhook(content, signed_at, processor.users_table.names))
    except SignatureError as error:
        return _rejected(401, str(error))
    except MessageError as error:
        return _rejected(400, str(error))
    return 204


def _rejected(status: int, reason: str) -> int:
    logger.warning("webhook_rejected", reason=reason)
    count(WebhooksRejected=1)
    return status


@cache
def _secret() -> CachedSecret:
    return CachedSecret(WebhookSettings.from_env().clerk_webhook_secret_parameter, "CLERK_WEBHOOK_SECRET")


@cache
def _processor() -> WebhookProcessor:
    settings = WebhookSettings.from_env()
    items = Items(dynamodb(), settings.runs_table)
    return WebhookProcessor(
        UsersTable(dynamodb(), settings.users_table, settings.users_table_key, settings.names),
        TableInstance(items, settings.users_table),
        Arrivals(items),
        create_missing=settings.create_missing_users,
    )


prepare(_secret, _processor, lambda: client("ssm"))
