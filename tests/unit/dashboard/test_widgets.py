"""What the widgets show, and that no text of anybody's becomes markup."""

import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.dashboard.runs_widget import runs_widget
from clerk_sync.dashboard.user_lookup import Entry, Found, Lists, RowState
from clerk_sync.dashboard.users_widget import users_trouble, users_widget
from clerk_sync.dashboard.widgets import View, ago, duration, element, moment, parse_view, picture
from clerk_sync.runs.run import Counts, Mode, ProblemResult, Run, Status
from clerk_sync.users.user import User, UserProblem
from tests.support.strategies import any_text

NOW = 1_790_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
VIEW = View("arn:aws:lambda:us-east-1:123456789012:function:dashboard", NOW, width=1200)
NARROW = View(VIEW.endpoint, NOW, width=400)
THERE = RowState(is_there=True)

TAGS = {
    "style": set(),
    "div": {"class", "style"},
    "span": {"class", "title"},
    "bdi": {"class", "title"},
    "p": {"class"},
    "h3": set(),
    "br": set(),
    "ul": set(),
    "li": {"class"},
    "table": set(),
    "thead": set(),
    "tbody": set(),
    "tr": {"class"},
    "th": {"class"},
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

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "</cwdb-action><cwdb-action action='html'>",
    "&lt;b&gt; &amp;",
    "javascript:alert(1)",
    "\u202egnp.exe\u202c\u2066x",
    "a\x00b\x1bc\nd\u2028e",
    "half \ud800 pair",
    "\U0001f469\u200d\U0001f680 \u0645\u062d\u0645\u062f",
    "x" * 60_000,
]


class Parsed(HTMLParser):
    """The text and the elements of a widget; refuses what the widgets are not made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self._open: list[str] = []
        html.encode()
        self.feed(html)
        self.close()
        assert self._open == [], "elements that are left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert {name for name, _ in attrs} <= TAGS[tag], f"{tag} with {attrs}"
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("br", "img", "input"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1] not in ("style", "cwdb-action"):
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:  # noqa: ARG002
        raise AssertionError("a comment")

    def handle_decl(self, decl: str) -> None:  # noqa: ARG002
        raise AssertionError("a declaration")

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def values(self, tag: str, name: str) -> list[str]:
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]


def a_run(status: Status = "COMPLETED", mode: Mode = "full", **changes: Any) -> Run:
    given: dict[str, Any] = {
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
    return Run("full-1", mode, create_missing=True, status=status, **{"dry_run": False, **given})


def a_user(**fields: str | int) -> User:
    times = {"createdAt": NOW - 3 * MINUTE, "lastSignInAt": NOW - 2 * HOUR, "lastActiveAt": NOW - DAY}
    usual: dict[str, str | int] = {"firstName": "Ada", "lastName": "Abel", "email": "ada@mail.test", **times}
    return User("user_1", 1, {name: value for name, value in (usual | fields).items() if value != ""})


def shown_user(user: User | UserProblem, row: RowState = THERE, view: View = VIEW) -> Parsed:
    return Parsed(users_widget(Lists([Entry(user, row)], []), view))


def shown_run(run: Run, errors: list[ProblemResult] | None = None, view: View = VIEW) -> Parsed:
    return Parsed(runs_widget([(run, errors or [])], view))


# No text becomes markup


def everywhere(text: str) -> Iterator[str]:
    """Widgets with this text wherever one comes from outside."""
    error: ProblemResult = {"clerkUserId": text, "reason": text}
    user = a_user(firstName=text, lastName=text, email=text, username=text, imageUrl=text)
    others = (User(text, 1, {}), UserProblem(text, text), UserProblem(None, text), a_user(imageUrl=text))
    entries = [Entry(user, RowState(True, None, (text,))), *(Entry(one, THERE) for one in others)]
    run = a_run("COMPLETED_WITH_ERRORS", counts=Counts(errors=9), dry_run=True)
    for view in (VIEW, NARROW, View(text, NOW, is_dark=True)):
        yield runs_widget([(run, [error] * 5), (a_run("FAILED"), [error])], view)
        yield users_widget(Lists(entries, entries), view)
        yield users_widget(Found(text, entries), view)
        yield users_widget(Found(text, [], THERE), view)
        yield users_trouble(text, text, view)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_is_text(text: str) -> None:
    for html in everywhere(text):
        parsed = Parsed(html)
        assert all(src.startswith("https://") for src in parsed.values("img", "src"))
        assert not re.search(r"[\x00-\x08\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html)


@given(any_text)
def test_any_text_is_text(text: str) -> None:
    for html in everywhere(text):
        Parsed(html)


@given(st.text("ab<>&\"'/=;# ", max_size=50), st.text("ab<>&\"'/=;# ", max_size=50))
def test_an_element_says_just_what_it_was_given(text: str, title: str) -> None:
    parsed = Parsed(element("span", text, title=title))
    assert "".join(parsed.texts) == text
    assert parsed.attributes == [("span", "title", title)]


def test_markup_of_ours_stays_and_everything_else_is_escaped() -> None:
    assert element("td", element("b", "5 < 6"), " & 'so'") == "<td><b>5 &lt; 6</b> &amp; &#x27;so&#x27;</td>"
    assert element("td", "x", class_='a"b') == '<td class="a&quot;b">x</td>'


def test_a_name_is_isolated_shortened_and_whole_to_be_pointed_at() -> None:
    parsed = shown_user(a_user(firstName="x" * 500, lastName=""))
    assert max(map(len, parsed.texts)) == 120
    html = users_widget(Lists([Entry(a_user(firstName="\u0645\u062d\u0645\u062f"), THERE)], []), VIEW)
    assert '<bdi class="cs-name cs-strong" title="\u0645\u062d\u0645\u062f Abel">' in html


@pytest.mark.parametrize(
    "url",
    [
        "https://img.clerk.com/eyJ0eXBlIjoi_-.~%20?width=64&v=1",
        "https://images.test:8443/a/b.png",
    ],
)
def test_a_picture_comes_over_https(url: str) -> None:
    class Pictures(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "img":
                assert dict(attrs)["src"] == url

    html = picture(url, "AB")
    Pictures().feed(html)
    assert "<img" in html
    assert "AB" in html


@pytest.mark.parametrize(
    "url",
    [
        "http://img.test/a",
        "javascript:alert(1)",
        "data:image/svg+xml,<svg onload=alert(1)>",
        "//img.test/a",
        " https://img.test/a",
        "https://img.test/a b",
        'https://img.test/"onerror=alert(1)',
        "https://img.test/'x",
        "https://img.test/a\n",
        "https://img.test\\@evil.test/",
        "https://user:pass@img.test/a",
        "https://img.test/\u202e",
        "https://b\u00fccher.test/a",
        "HTTPS://img.test/a",
        "https://",
        "https://img.test/" + "a" * 3000,
        "",
        None,
    ],
)
def test_any_other_picture_is_the_initials(url: str | None) -> None:
    assert picture(url, "AB") == '<span class="cs-picture">AB</span>'


# How it is looked at


@pytest.mark.parametrize(
    ("context", "view"),
    [
        ({}, View("f", NOW)),
        ({"theme": "dark", "width": 588, "height": 369}, View("f", NOW, is_dark=True, width=588)),
        ({"theme": "light", "width": 588.5}, View("f", NOW)),
        ({"theme": 7, "width": "wide", "timezone": "UTC"}, View("f", NOW)),
        ({"width": -1, "timezone": {"offsetISO": None, "offsetInMinutes": 60}}, View("f", NOW)),
        ({"width": True, "timezone": {"offsetISO": "+25:00"}}, View("f", NOW)),
        (
            {"timezone": {"label": "Local", "offsetISO": "-03:30", "offsetInMinutes": 210}},
            View("f", NOW, utc_offset=-timedelta(hours=3, minutes=30)),
        ),
        ({"timezone": {"offsetISO": "+05:45"}}, View("f", NOW, utc_offset=timedelta(hours=5, minutes=45))),
    ],
)
def test_what_the_console_says_is_taken_where_it_makes_sense(context: dict[str, Any], view: View) -> None:
    assert parse_view(context, "f", NOW) == view


@given(st.dictionaries(st.sampled_from(["theme", "width", "timezone"]), st.none() | st.integers() | any_text))
def test_no_context_is_too_odd(context: dict[str, Any]) -> None:
    Parsed(runs_widget([], parse_view(context, "f", NOW)))


def test_light_and_dark_differ_in_their_style_alone() -> None:
    light, dark = (View("f", NOW, is_dark=is_dark) for is_dark in (False, True))
    ours = [users_widget(Lists([Entry(a_user(), THERE)], []), view) for view in (light, dark)]
    styles, bodies = zip(*(html.split("</style>") for html in ours), strict=True)
    assert styles[0] != styles[1]
    assert bodies[0] == bodies[1]
    assert not any("$" in style for style in styles)


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (-5 * MINUTE, "just now"),
        (59_999, "just now"),
        (MINUTE, "1 min ago"),
        (59 * MINUTE, "59 min ago"),
        (HOUR, "1 h ago"),
        (DAY - 1, "23 h ago"),
        (DAY, "1 day ago"),
        (29 * DAY, "29 days ago"),
        (30 * DAY, "1 month ago"),
        (364 * DAY, "12 months ago"),
        (365 * DAY, "1 year ago"),
        (1000 * DAY, "2 years ago"),
    ],
)
def test_times_are_said_as_people_do(ms: int, said: str) -> None:
    assert f">{said}<" in ago(NOW - ms, VIEW)


def test_the_full_time_is_in_the_viewers_zone() -> None:
    assert moment(NOW, VIEW) == "2026-09-21 14:13:20 UTC"
    there = View("f", NOW, utc_offset=timedelta(hours=-8))
    assert moment(NOW, there) == "2026-09-21 06:13:20 UTC-08:00"
    assert 'title="2026-09-21 06:13:20 UTC-08:00"' in ago(NOW, there)


@pytest.mark.parametrize("ms", [0, 10**15 - 1, -(10**15), 253_402_300_799_999])
def test_any_time_that_clerk_may_have_is_shown(ms: int) -> None:
    for hours in (-12, 14):
        Parsed("<p>" + ago(ms, View("f", NOW, utc_offset=timedelta(hours=hours))) + "</p>")


@pytest.mark.parametrize(
    ("ms", "said"), [(-1, "0.0 s"), (4_234, "4.2 s"), (200_000, "3 min 20 s"), (7_500_000, "2 h 5 min")]
)
def test_durations(ms: int, said: str) -> None:
    assert duration(ms) == said


# Runs


def test_without_a_run_it_says_how_to_start_one() -> None:
    assert "Invoke BackfillFunction with {}" in Parsed(runs_widget([], VIEW)).text


@pytest.mark.parametrize("view", [VIEW, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("RUNNING", "In progress"),
        ("COMPLETED", "Completed"),
        ("COMPLETED_WITH_ERRORS", "With errors"),
        ("FAILED", "Failed"),
    ],
)
def test_a_runs_status_mode_times_and_counts_are_shown(status: Status, said: str, view: View) -> None:
    parsed = shown_run(a_run(status, "audit"), view=view)
    for text in (
        said,
        "full-1",
        "Audit",
        "with repair",
        "1 h ago",
        "1 h 0 min" if status == "RUNNING" else "4.2 s",
    ):
        assert text in parsed.text
    assert all(number in parsed.text for number in ("1", "2", "47"))


@pytest.mark.parametrize("view", [VIEW, NARROW], ids=["wide", "narrow"])
def test_an_audit_that_found_something_says_so_and_that_nothing_was_written(view: View) -> None:
    text = shown_run(
        a_run("COMPLETED", "audit", counts=Counts(updated=1, findings=1), dry_run=True), view=view
    ).text
    assert "Drift" in text
    assert "nothing written" in text
    assert "Completed" not in text
    assert "Drift" not in shown_run(a_run("COMPLETED", counts=Counts(updated=1, findings=1)), view=view).text


def test_the_time_of_a_run_is_in_the_viewers_zone() -> None:
    tokyo = View("f", NOW, width=1200, utc_offset=timedelta(hours=9))
    assert "Sep 21, 22:13" in shown_run(a_run(), view=tokyo).text


@pytest.mark.parametrize(
    ("run", "share"),
    [
        (a_run("RUNNING", paged_at=None, total_users=30, counts=Counts(created=20)), (20, 50)),
        (a_run("RUNNING", paged_at=None, total_users=60, counts=Counts(created=20)), (20, 60)),
        (a_run("RUNNING", total_users=40, counts=Counts(created=20)), (20, 40)),
        (a_run("RUNNING", paged_at=None, expected_users=None, counts=Counts(updated=7)), (7, None)),
    ],
)
def test_progress_is_the_share_of_users_dealt_with(run: Run, share: tuple[int, int | None]) -> None:
    assert (run.counts.total, run.users_to_deal_with) == share


def test_a_run_under_way_has_a_bar_and_one_that_is_over_has_none() -> None:
    under_way = a_run("RUNNING", paged_at=None, counts=Counts(created=20))
    parsed = shown_run(under_way)
    assert "40% · 20 of 50 users" in parsed.text
    assert parsed.values("div", "style") == ["width:40%"]
    assert shown_run(a_run()).values("div", "style") == []


def test_a_run_of_unknown_length_has_a_number_instead() -> None:
    run = a_run("RUNNING", "incremental", paged_at=None, expected_users=None, counts=Counts(updated=1234))
    parsed = shown_run(run)
    assert "1,234 users so far" in parsed.text
    assert parsed.values("div", "style") == []


def test_a_run_without_users_is_not_divided_by_none() -> None:
    assert "100%" in shown_run(a_run("RUNNING", expected_users=0, total_users=0, counts=Counts())).text


def test_the_first_errors_are_shown_whole_and_the_rest_counted() -> None:
    why = "why " * 90
    errors: list[ProblemResult] = [{"clerkUserId": f"user_{n}", "reason": f"{n} {why}"} for n in range(5)]
    errors[1]["clerkUserId"] = None
    parsed = shown_run(a_run("COMPLETED_WITH_ERRORS", counts=Counts(errors=1_205)), errors)
    assert "user_0: " in parsed.text
    assert f"1 {why}" in parsed.text
    assert "user_3" not in parsed.text
    assert "and 1,202 more" in parsed.text


def test_a_failed_run_says_why() -> None:
    run = a_run("FAILED", counts=Counts(), failure="Clerk refuses the secret key")
    parsed = shown_run(run, run.errors([]))
    assert "Clerk refuses the secret key" in parsed.text
    assert "more" not in parsed.text


# Users


@pytest.mark.parametrize("view", [VIEW, NARROW], ids=["wide", "narrow"])
def test_a_user_is_shown_with_picture_and_times(view: View) -> None:
    parsed = shown_user(a_user(imageUrl="https://img.test/a"), view=view)
    assert parsed.values("img", "src") == ["https://img.test/a"]
    for text in ("AA", "Ada Abel", "ada@mail.test", "3 min ago", "2 h ago", "1 day ago", "Up to date"):
        assert text in parsed.text


@pytest.mark.parametrize(
    ("fields", "said", "initials"),
    [
        ({"firstName": ""}, "Abel", "A"),
        ({"firstName": "", "lastName": "", "username": "ada_1"}, "ada_1", "A"),
        ({"firstName": "", "lastName": ""}, "no name", "?"),
        ({"firstName": "<b>", "lastName": "!"}, "<b> !", "B"),
        ({"firstName": "\U0001f98a", "lastName": ""}, "\U0001f98a", "?"),
    ],
)
def test_a_user_without_a_name_is_shown(fields: dict[str, str], said: str, initials: str) -> None:
    parsed = shown_user(a_user(**fields))
    assert said in parsed.text
    assert initials in parsed.texts


def test_a_user_who_never_signed_in_and_has_no_address_is_shown() -> None:
    bare = User("user_2", 1, {"createdAt": NOW})
    for view in (VIEW, NARROW):
        parsed = shown_user(bare, view=view)
        assert "user_2" in parsed.text
        assert "never" in parsed.text


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (THERE, "Up to date"),
        (RowState(is_there=False), "Missing"),
        (RowState(True, None, ("email", "lastName")), "email, lastName"),
        (RowState(True, None, ("lastActiveAt",)), "Up to date*"),
        (RowState(True, NOW - HOUR), "Marked deleted"),
        (RowState(True, NOW - HOUR, ("email",)), "Marked deleted"),
    ],
)
def test_what_is_stored_is_told(row: RowState, said: str) -> None:
    for view in (VIEW, NARROW):
        assert said in shown_user(a_user(), row, view).text


def test_a_malformed_user_is_told_of() -> None:
    for view in (VIEW, NARROW):
        parsed = shown_user(UserProblem("user_3", "Clerk's user is malformed: first_name"), view=view)
        assert "user_3" in parsed.text
        assert "first_name" in parsed.text


def test_without_users_it_says_so() -> None:
    assert Parsed(users_widget(Lists([], []), VIEW)).text.count("Nobody yet.") == 2


def test_the_search_stays_in_its_field_and_has_a_way_back() -> None:
    html = users_widget(Found("ada@mail.test", [Entry(a_user(), THERE)]), VIEW)
    parsed = Parsed(html)
    assert parsed.values("input", "value") == ["ada@mail.test"]
    assert "Show all" in parsed.text
    assert '{"widget": "users", "show": "all"}' in html
    assert set(parsed.values("cwdb-action", "endpoint")) == {VIEW.endpoint}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Found("a@b.test", []), "Clerk has no user &#x27;a@b.test&#x27;.</p>"),
        (Found("user_9", []), "Nor has the table a row."),
        (Found("user_9", [], RowState(True, NOW)), "The table has a row, marked as deleted."),
        (Found("user_9", [], THERE), "not marked as deleted: audit the table."),
    ],
)
def test_who_is_not_found_is_told(found: Found, said: str) -> None:
    assert said in users_widget(found, VIEW)


def test_trouble_leaves_the_search_where_it_is() -> None:
    parsed = Parsed(users_trouble("Clerk is down", "ada@mail.test", VIEW))
    assert "Clerk is down" in parsed.text
    assert parsed.values("input", "value") == ["ada@mail.test"]
