"""DashboardFunction: the CloudWatch dashboard's two custom widgets, asked for when somebody looks."""

import time
import traceback
from collections.abc import Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.aws.clients import client
from clerk_sync.aws.secrets import read_secret
from clerk_sync.clock import now_ms
from clerk_sync.dashboard.runs_widget import Reported, runs_widget
from clerk_sync.dashboard.user_lookup import Found, Lists, latest_users, search
from clerk_sync.dashboard.users_widget import SEARCH, users_trouble, users_widget
from clerk_sync.dashboard.widgets import Html, View, message, parse_view, widget
from clerk_sync.errors import ClerkSyncError, EventError
from clerk_sync.handlers.settings import DashboardSettings
from clerk_sync.log import logger
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.users.table import UsersTable

DESCRIPTION = """
## clerk-sync

Shows what the sync is doing. Nothing is asked or read but when the dashboard is looked at.

Param | Description
---|---
**widget** | `runs`: the last ten runs, with their progress, counts and errors. `users`: the newest and the \
most recently active users in Clerk, whether their rows are right, and a search by e-mail address or id

### Example parameters
``` yaml
widget: runs
```
"""
MAX_SEARCH_LENGTH = 320
"""An e-mail address has no more, nor an id."""
_CLERK_SECONDS = 8.0


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> str:
    """What CloudWatch sends, `{"widget": "runs"|"users", "widgetContext": {…}}` or `{"describe": true}` →
    HTML, or Markdown. Raises EventError for what is no object."""
    if not isinstance(event, dict):
        raise EventError('The event is {"widget": "runs"}, {"widget": "users"} or {"describe": true}.')
    if event.get("describe"):
        return DESCRIPTION
    asked = event.get("widgetContext")
    widget_context: Mapping[str, Any] = asked if isinstance(asked, dict) else {}
    view = parse_view(widget_context, context.invoked_function_arn, now_ms())
    wanted = _wanted(event, widget_context)
    try:
        shown = _widget(event.get("widget"), wanted, view)
    except ClerkSyncError as error:
        reason = str(error) or "Clerk gives no usable answer: refresh to try again."
        logger.error("widget_failed", kind=type(error).__name__, reason=reason)
    except Exception as error:  # or the console would show its traceback
        # Nor is its text logged: it may quote what somebody is called.
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"This widget has a fault: {type(error).__name__} in line {where.lineno} of {where.name}."
        logger.error("widget_failed", kind=type(error).__name__, reason=reason)
    else:
        logger.info("widget_served", widget=event.get("widget"))
        return shown
    if event.get("widget") == "users":
        return users_trouble(reason, wanted, view)
    return widget(view, message("error", reason))


def _widget(name: Any, wanted: str, view: View) -> Html:
    match name:
        case "runs":
            return runs_widget(_runs(_settings()), view)
        case "users":
            return users_widget(_users(_settings(), wanted), view)
    raise EventError('The parameter widget must be "runs" or "users".')


def _wanted(event: Mapping[str, Any], widget_context: Mapping[str, Any]) -> str:
    """What is searched, empty for nothing. The form's field outlives a refresh, so a search stays."""
    match widget_context.get("forms"):
        case {"all": dict(fields)} if event.get("show") != "all":
            wanted = str(fields.get(SEARCH) or "").strip()
            # In front of an id Clerk takes a minus for itself, and would list everybody else.
            wanted = wanted if "@" in wanted else wanted.lstrip("+-")
            return wanted if len(wanted) <= MAX_SEARCH_LENGTH and wanted.isprintable() else ""
    return ""


def _runs(settings: DashboardSettings) -> list[Reported]:
    runs = RunsTable(client("dynamodb"), settings.runs_table)
    pages = PageLedger(client("dynamodb"), settings.runs_table)
    return [(run, run.errors(pages.problems(run))) for run in runs.latest()]


def _users(settings: DashboardSettings, wanted: str) -> Lists | Found:
    # Only now, as the widget of runs needs neither and they take a while to import.
    import httpx

    from clerk_sync.clerk.client import ClerkClient

    deadline = time.monotonic() + _CLERK_SECONDS
    users_table = UsersTable(client("dynamodb"), settings.users_table, settings.users_table_key)
    with ClerkClient(
        settings.clerk_api_url,
        read_secret(settings.clerk_secret_key_parameter, "CLERK_SECRET_KEY"),
        time_left=lambda: deadline - time.monotonic(),
        http=httpx.Client(timeout=httpx.Timeout(4.0, connect=2.0)),
    ) as clerk:
        return search(clerk, users_table, wanted) if wanted else latest_users(clerk, users_table)


@cache
def _settings() -> DashboardSettings:
    return DashboardSettings.from_env()
