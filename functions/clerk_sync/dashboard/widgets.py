"""What the dashboard's widgets are made of: HTML without scripts, in the CloudWatch console's look. No I/O.

Facts from https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/add_custom_widget_dashboard_about.html
and …_interactivity.html.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from html import escape
from string import Template
from typing import Any, Literal

Kind = Literal["success", "error", "warning", "info", "pending"]

LONGEST = 120
"""Characters of a text that are shown: Clerk's names may have thousands."""
_NARROW = 900
_USUAL_WIDTH = 600

_UNSHOWABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff]+"
)
"""Control characters, what turns the direction of writing, and halves of pairs. Not the joiners of emoji."""
_PICTURE = re.compile(r"https://[A-Za-z0-9.-]+(:\d+)?/[A-Za-z0-9._~:/?#@!$&()*+,;=%-]*")
_VOID = frozenset({"br", "img", "input"})
_DAYS = ((365, "year"), (30, "month"), (1, "day"))


class Html(str):
    """Markup. Whatever else goes into an element is text, and escaped."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class View:
    """How a widget is looked at: the function that its buttons call, the time (ms), and what the console says
    of the theme, the width in pixels and the time zone."""

    endpoint: str
    now: int
    is_dark: bool = False
    width: int = _USUAL_WIDTH
    utc_offset: timedelta = timedelta()

    @property
    def is_narrow(self) -> bool:
        """Whether there is no room for a table with many columns."""
        return self.width < _NARROW


def parse_view(widget_context: Mapping[str, Any], endpoint: str, now: int) -> View:
    """What `widgetContext` says; the usual where it says nothing that makes sense."""
    width = widget_context.get("width")
    return View(
        endpoint,
        now,
        is_dark=widget_context.get("theme") == "dark",
        width=width if type(width) is int and width > 0 else _USUAL_WIDTH,
        utc_offset=_utc_offset(widget_context.get("timezone")),
    )


def _utc_offset(zone: Any) -> timedelta:
    # Not offsetInMinutes: nowhere is it said in which direction that counts.
    told = zone.get("offsetISO") if isinstance(zone, Mapping) else None
    found = re.fullmatch(r"([+-])([01]\d):?([0-5]\d)", told) if isinstance(told, str) else None
    if not found:
        return timedelta()
    offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
    return -offset if found[1] == "-" else offset


# Markup


def element(name: str, /, *content: str, **attributes: str) -> Html:
    """`element("td", "5 < 6", class_="number")` → `<td class="number">5 &lt; 6</td>`."""
    told = "".join(f' {key.rstrip("_")}="{_escaped(value)}"' for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{told}>")
    return Html(f"<{name}{told}>{joined(*content)}</{name}>")


def joined(*content: str) -> Html:
    """One after the other, texts escaped."""
    return Html("".join(part if isinstance(part, Html) else _escaped(shortened(part)) for part in content))


def words(text: str) -> Html:
    """A text of ours, whole: it may say what to do at its end."""
    return Html(_escaped(text))


def shortened(text: str) -> str:
    """At most `LONGEST` characters of it."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _escaped(text: str) -> str:
    return escape(_UNSHOWABLE.sub(" ", text))


def name(text: str, class_: str = "") -> Html:
    """What a person or an app chose, in whatever script: it must not turn the direction of what follows."""
    return element("bdi", text, class_=f"cs-name {class_}".rstrip(), title=shortened(text))


def picture(url: str | None, initials: str) -> Html:
    """A picture over the initials, which show while and if it can't be had."""
    image = Html()
    if url and len(url) < 2048 and _PICTURE.fullmatch(url):
        image = element("img", src=url, alt="", loading="lazy", referrerpolicy="no-referrer")
    return element("span", initials, image, class_="cs-picture")


def status(kind: Kind, label: str, detail: str = "") -> Html:
    """An icon and a word, as the console shows the state of things."""
    icon = Html(f'<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">{_ICONS[kind]}</svg>')
    return element("span", icon, label, class_=f"cs-status cs-{kind}", title=detail or label)


_ICONS: Mapping[Kind, str] = {
    "success": '<circle cx="8" cy="8" r="7"></circle><path d="m5 8 2 2 4-4"></path>',
    "error": '<circle cx="8" cy="8" r="7"></circle><path d="m5.5 5.5 5 5m0-5-5 5"></path>',
    "warning": '<path d="M8 1 1 15h14zM8 6v4m0 1.5V13"></path>',
    "info": '<circle cx="8" cy="8" r="7"></circle><path d="M8 11V7.5M8 5.5V4"></path>',
    "pending": '<circle cx="8" cy="8" r="7"></circle><path d="M8 4v4l3 2"></path>',
}


def button(label: str, view: View, params: Mapping[str, str], *, is_primary: bool = False) -> Html:
    """A button that shows the widget anew, asked for with these parameters and the values of its forms."""
    link = element("a", label, class_="btn btn-primary" if is_primary else "btn")
    # A cwdb-action is about the element before it. JSON is left as it is: these are our own words.
    call = Html(json.dumps(params))
    action = element("cwdb-action", call, action="call", display="widget", endpoint=view.endpoint)
    return joined(link, action)


def table(columns: Mapping[str, str], rows: list[Html]) -> Html:
    """`columns`: each one's heading and class."""
    heads = joined(*(element("th", heading, class_=kind) for heading, kind in columns.items()))
    return element("table", element("thead", element("tr", heads)), element("tbody", *rows))


def message(kind: Kind, text: str) -> Html:
    """Something to tell instead of a table."""
    return element("p", status(kind, ""), words(text), class_=f"cs-message cs-{kind}")


def widget(view: View, *content: str) -> Html:
    """A whole widget."""
    style = Html(_STYLE.substitute(_DARK if view.is_dark else _LIGHT))
    return joined(element("style", style), element("div", *content, class_="clerk-sync"))


# Times


def ago(ms: int | None, view: View) -> Html:
    """`3 min ago`, with the full time to be seen by pointing at it."""
    if ms is None:
        return element("span", "never", class_="cs-quiet")
    return element("span", _ago(view.now - ms), title=moment(ms, view), class_="cs-time")


def _ago(ms: int) -> str:
    minutes, days = ms // 60_000, ms // 86_400_000
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} min ago"
    if days < 1:
        return f"{minutes // 60} h ago"
    length, unit = next(pair for pair in _DAYS if days >= pair[0])
    number = days // length
    return f"{number} {unit}{'s' if number > 1 else ''} ago"


def moment(ms: int, view: View, form: str = "%Y-%m-%d %H:%M:%S %Z") -> str:
    """A time in the viewer's zone, such as `2026-11-21 10:47:02 UTC+01:00`."""
    try:
        there = datetime.fromtimestamp(ms / 1000, UTC).astimezone(timezone(view.utc_offset))
    except (OverflowError, ValueError):
        return "no time that a calendar has"
    return there.strftime(form)


def duration(ms: int) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 5 min`."""
    seconds = max(0, ms) // 1000
    if seconds < 60:
        return f"{max(0, ms) / 1000:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


# The console's colours, which it gives a widget no names for

_LIGHT = {
    "text": "#000716",
    "quiet": "#5f6b7a",
    "heading": "#414d5c",
    "line": "#d1d5db",
    "panel": "#f2f3f3",
    "field": "#ffffff",
    "field_line": "#7d8998",
    "link": "#0972d3",
    "success": "#037f0c",
    "error": "#d91515",
    "warning": "#8d6605",
    "track": "#e9ebed",
}
_DARK = {
    "text": "#d1d5db",
    "quiet": "#9ba7b6",
    "heading": "#b6bec9",
    "line": "#414d5c",
    "panel": "#192534",
    "field": "#0f1b2a",
    "field_line": "#7d8998",
    "link": "#539fe5",
    "success": "#29ad32",
    "error": "#ff5d64",
    "warning": "#e0ca57",
    "track": "#414d5c",
}
_STYLE = Template("""
.clerk-sync { font: 14px/20px "Amazon Ember", "Helvetica Neue", Roboto, Arial, sans-serif; color: $text; }
.clerk-sync h3 { font-size: 16px; line-height: 20px; font-weight: 700; margin: 20px 0 4px; color: $text; }
.clerk-sync table { width: 100%; border-collapse: collapse; border: 0; background: none; color: $text; }
.clerk-sync th, .clerk-sync td { padding: 6px 8px; border: 0; border-bottom: 1px solid $line;
  text-align: left; vertical-align: top; background: none; font-size: 14px; line-height: 20px; }
.clerk-sync th { font-size: 12px; font-weight: 700; color: $heading; white-space: nowrap;
  vertical-align: bottom; }
.clerk-sync tr.cs-more > td { border-bottom: 0; }
.clerk-sync tr.cs-detail > td { padding-top: 0; }
.clerk-sync .cs-number { text-align: right; font-variant-numeric: tabular-nums; }
.clerk-sync .cs-quiet { color: $quiet; }
.clerk-sync .cs-small { color: $quiet; font-size: 12px; line-height: 16px; display: block; }
.clerk-sync td .cs-small { overflow-wrap: anywhere; }
.clerk-sync .cs-time { white-space: nowrap; }
.clerk-sync .cs-name { overflow-wrap: anywhere; display: -webkit-box; -webkit-box-orient: vertical;
  -webkit-line-clamp: 2; overflow: hidden; }
.clerk-sync .cs-strong { font-weight: 700; }
.clerk-sync .cs-status { white-space: nowrap; }
.clerk-sync .cs-status svg { vertical-align: -2px; margin-right: 5px; fill: none; stroke: currentColor;
  stroke-width: 1.7; }
.clerk-sync .cs-success { color: $success; }
.clerk-sync .cs-error { color: $error; }
.clerk-sync .cs-warning { color: $warning; }
.clerk-sync .cs-info { color: $link; }
.clerk-sync .cs-pending { color: $link; }
.clerk-sync .cs-message { margin: 8px 0; padding: 8px 12px; border-left: 3px solid currentColor;
  background: $panel; overflow-wrap: anywhere; }
.clerk-sync .cs-track { height: 4px; border-radius: 4px; background: $track; overflow: hidden; }
.clerk-sync .cs-track > div { height: 4px; border-radius: 4px; background: $link; }
.clerk-sync ul { margin: 0; padding: 0 0 0 20px; list-style: disc; }
.clerk-sync li { font-size: 12px; line-height: 18px; overflow-wrap: anywhere; }
.clerk-sync .cs-bar { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin: 0 0 8px; }
.clerk-sync .cs-bar form { display: flex; flex-wrap: wrap; flex: 1 1 320px; gap: 8px; margin: 0; }
.clerk-sync .cs-bar .cs-grow { flex: 1 1 auto; }
.clerk-sync input { flex: 1 1 180px; min-width: 0; box-sizing: border-box; height: 32px; padding: 4px 12px;
  border: 1px solid $field_line; border-radius: 8px; background: $field; color: $text; font: inherit; }
.clerk-sync .cs-person { display: flex; gap: 10px; align-items: flex-start; min-width: 0; }
.clerk-sync .cs-person > div { min-width: 0; }
.clerk-sync .cs-picture { position: relative; flex: none; width: 32px; height: 32px; border-radius: 50%;
  overflow: hidden; background: $track; color: $heading; font-size: 12px; line-height: 32px; font-weight: 700;
  text-align: center; }
.clerk-sync .cs-picture img { position: absolute; top: 0; left: 0; max-width: 32px; max-height: 32px; }
""")
