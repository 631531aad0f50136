"""The dashboard of a deployed stack, in integration tests."""

from dataclasses import replace
from typing import Any

from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.page import PageOutcome
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.run import Mode, Run
from clerk_sync.users.user import UserProblem
from tests.integration.stack import Stack
from tests.local.commands.dashboard import ask
from tests.support.widgets import widget_event


def show(stack: Stack, widget: str, search: str | None = None) -> str:
    """The HTML of a widget, as DashboardFunction answers CloudWatch."""
    html: Any = ask(
        stack.aws, stack.outputs, {"widget": widget}, widget_event(widget, search)["widgetContext"]
    )
    assert isinstance(html, str)
    return html


def start_run(
    stack: Stack, mode: Mode, started_at: int, expected: int, counts: Counts, *problems: UserProblem
) -> Run:
    """A run that has got as far as these counts, and is still reading Clerk."""
    runs = stack.runs
    run = Run(f"{mode}-{started_at}", mode, create_missing=True, dry_run=False, started_at=started_at)
    assert runs.start(run, after=runs.current(mode))
    assert runs.acquire(run.run_id, "me", started_at, started_at)
    run = replace(run, expected_users=expected)
    runs.save(run, "me", 0)
    page = PendingPage("token", "", counts.total, [], Checkpoint())
    stack.pages.record_pending(run, "me", [page], 0)
    runs.save(page.added_to(run), "me", 0)
    assert stack.pages.record_outcome(run.run_id, 1, "token", PageOutcome(counts, problems))
    return page.added_to(run)
