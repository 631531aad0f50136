"""The dashboard's widgets in tests: what they are asked, what they show, and a reader of their HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from clerk_sync.dashboard.request import WidgetRequest
from clerk_sync.dashboard.user_lookup import ListedUser, UserLists
from clerk_sync.handlers import dashboard
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import Mode, ProblemResult, Run, Status
from clerk_sync.users.user import User

NOW = 1_790_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
LAMBDA_CONTEXT: Any = SimpleNamespace(
    function_name="dashboard",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:dashboard",
    aws_request_id="r1",
)
RUNS = WidgetRequest("runs", LAMBDA_CONTEXT.invoked_function_arn, NOW)
USERS = WidgetRequest("users", LAMBDA_CONTEXT.invoked_function_arn, NOW)

_TAGS = {
    "style": set(),
    "div": {"class", "style"},
    "span": {"class", "title"},
    "bdi": {"class", "title"},
    "p": {"class"},
    "h3": set(),
    "ul": set(),
    "li": {"class"},
    "table": {"class"},
    "thead": set(),
    "tbody": set(),
    "tr": set(),
    "th": set(),
    "td": {"class", "colspan"},
    "form": set(),
    "input": {"name", "value", "placeholder", "type"},
    "img": {"src", "alt", "loading", "referrerpolicy"},
    "a": {"class"},
    "cwdb-action": {"action", "display", "endpoint"},
    "svg": {"viewbox", "width", "height", "aria-hidden"},
    "circle": {"cx", "cy", "r"},
    "path": {"d"},
}
"""Every element that the widgets are made of, and its attributes."""


class Parsed(HTMLParser):
    """The texts and attributes of a widget. Refuses elements that widgets are not made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.actions: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self._open: list[str] = []
        html.encode()
        self.feed(html)
        self.close()
        assert self._open == [], "elements that are left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= _TAGS[tag], f"{tag} with {attrs}"
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("img", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "cwdb-action":
            self.actions.append(data)
        elif inside != "style" and data.strip():
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:  # noqa: ARG002
        raise AssertionError("a comment")

    def handle_decl(self, decl: str) -> None:  # noqa: ARG002
        raise AssertionError("a declaration")

    @property
    def text(self) -> str:
        """All that is shown, as a browser collapses its spaces."""
        return " ".join(" ".join(self.texts).split())

    def values(self, tag: str, name: str) -> list[str]:
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]


def a_run(status: Status = "COMPLETED", mode: Mode = "full", **changes: Any) -> Run:
    values: dict[str, Any] = {
        "run_id": "full-1",
        "dry_run": False,
        "started_at": NOW - HOUR,
        "expected_users": 50,
        "pages": 1,
        "total_users": 50,
        "settled_pages": 1,
        "counts": Counts(created=1, updated=2, unchanged=47),
        "paged_at": NOW,
        "ended_at": None if status == "RUNNING" else NOW - HOUR + 4_200,
        **changes,
    }
    return Run(mode=mode, create_missing=True, status=status, **values)


def a_user(**fields: str | int) -> User:
    """Ada Abel, with changes; an empty text leaves a field out."""
    times = {"createdAt": NOW - 3 * MINUTE, "lastSignInAt": NOW - 2 * HOUR, "lastActiveAt": NOW - DAY}
    usual: dict[str, str | int] = {"firstName": "Ada", "lastName": "Abel", "email": "ada@mail.test", **times}
    return User("user_1", 1, {name: value for name, value in (usual | fields).items() if value != ""})


def latest(newest: Sequence[ListedUser] = (), active: Sequence[ListedUser] = ()) -> UserLists:
    """The lists that the widget shows without a search."""
    return UserLists({"Newest": newest, "Most recently active": active})


def widget_event(widget: str, search: Any = None, **params: Any) -> dict[str, Any]:
    """The event that CloudWatch sends: the widget's parameters, or those of the button, and its context."""
    context = {
        "dashboardName": "clerk-sync-us-east-1",
        "widgetId": "widget-16",
        "accountId": "012345678901",
        "locale": "en",
        "timezone": {"label": "UTC", "offsetISO": "+00:00", "offsetInMinutes": 0},
        "period": 300,
        "isAutoPeriod": True,
        "timeRange": {"mode": "relative", "start": 1, "end": 2, "relativeStart": 86400012},
        "theme": "light",
        "linkCharts": True,
        "title": "Runs",
        "forms": {"all": {} if search is None else {"search": search}},
        "params": {"widget": widget},
        "width": 588,
        "height": 369,
    }
    return {"widget": widget, "widgetContext": context, **params}


@dataclass
class FakeReads:
    """Stands in for what DashboardFunction reads: one run and no users, or the error."""

    error: Exception | None = None
    searches: list[str] = field(default_factory=list)

    def runs(self) -> list[tuple[Run, list[ProblemResult]]]:
        if self.error:
            raise self.error
        return [(a_run(), [])]

    def users(self, search: str) -> UserLists:
        self.searches.append(search)
        if self.error:
            raise self.error
        return UserLists({}) if search else latest()


@pytest.fixture
def fake_reads(monkeypatch: pytest.MonkeyPatch) -> FakeReads:
    reads = FakeReads()
    monkeypatch.setattr(dashboard, "_runs", reads.runs)
    monkeypatch.setattr(dashboard, "_users", reads.users)
    return reads
