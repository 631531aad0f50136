"""DashboardFunction: what CloudWatch sends, and what it gets whatever goes wrong."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import clerk_sync.handlers.dashboard as handlers_dashboard
from clerk_sync.dashboard.user_lookup import Found, Lists
from clerk_sync.errors import AwsError, ClerkRefused, OutOfTime, SettingsError
from clerk_sync.handlers.dashboard import handler
from clerk_sync.handlers.settings import DashboardSettings
from clerk_sync.log import logger
from tests.support.strategies import json_values
from tests.unit.dashboard.test_widgets import Parsed, a_run

SETTINGS = DashboardSettings(
    clerk_api_url="https://api.clerk.test/v1",
    clerk_secret_key_parameter="/clerk/key",
    users_table="Users",
    users_table_key="clerkUserId",
    runs_table="Runs",
)
CONTEXT: Any = SimpleNamespace(
    function_name="dashboard",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:us-east-1:1:function:dashboard",
    aws_request_id="r1",
)


@dataclass
class Edges:
    """What the function reads: gives nothing much, or raises; `wanted` is what was searched."""

    error: Exception | None = None
    wanted: list[str] = field(default_factory=list)

    def runs(self, _: DashboardSettings) -> list[Any]:
        if self.error:
            raise self.error
        return [(a_run(), [])]

    def users(self, _: DashboardSettings, wanted: str) -> Lists | Found:
        self.wanted.append(wanted)
        if self.error:
            raise self.error
        return Found(wanted, []) if wanted else Lists([], [])


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged."""
    stream, log_handler = io.StringIO(), logger.registered_handler
    was = log_handler.setStream(stream)  # type: ignore[attr-defined]
    yield stream
    log_handler.setStream(was)  # type: ignore[attr-defined]


@pytest.fixture
def edges(monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> Edges:
    edges = Edges()
    monkeypatch.setattr(handlers_dashboard, "_settings", lambda: SETTINGS)
    monkeypatch.setattr(handlers_dashboard, "_runs", edges.runs)
    monkeypatch.setattr(handlers_dashboard, "_users", edges.users)
    return edges


def asked(widget: str, search: Any = None, **params: Any) -> dict[str, Any]:
    """As CloudWatch has it: the widget's parameters, or those of the button, and its context."""
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


def test_it_describes_itself() -> None:
    described = handler({"describe": True}, CONTEXT)
    assert all(f"`{widget}`" in described for widget in ("runs", "users"))


def test_each_widget_is_shown_and_its_buttons_call_this_function(edges: Edges, log: io.StringIO) -> None:
    for widget, said in (("runs", "Completed"), ("users", "Newest")):
        parsed = Parsed(handler(asked(widget), CONTEXT))
        assert said in parsed.text
        assert set(parsed.values("cwdb-action", "endpoint")) == {CONTEXT.invoked_function_arn}
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["message"], line["widget"]) for line in lines] == [
        ("widget_served", "runs"),
        ("widget_served", "users"),
    ]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (None, ""),
        ("", ""),
        ("  ", ""),
        (" ada@mail.test ", "ada@mail.test"),
        ("user_1", "user_1"),
        ("-user_1", "user_1"),
        ("-", ""),
        ("+tag@mail.test", "+tag@mail.test"),
        ("x" * 321, ""),
        ("a\x00b", ""),
        ("half \ud800", ""),
        (["user_1"], "['user_1']"),
    ],
)
def test_what_is_searched(typed: Any, wanted: str, edges: Edges) -> None:
    handler(asked("users", typed), CONTEXT)
    assert edges.wanted == [wanted]


def test_show_all_forgets_the_search(edges: Edges) -> None:
    handler(asked("users", "ada@mail.test", show="all"), CONTEXT)
    assert edges.wanted == [""]


@pytest.mark.parametrize("widget", ["runs", "users"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ClerkRefused("Clerk refuses the secret key"), "Clerk refuses the secret key"),
        (SettingsError("There is no secret in /x"), "There is no secret in /x"),
        (AwsError("AWS failed reading"), "AWS failed reading"),
        (OutOfTime(), "Clerk gives no usable answer"),
        (KeyError("Marked-name"), "This widget has a fault: KeyError in line"),
    ],
)
def test_trouble_is_told_in_the_widget(
    widget: str, error: Exception, said: str, edges: Edges, log: io.StringIO
) -> None:
    edges.error = error
    shown = handler(asked(widget), CONTEXT)
    assert said in Parsed(shown).text
    [line] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["message"], line["kind"]) == ("widget_failed", type(error).__name__)
    for text in (shown, log.getvalue()):
        assert "Traceback" not in text
        assert "Marked" not in text


def test_a_widget_that_there_is_none_of_is_told(edges: Edges) -> None:
    assert "must be" in Parsed(handler({"widget": "<b>"}, CONTEXT)).text
    assert "must be" in Parsed(handler({}, CONTEXT)).text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_values, json_values)
def test_no_event_is_too_odd(edges: Edges, odd: Any, context: Any) -> None:
    for widget in ("runs", "users", odd):
        Parsed(handler({"widget": widget, "widgetContext": context, "show": odd}, CONTEXT))
        Parsed(handler({"widget": widget, "widgetContext": {"forms": {"all": {"search": odd}}}}, CONTEXT))


def test_searches_are_not_logged(edges: Edges, log: io.StringIO) -> None:
    handler(asked("users", "marked@mail.test"), CONTEXT)
    edges.error = ClerkRefused("no")
    handler(asked("users", "marked@mail.test"), CONTEXT)
    assert "marked" not in log.getvalue()
    assert log.getvalue().count("\n") == 2
