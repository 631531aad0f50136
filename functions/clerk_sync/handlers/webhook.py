"""WebhookFunction: takes Clerk's signed webhooks from API Gateway."""

from functools import cache
from typing import Any

from clerk_sync.aws.items import Items
from clerk_sync.aws.secrets import CachedSecret, ssm
from clerk_sync.errors import AwsError, MessageError, SettingsError, Unauthorized
from clerk_sync.handlers.api_gateway import body, dynamodb, headers, prepare
from clerk_sync.handlers.settings import WebhookSettings
from clerk_sync.log import logger
from clerk_sync.metrics import record
from clerk_sync.users.table import TableInstance, UsersTable
from clerk_sync.webhook.arrivals import Arrivals
from clerk_sync.webhook.event import parse_webhook
from clerk_sync.webhook.processor import WebhookProcessor
from clerk_sync.webhook.signature import verify_with

MAX_BYTES = 1024 * 1024


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, _context: object) -> dict[str, int]:
    """A request of API Gateway's REST API → its status: 204 stored or ignored, 400 not an event, 401 not
    signed by Clerk, 413 too big; 500 and 503 where Clerk should send it again."""
    try:
        return {"statusCode": _answer(event)}
    except (MessageError, Unauthorized) as error:
        return {"statusCode": _rejected(401 if isinstance(error, Unauthorized) else 400, str(error))}
    except (SettingsError, AwsError) as error:
        logger.error("webhook_failed", reason=str(error))
        return {"statusCode": 500 if isinstance(error, SettingsError) else 503}


def _answer(event: Any) -> int:
    request_headers, content = headers(event), body(event)
    if len(content) > MAX_BYTES:
        return _rejected(413, "The body is larger than 1 MiB.")
    secret, processor = _opened()
    signed_at = verify_with(secret, content, request_headers)
    processor.process(parse_webhook(content, signed_at, processor.users_table.names))
    return 204


def _rejected(status: int, reason: str) -> int:
    logger.warning("webhook_rejected", reason=reason)
    record(WebhooksRejected=1)
    return status


@cache
def _opened() -> tuple[CachedSecret, WebhookProcessor]:
    settings = WebhookSettings.from_env()
    items = Items(dynamodb(), settings.runs_table)
    secret = CachedSecret(settings.clerk_webhook_secret_parameter, "CLERK_WEBHOOK_SECRET")
    return secret, WebhookProcessor(
        UsersTable(dynamodb(), settings.users_table, settings.users_table_key, settings.names),
        TableInstance(items, settings.users_table),
        Arrivals(items),
        create_missing=settings.create_missing_users,
    )


prepare(_opened, ssm)
