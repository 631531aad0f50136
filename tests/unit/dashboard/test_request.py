"""What CloudWatch sends with each request for a widget."""

from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.dashboard.request import WidgetRequest, parse_request
from tests.support.strategies import any_text, json_values
from tests.support.widgets import NOW, widget_event


def request_of(event: dict[str, Any]) -> WidgetRequest:
    return parse_request(event, "arn", NOW)


@pytest.mark.parametrize(
    ("context", "request_"),
    [
        ({}, WidgetRequest("runs", "arn", NOW)),
        ({"theme": "dark"}, WidgetRequest("runs", "arn", NOW, theme="dark")),
        ({"theme": "light"}, WidgetRequest("runs", "arn", NOW)),
        ({"theme": 7, "timezone": "UTC", "forms": []}, WidgetRequest("runs", "arn", NOW)),
        ({"timezone": {"offsetISO": None, "offsetInMinutes": 60}}, WidgetRequest("runs", "arn", NOW)),
        ({"timezone": {"offsetISO": "+25:00"}}, WidgetRequest("runs", "arn", NOW)),
        (
            {"timezone": {"label": "Local", "offsetISO": "-03:30", "offsetInMinutes": 210}},
            WidgetRequest("runs", "arn", NOW, zone=timezone(-timedelta(hours=3, minutes=30))),
        ),
        (
            {"timezone": {"offsetISO": "+05:45"}},
            WidgetRequest("runs", "arn", NOW, zone=timezone(timedelta(hours=5, minutes=45))),
        ),
    ],
)
def test_theme_and_time_zone_are_read_and_malformed_ones_ignored(
    context: dict[str, Any], request_: WidgetRequest
) -> None:
    assert request_of({"widget": "runs", "widgetContext": context}) == request_


@pytest.mark.parametrize("widget", [None, "Runs", "<b>", ["runs"], {"runs": 1}, 7])
def test_an_unknown_widget_is_none(widget: Any) -> None:
    assert request_of({"widget": widget}).widget is None


@given(json_values, st.dictionaries(st.sampled_from(["theme", "timezone", "forms"]), json_values | any_text))
def test_any_event_is_parsed(odd: Any, context: dict[str, Any]) -> None:
    request_of({"widget": odd, "show": odd, "widgetContext": odd})
    request_of({"widget": "users", "widgetContext": context})
    request_of(widget_event("users", odd))


@pytest.mark.parametrize(
    ("typed", "search"),
    [
        (None, ""),
        ("", ""),
        ("  ", ""),
        (" ada@mail.test ", "ada@mail.test"),
        ("ada@mail.test\u200b\u202e", "ada@mail.test"),
        ("user_1", "user_1"),
        ("-user_1", "user_1"),
        ("-", ""),
        ("+tag@mail.test", "+tag@mail.test"),
        ("x" * 400, "x" * 320),
        ("a\x00b", "a b"),
        ("half \ud800", "half"),
        (["user_1"], "['user_1']"),
    ],
)
def test_the_search_field_is_trimmed_to_what_can_be_searched(typed: Any, search: str) -> None:
    assert request_of(widget_event("users", typed)).search == search


def test_show_all_ends_a_search() -> None:
    assert request_of(widget_event("users", "ada@mail.test", show="all")).search == ""


def test_a_clock_time_is_in_the_viewers_time_zone() -> None:
    request = WidgetRequest("runs", "arn", NOW, zone=timezone(timedelta(hours=-8)))
    assert WidgetRequest("runs", "arn", NOW).clock_time(NOW) == "2026-09-21 14:13:20"
    assert request.clock_time(NOW) == "2026-09-21 06:13:20"
    assert request.clock_time(NOW, "%Z") == "UTC-08:00"


@pytest.mark.parametrize("ms", [10**15 - 1, -(10**15), 253_402_300_799_999, 10**22, -(10**22), 10**38 - 1])
@pytest.mark.parametrize("hours", [-12, 14])
def test_a_time_outside_the_calendar_is_named_as_such(ms: int, hours: int) -> None:
    request = WidgetRequest("runs", "arn", NOW, zone=timezone(timedelta(hours=hours)))
    assert request.clock_time(ms) in ("not a calendar date", "9999-12-31 11:59:59")
