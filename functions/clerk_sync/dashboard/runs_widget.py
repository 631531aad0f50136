"""The dashboard's widget of the last runs."""

from collections.abc import Sequence

from clerk_sync.dashboard.widgets import (
    Html,
    Kind,
    View,
    ago,
    button,
    duration,
    element,
    joined,
    message,
    moment,
    status,
    table,
    widget,
    words,
)
from clerk_sync.runs.run import ProblemResult, Run, Status

ERRORS_SHOWN = 3

type Reported = tuple[Run, Sequence[ProblemResult]]
"""A run and its first errors."""

_STATUSES: dict[Status, tuple[Kind, str]] = {
    "RUNNING": ("pending", "In progress"),
    "COMPLETED": ("success", "Completed"),
    "COMPLETED_WITH_ERRORS": ("warning", "With errors"),
    "FAILED": ("error", "Failed"),
}
_MODES = {"full": "Full", "incremental": "Incremental", "audit": "Audit"}
_COUNTED = ("Created", "Updated", "Unchanged", "Skipped", "Errors")
_WIDE = {"Status": "", "Run": "", "Started": "", "Duration": "", **dict.fromkeys(_COUNTED, "cs-number")}
_NARROW = {"Status": "", "Started": "", "Users": ""}


def runs_widget(runs: Sequence[Reported], view: View) -> Html:
    """The runs as they are given, newest first."""
    bar = element(
        "div",
        element("span", class_="cs-grow"),
        button("Refresh", view, {"widget": "runs"}),
        class_="cs-bar",
    )
    if not runs:
        return widget(view, bar, message("info", "No run yet. Invoke BackfillFunction with {} to start one."))
    columns = _NARROW if view.is_narrow else _WIDE
    return widget(view, bar, table(columns, [_rows(run, errors, view) for run, errors in runs]))


def _status(run: Run) -> Html:
    if run.mode == "audit" and run.status == "COMPLETED" and run.has_drift:
        return status("warning", "Drift")
    return status(*_STATUSES[run.status])


def _rows(run: Run, errors: Sequence[ProblemResult], view: View) -> Html:
    cells = _narrow_cells(run, view) if view.is_narrow else _wide_cells(run, view)
    details = [_bar(run)] if not run.is_over else []
    details += [_errors(run, errors)] if errors else []
    if not details:
        return element("tr", *cells)
    span = str(len(_NARROW if view.is_narrow else _WIDE))
    more = element("tr", element("td", *details, colspan=span), class_="cs-detail")
    return joined(element("tr", *cells, class_="cs-more"), more)


def _wide_cells(run: Run, view: View) -> list[Html]:
    started = element("span", moment(run.started_at, view, "%b %d, %H:%M"), class_="cs-small")
    return [
        element("td", _status(run)),
        element("td", _what(run), _id(run)),
        element("td", ago(run.started_at, view), started),
        element("td", _duration(run, view), class_="cs-time"),
        *(_count(label, number) for label, number in _counts(run).items()),
    ]


def _narrow_cells(run: Run, view: View) -> list[Html]:
    took = element("span", _duration(run, view), class_="cs-small")
    told = [f"{number:,} {label.lower()}" for label, number in _counts(run).items() if number]
    return [
        element("td", _status(run), element("br"), _what(run)),
        element("td", ago(run.started_at, view), took),
        element("td", ", ".join(told) or "–", _id(run)),
    ]


def _what(run: Run) -> Html:
    kind = "nothing written" if run.dry_run else "with repair" if run.mode == "audit" else ""
    small = element("span", kind, class_="cs-small") if kind else Html()
    return joined(_MODES[run.mode], small)


def _id(run: Run) -> Html:
    return element("span", run.run_id, class_="cs-small")


def _counts(run: Run) -> dict[str, int]:
    counts = run.counts
    numbers = (counts.created, counts.updated, counts.unchanged, counts.skipped, counts.errors)
    return dict(zip(_COUNTED, numbers, strict=True))


def _count(label: str, number: int) -> Html:
    kind = "cs-quiet" if not number else "cs-error" if label == "Errors" else ""
    return element("td", f"{number:,}", class_=f"cs-number {kind}".rstrip())


def _duration(run: Run, view: View) -> str:
    return duration((run.ended_at or view.now) - run.started_at)


def _bar(run: Run) -> Html:
    done, total = run.counts.total, run.users_to_deal_with
    if total is None:
        return element("span", f"{done:,} users so far", class_="cs-small")
    percent = min(100, 100 * done // total) if total else 100
    told = element("span", f"{percent}% · {done:,} of {total:,} users", class_="cs-small")
    return joined(told, element("div", element("div", style=f"width:{percent}%"), class_="cs-track"))


def _errors(run: Run, errors: Sequence[ProblemResult]) -> Html:
    items = [element("li", _error(error), class_="cs-error") for error in errors[:ERRORS_SHOWN]]
    hidden = max(run.counts.errors, len(errors)) - len(items)
    if hidden > 0:
        more = f'and {hidden:,} more; invoke the function with {{"runId": "{run.run_id}"}} for the first 20'
        items.append(element("li", words(more), class_="cs-quiet"))
    return element("ul", *items)


def _error(error: ProblemResult) -> Html:
    whom = error["clerkUserId"]
    return joined(f"{whom}: " if whom else "", words(error["reason"]))
