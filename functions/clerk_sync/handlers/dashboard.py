"""DashboardFunction: the CloudWatch dashboard's two custom widgets, rendered while somebody looks at them."""

import time
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from clerk_sync.aws.clients import client
from clerk_sync.aws.items import Items
from clerk_sync.aws.secrets import read_secret
from clerk_sync.clock import now_ms
from clerk_sync.dashboard.request import WidgetRequest, parse_request
from clerk_sync.dashboard.user_lookup import UserLists, latest_users, search
from clerk_sync.dashboard.widgets import DESCRIPTION, render
from clerk_sync.dashboard.wording import explain
from clerk_sync.errors import EventError
from clerk_sync.handlers.settings import DashboardSettings
from clerk_sync.log import logger
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.run import ProblemResult, Run
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.users.table import UsersTable

_CLERK_SECONDS = 8.0


@logger.inject_lambda_context(clear_state=True)
def handler(event: Any, context: LambdaContext) -> str:
    """Answer `{"widget": "runs"|"users", "widgetContext": {…}}` with HTML and `{"describe": true}` with
    Markdown. Raises EventError if the event is not an object."""
    if not isinstance(event, dict):
        raise EventError('The event must be {"widget": "runs"}, {"widget": "users"} or {"describe": true}.')
    if event.get("describe"):
        return DESCRIPTION
    request = parse_request(event, context.invoked_function_arn, now_ms())
    try:
        html = _widget(request)
    except Exception as error:  # CloudWatch would show its traceback
        problem = explain(error)
        logger.error("widget_failed", kind=type(error).__name__, reason=problem)
        return render(request, problem=problem)
    logger.info("widget_served", widget=request.widget)
    return html


def _widget(request: WidgetRequest) -> str:
    match request.widget:
        case "runs":
            return render(request, runs=_runs())
        case "users":
            return render(request, users=_users(request.search))
    raise EventError('The parameter widget must be "runs" or "users".')


def _runs() -> list[tuple[Run, list[ProblemResult]]]:
    settings = DashboardSettings.from_env()
    items = Items(client("dynamodb"), settings.runs_table)
    runs, pages = RunsTable(items), PageLedger(items)
    return [(run, run.errors(pages.problems(run))) for run in runs.latest()]


def _users(wanted: str) -> UserLists:
    # The runs widget needs neither, and they take long to import.
    import httpx

    from clerk_sync.clerk.client import ClerkClient

    settings = DashboardSettings.from_env()
    dynamodb, key = client("dynamodb"), settings.users_table_key
    users_table = UsersTable(dynamodb, settings.users_table, key, settings.names)
    deadline = time.monotonic() + _CLERK_SECONDS
    with ClerkClient(
        settings.clerk_api_url,
        read_secret(settings.clerk_secret_key_parameter, "CLERK_SECRET_KEY"),
        time_left=lambda: deadline - time.monotonic(),
        http=httpx.Client(timeout=httpx.Timeout(4.0, connect=2.0)),
        names=settings.names,
    ) as clerk:
        return search(clerk, users_table, wanted) if wanted else latest_users(clerk, users_table)
