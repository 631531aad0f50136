"""The widgets as HTML: Jinja2 templates that escape every value, and what keeps odd values harmless."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clerk_sync.dashboard import wording
from clerk_sync.dashboard.request import WidgetRequest
from clerk_sync.dashboard.user_lookup import LatestUsers, SearchResult
from clerk_sync.runs.run import ProblemResult, Run

_HERE = Path(__file__).parent
_PICTURE_URL = re.compile(r"https://[A-Za-z0-9.-]+(:\d+)?/[A-Za-z0-9._~:/?#@!$&()*+,;=%-]*")

DESCRIPTION = (_HERE / "description.md").read_text()
"""What the CloudWatch console shows as the function's documentation."""

type RunWithErrors = tuple[Run, Sequence[ProblemResult]]
"""A run and its first errors."""


def runs_widget(request: WidgetRequest, runs: Sequence[RunWithErrors]) -> str:
    """The runs, in the order given."""
    return _render("runs.html", request, runs=runs)


def users_widget(request: WidgetRequest, users: LatestUsers | SearchResult) -> str:
    """The latest users, or what a search found."""
    return _render("users.html", request, users=users)


def problem_widget(request: WidgetRequest, problem: str) -> str:
    """The widget with a message in place of what it should show. A search stays in its field."""
    return _render(f"{request.widget or 'widget'}.html", request, problem=problem)


def picture_url(url: str) -> str:
    """The URL if a browser can only take it for a picture's address; otherwise empty."""
    return url if len(url) < 2048 and _PICTURE_URL.fullmatch(url) else ""


def _render(template: str, request: WidgetRequest, **values: Any) -> str:
    return wording.visible(_templates.get_template(template).render(request=request, **values))


_templates = Environment(
    loader=FileSystemLoader(_HERE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_templates.filters |= {
    "ago": wording.ago,
    "duration": wording.duration,
    "initials": wording.initials,
    "outcome": wording.outcome,
    "picture_url": picture_url,
}
