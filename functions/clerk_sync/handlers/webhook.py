"""WebhookFunction: takes Clerk's signed webhooks from API Gateway."""

import base64
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.aws.clients import client
from clerk_sync.aws.secrets import CachedSecret, Secret
from clerk_sync.clock import now_ms
from clerk_sync.errors import AwsError, MessageError, SettingsError, SignatureError
from clerk_sync.handlers.api_gateway import headers, is_request
from clerk_sync.handlers.settings import WebhookSettings
from clerk_sync.log import logger
from clerk_sync.metrics import count
from clerk_sync.users.table import UsersTable
from clerk_sync.users.upsert import store
from clerk_sync.users.user import UserProblem
from clerk_sync.webhook.arrivals import Arrivals
from clerk_sync.webhook.event import USER_EVENTS, WebhookEvent, parse_webhook
from clerk_sync.webhook.signature import verify

MAX_BYTES = 1024 * 1024


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> dict[str, int]:  # noqa: ARG001
    """A request of API Gateway's REST API → the status: 204 stored or rightly ignored, 400 not an event,
    401 not signed by Clerk, 413 too big, 500 and 503 where Clerk's trying again may help."""
    return {"statusCode": _answer(event)}


def _answer(event: Any) -> int:
    try:
        if not is_request(event):
            raise MessageError("The event is not a request of API Gateway")
        settings = _settings()
        body = _body(event)
        if len(body) > MAX_BYTES:
            return _rejected(413, "more than 1 MiB")
        _verify(body, headers(event), _secret(settings))
        parsed = parse_webhook(body)
        _store(parsed, settings)
        if parsed.type in USER_EVENTS:
            _arrivals(settings).note(now_ms())
    except SignatureError as error:
        return _rejected(401, str(error))
    except MessageError as error:
        return _rejected(400, str(error))
    except SettingsError as error:
        logger.error("webhook_failed", reason=str(error))
        return 500
    except AwsError as error:
        logger.error("webhook_failed", reason=str(error))
        return 503
    return 204


def _rejected(status: int, reason: str) -> int:
    logger.warning("webhook_rejected", reason=reason)
    count(WebhooksRejected=1)
    return status


def _store(event: WebhookEvent, settings: WebhookSettings) -> None:
    change = event.change
    if change is None:
        logger.info("webhook_ignored", type=event.type)
        count(WebhooksIgnored=1)
        return
    if isinstance(change, UserProblem):
        logger.warning(
            "user_set_aside", clerkUserId=change.clerk_user_id, reason=change.reason, type=event.type
        )
        count(WebhooksIgnored=1)
        return
    table = UsersTable(client("dynamodb"), settings.users_table, settings.users_table_key)
    row = table.get(change.id)
    stored = store(table, change, row, as_of=event.timestamp, create_missing=settings.create_missing_users)
    logger.info("webhook_stored", type=event.type, clerkUserId=change.id, written=stored.is_written)
    count(WebhooksAccepted=1)


@cache
def _arrivals(settings: WebhookSettings) -> Arrivals:
    return Arrivals(client("dynamodb"), settings.runs_table)


@cache
def _settings() -> WebhookSettings:
    return WebhookSettings.from_env()


@cache
def _secret(settings: WebhookSettings) -> CachedSecret:
    return CachedSecret(settings.clerk_webhook_secret_parameter, "CLERK_WEBHOOK_SECRET")


def _verify(body: bytes, headers: dict[str, str], secret: CachedSecret) -> None:
    try:
        verify(body, headers, _each(secret.get()))
    except (SignatureError, SettingsError):
        replaced = secret.replaced()
        if replaced is None:
            raise
        verify(body, headers, _each(replaced))


def _each(secret: Secret) -> list[str]:
    return secret.value.replace(",", " ").split()


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    try:
        return base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError as error:
        raise MessageError("The body is not what it is said to be") from error
