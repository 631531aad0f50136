"""The dashboard's widget of users."""

from collections.abc import Sequence

from clerk_sync.dashboard.user_lookup import Entry, Found, Lists, RowState
from clerk_sync.dashboard.widgets import (
    Html,
    View,
    ago,
    button,
    element,
    joined,
    message,
    name,
    picture,
    status,
    table,
    widget,
    words,
)
from clerk_sync.users.user import User, UserProblem

SEARCH = "search"
"""The name of the form's field."""

_LATER = "lastActiveAt"
_WIDE = {"User": "", "E-mail": "", "Joined": "", "Last sign-in": "", "Last active": "", "In the table": ""}
_TIMES = (("joined", "createdAt"), ("signed in", "lastSignInAt"), ("active", "lastActiveAt"))
_NARROW = {"User": "", "Activity": "", "In the table": ""}


def users_widget(shown: Lists | Found, view: View) -> Html:
    """The newest and the most recently active users, or what was searched."""
    if isinstance(shown, Lists):
        return widget(
            view,
            _bar("", view),
            _section("Newest", shown.newest, view),
            _section("Most recently active", shown.active, view),
        )
    found = _section("Found", shown.entries, view) if shown.entries else _nobody(shown)
    return widget(view, _bar(shown.wanted, view), found)


def users_trouble(reason: str, wanted: str, view: View) -> Html:
    """The same when there is nothing to show, and why."""
    return widget(view, _bar(wanted, view), message("error", reason))


def _bar(wanted: str, view: View) -> Html:
    form = element(
        "form",
        element("input", name=SEARCH, value=wanted, placeholder="E-mail or user id", type="text"),
        button("Search", view, {"widget": "users"}, is_primary=True),
    )
    label = "Show all" if wanted else "Refresh"
    return element("div", form, button(label, view, {"widget": "users", "show": "all"}), class_="cs-bar")


def _nobody(found: Found) -> Html:
    told = f"Clerk has no user {found.wanted!r}."
    if found.gone:
        mark = "marked as deleted" if found.gone.deleted_at else "not marked as deleted: audit the table"
        told += f" The table has a row, {mark}."
    elif "@" not in found.wanted:
        told += " Nor has the table a row."
    return message("info", told)


def _section(title: str, entries: Sequence[Entry], view: View) -> Html:
    if not entries:
        return joined(element("h3", title), element("p", "Nobody yet.", class_="cs-quiet"))
    columns = _NARROW if view.is_narrow else _WIDE
    return joined(element("h3", title), table(columns, [_row(entry, view) for entry in entries]))


def _row(entry: Entry, view: View) -> Html:
    user = entry.user
    if isinstance(user, UserProblem):
        span = str(len(_NARROW if view.is_narrow else _WIDE) - 1)
        whom = joined(name(user.clerk_user_id or "a user without an id"), _small(words(user.reason)))
        state = element("td", status("error", "Can't be synced"))
        return element("tr", element("td", whom, colspan=span), state)
    state = element("td", _state(entry.row, view))
    return element("tr", *(_narrow_cells(user, view) if view.is_narrow else _wide_cells(user, view)), state)


def _wide_cells(user: User, view: View) -> list[Html]:
    email = _text(user, "email")
    return [
        element("td", _person(user, user.id)),
        element("td", name(email) if email else element("span", "none", class_="cs-quiet")),
        *(element("td", _ago(user, field, view)) for _, field in _TIMES),
    ]


def _narrow_cells(user: User, view: View) -> list[Html]:
    return [
        element("td", _person(user, _text(user, "email") or user.id)),
        element("td", *_activity(user, view), class_="cs-time"),
    ]


def _activity(user: User, view: View) -> list[Html]:
    return [_small(joined(f"{what} ", _ago(user, field, view))) for what, field in _TIMES]


def _person(user: User, beneath: str) -> Html:
    names = [text for part in ("firstName", "lastName") if (text := _text(user, part))]
    shown = " ".join(names) or _text(user, "username")
    called = name(shown, "cs-strong") if shown else element("span", "no name", class_="cs-quiet")
    return element(
        "div",
        picture(_text(user, "imageUrl"), _initials(names or [shown])),
        element("div", called, _small(name(beneath))),
        class_="cs-person",
    )


def _initials(names: Sequence[str]) -> str:
    letters = (next(filter(str.isalnum, name), "") for name in names)
    return "".join(letters).upper() or "?"


def _state(row: RowState, view: View) -> Html:
    if not row.is_there:
        return status(
            "warning", "Missing", "There is no row. A full run makes it, unless CreateMissingUsers is false"
        )
    if row.deleted_at is not None:
        return joined(status("error", "Marked deleted"), _small(ago(row.deleted_at, view)))
    if not row.differing:
        return status("success", "Up to date")
    if set(row.differing) == {_LATER}:
        told = "All but lastActiveAt, which Clerk sends no webhook for: the next full run brings it"
        return status("success", "Up to date*", told)
    fields = ", ".join(row.differing)
    return joined(status("warning", "Differs", f"A run or a webhook mends it: {fields}"), _small(fields))


def _text(user: User, field: str) -> str:
    value = user.fields.get(field)
    return value if isinstance(value, str) else ""


def _ago(user: User, field: str, view: View) -> Html:
    value = user.fields.get(field)
    return ago(value if isinstance(value, int) else None, view)


def _small(content: str) -> Html:
    return element("span", content, class_="cs-small")
