"""The widgets as HTML: Jinja2 templates that escape every value, and what keeps odd values harmless."""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clerk_sync.dashboard import wording
from clerk_sync.dashboard.request import WidgetRequest

_HERE = Path(__file__).parent
_PICTURE_URL = re.compile(r"https://[A-Za-z0-9.-]+(:\d+)?/[A-Za-z0-9._~:/?#@!$&()*+,;=%-]*")

DESCRIPTION = (_HERE / "description.md").read_text()
"""What the CloudWatch console shows as the function's documentation."""


def render(request: WidgetRequest, **values: Any) -> str:
    """The widget with its `runs`, pairs of a Run and its first errors, or `users`, UserLists; or with a
    `problem` in place of what it should show. A search stays in its field."""
    template = _templates.get_template(f"{request.widget or 'widget'}.html")
    return wording.visible(template.render(request=request, **values))


def picture_url(url: str) -> str:
    """The URL if a browser can only take it for a picture's address; otherwise empty."""
    return url if len(url) < 2048 and _PICTURE_URL.fullmatch(url) else ""


_templates = Environment(
    loader=FileSystemLoader(_HERE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_filters = (picture_url, wording.ago, wording.duration, wording.initials, wording.outcome)
_templates.filters |= {function.__name__: function for function in _filters}
