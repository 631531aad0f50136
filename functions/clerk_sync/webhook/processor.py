"""Stores what a webhook says, ignores it or sets it aside; logs and counts which."""

from dataclasses import dataclass

from clerk_sync.clock import now_ms
from clerk_sync.errors import AwsError, RowRefused
from clerk_sync.log import logger
from clerk_sync.metrics import record
from clerk_sync.users.table import TableInstance, UsersTable
from clerk_sync.users.upsert import store
from clerk_sync.users.user import Change, UserProblem
from clerk_sync.webhook.arrivals import Arrivals
from clerk_sync.webhook.event import USER_EVENTS, Ignored, WebhookEvent

INSTANCE_KEPT_MS = 60_000
"""A warm function reads the instance again after this time."""
_ARRIVALS_EVERY_MS = 10 * 60 * 1000
"""It records an arrival at most this often."""


@dataclass(slots=True)
class WebhookProcessor:
    """Stores what Clerk's events say. A change is stored even if RunsTable fails."""

    users_table: UsersTable
    instance: TableInstance
    arrivals: Arrivals
    create_missing: bool
    _instance_id: str | None = None
    _instance_read_at: int = 0
    _arrival_at: int = 0

    def process(self, event: WebhookEvent) -> None:
        """Raises AwsError if the change can't be stored; Clerk sends the webhook again then."""
        instance_id = self._remembered_instance() if event.instance_id else None
        if instance_id and instance_id != event.instance_id:
            logger.warning(
                "webhook_of_another_instance", instance=event.instance_id, tableBelongsTo=instance_id
            )
            record(WebhooksIgnored=1)
            return
        match event.change:
            case Ignored(reason):
                logger.info("webhook_ignored", type=event.type, reason=reason)
                record(WebhooksIgnored=1)
            case UserProblem(user_id, reason):
                _set_aside(event, user_id, reason)
            case change:
                self._store(event, change)
        if event.type in USER_EVENTS and now_ms() - self._arrival_at >= _ARRIVALS_EVERY_MS:
            self._record_arrival()

    def _store(self, event: WebhookEvent, change: Change) -> None:
        try:
            row, times = self.users_table.get(change.id), {"as_of": event.as_of, "now": now_ms()}
            stored = store(self.users_table, change, row, **times, create_missing=self.create_missing)
        except RowRefused as error:
            _set_aside(event, change.id, str(error))
            return
        if stored.problem:
            logger.warning("user_set_aside", clerkUserId=change.id, reason=stored.problem.reason)
        logger.info("webhook_stored", type=event.type, clerkUserId=change.id, written=stored.is_written)
        record(WebhooksAccepted=1)

    def _remembered_instance(self) -> str | None:
        if now_ms() - self._instance_read_at >= INSTANCE_KEPT_MS:
            self._instance_read_at = now_ms()
            try:
                self._instance_id = self.instance.read()
            except AwsError as error:
                logger.warning("instance_not_read", reason=str(error))
        return self._instance_id

    def _record_arrival(self) -> None:
        self._arrival_at = now_ms()
        try:
            self.arrivals.record(self._arrival_at)
        except AwsError as error:
            logger.warning("arrival_not_recorded", reason=str(error))


def _set_aside(event: WebhookEvent, user_id: str | None, reason: str) -> None:
    logger.warning("user_set_aside", type=event.type, clerkUserId=user_id, reason=reason)
    record(WebhooksIgnored=1)
