"""DashboardFunction: what CloudWatch sends, and what it gets, also when something fails."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from clerk_sync.errors import AwsError, ClerkRefused, EventError, OutOfTime, SettingsError
from clerk_sync.handlers.dashboard import handler
from clerk_sync.log import logger
from tests.support.strategies import json_values
from tests.support.widgets import LAMBDA_CONTEXT, FakeReads, Parsed, widget_event
from tests.support.widgets import fake_reads as fake_reads


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """All that is logged."""
    stream, log_handler = io.StringIO(), logger.registered_handler
    was = log_handler.setStream(stream)  # type: ignore[attr-defined]
    yield stream
    log_handler.setStream(was)  # type: ignore[attr-defined]


def test_describe_answers_with_documentation_in_markdown() -> None:
    description = handler({"describe": True}, LAMBDA_CONTEXT)
    assert all(f"`{widget}`" in description for widget in ("runs", "users"))
    assert "``` yaml\nwidget: runs\n```" in description


def test_each_widget_is_served_and_its_buttons_call_this_function(
    fake_reads: FakeReads, log: io.StringIO
) -> None:
    for widget, text in (("runs", "Completed"), ("users", "Newest")):
        html = handler(widget_event(widget), LAMBDA_CONTEXT)
        assert html.startswith("<")
        assert text in Parsed(html).text
        endpoints = set(Parsed(html).values("cwdb-action", "endpoint"))
        assert endpoints == {LAMBDA_CONTEXT.invoked_function_arn}
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["message"], line["widget"]) for line in lines] == [
        ("widget_served", "runs"),
        ("widget_served", "users"),
    ]


def test_a_search_is_looked_up_and_show_all_ends_it(fake_reads: FakeReads) -> None:
    handler(widget_event("users", " ada@mail.test "), LAMBDA_CONTEXT)
    handler(widget_event("users", "ada@mail.test", show="all"), LAMBDA_CONTEXT)
    assert fake_reads.searches == ["ada@mail.test", ""]


@pytest.mark.parametrize("widget", ["runs", "users"])
@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (ClerkRefused("Clerk refuses the secret key"), "Clerk refuses the secret key"),
        (SettingsError("There is no secret in /x"), "There is no secret in /x"),
        (AwsError("AWS failed reading"), "AWS failed reading"),
        (OutOfTime(), "Clerk gives no usable answer"),
        (KeyError("Marked-name"), "This widget has a fault: KeyError in line"),
    ],
)
def test_an_error_is_shown_and_logged_without_a_traceback_or_a_users_data(
    widget: str, error: Exception, problem: str, fake_reads: FakeReads, log: io.StringIO
) -> None:
    fake_reads.error = error
    html = handler(widget_event(widget, "ada@mail.test"), LAMBDA_CONTEXT)
    assert problem in Parsed(html).text
    assert Parsed(html).values("input", "value") == (["ada@mail.test"] if widget == "users" else [])
    [line] = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["message"], line["kind"]) == ("widget_failed", type(error).__name__)
    for text in (html, log.getvalue()):
        assert "Traceback" not in text
        assert "Marked" not in text


@pytest.mark.parametrize("event", [{"widget": "<b>"}, {"widget": ["runs"]}, {}])
def test_an_unknown_widget_is_answered_with_the_right_ones(event: dict[str, Any]) -> None:
    assert 'The parameter widget must be "runs" or "users".' in Parsed(handler(event, LAMBDA_CONTEXT)).text


@pytest.mark.parametrize("event", [None, [], "runs", 7])
def test_an_event_that_is_no_object_is_an_error(event: Any) -> None:
    with pytest.raises(EventError, match="describe"):
        handler(event, LAMBDA_CONTEXT)


def test_without_settings_the_widget_names_the_missing_variable() -> None:
    assert "CLERK_API_URL" in Parsed(handler(widget_event("runs"), LAMBDA_CONTEXT)).text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_values, json_values)
def test_any_event_is_answered_with_html(fake_reads: FakeReads, odd: Any, context: Any) -> None:
    for widget in ("runs", "users", odd):
        Parsed(handler({"widget": widget, "widgetContext": context, "show": odd}, LAMBDA_CONTEXT))
        Parsed(handler(widget_event("users", odd), LAMBDA_CONTEXT))


def test_searches_are_not_logged(fake_reads: FakeReads, log: io.StringIO) -> None:
    handler(widget_event("users", "marked@mail.test"), LAMBDA_CONTEXT)
    fake_reads.error = ClerkRefused("no")
    handler(widget_event("users", "marked@mail.test"), LAMBDA_CONTEXT)
    assert "marked" not in log.getvalue()
    assert log.getvalue().count("\n") == 2
