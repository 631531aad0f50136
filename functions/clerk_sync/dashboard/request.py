"""What CloudWatch asks of a custom widget.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html
and …_interactivity.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

from clerk_sync.dashboard.wording import visible

MAX_SEARCH_LENGTH = 320
"""The longest e-mail address; ids are shorter."""


@dataclass(frozen=True, slots=True)
class WidgetRequest:
    """One request to show a widget.

    `widget` is None for an unknown one. `endpoint` is the ARN of the function, which the widget's buttons
    call. `now` is in ms. `search` is the e-mail address or user id to look up, or empty.
    """

    widget: Literal["runs", "users"] | None
    endpoint: str
    now: int
    search: str = ""
    theme: Literal["light", "dark"] = "light"
    zone: tzinfo = UTC

    def clock_time(self, ms: int, layout: str = "%Y-%m-%d %H:%M:%S") -> str:
        """A time in the viewer's time zone, such as `2026-11-21 10:47:02`."""
        try:
            return datetime.fromtimestamp(ms / 1000, self.zone).strftime(layout)
        except (OSError, OverflowError, ValueError):
            return "not a calendar date"


def parse_request(event: Mapping[str, Any], endpoint: str, now: int) -> WidgetRequest:
    """Read the event of a custom widget. A part of `widgetContext` that is missing or malformed gets its
    default."""
    context = _object(event.get("widgetContext"))
    widget = event.get("widget")
    return WidgetRequest(
        widget if widget in ("runs", "users") else None,
        endpoint,
        now,
        # A form's values outlive a refresh, so only a button can end a search.
        search="" if event.get("show") == "all" else _search(context),
        theme="dark" if context.get("theme") == "dark" else "light",
        zone=_zone(_object(context.get("timezone")).get("offsetISO")),
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _search(context: Mapping[str, Any]) -> str:
    typed = _object(_object(context.get("forms")).get("all")).get("search")
    search = visible(str(typed or "")).strip()[:MAX_SEARCH_LENGTH]
    # Clerk reads a sign in front of a user id as "include" or "exclude": -user_1 would list everyone else.
    return search if "@" in search else search.lstrip("+-")


def _zone(offset_iso: Any) -> tzinfo:
    """The zone of `+05:45`. (The docs don't say which direction `offsetInMinutes` counts in.)"""
    try:
        return datetime.strptime(offset_iso, "%z").tzinfo or UTC
    except (TypeError, ValueError):
        return UTC
