"""No text from outside becomes markup, and every part of a widget is safe to show."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given

from clerk_sync.dashboard.user_lookup import RowState, UserLists
from clerk_sync.dashboard.widgets import picture_url, render
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import MissedDeletions, ProblemResult
from clerk_sync.users.user import User, UserProblem
from tests.support.strategies import any_text
from tests.support.widgets import RUNS, USERS, Parsed, a_run, a_user, latest

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "</cwdb-action><cwdb-action action='html'>",
    "{{ 7 * 7 }}{% raw %}{# #}",
    "&lt;b&gt; &amp;",
    "javascript:alert(1)",
    "\u202egnp.exe\u202c\u2066x",
    "a\x00b\x1bc\nd\u2028e",
    "half \ud800 pair",
    "\U0001f469\u200d\U0001f680 \u0645\u062d\u0645\u062f",
    "x" * 60_000,
]


def everywhere(text: str) -> Iterator[str]:
    """Widgets with this text in every place that a text from outside can reach."""
    error: ProblemResult = {"clerkUserId": text, "reason": text}
    user = a_user(firstName=text, lastName=text, email=text, username=text, imageUrl=text)
    others = (User(text, 1, {}), UserProblem(text, text), UserProblem(None, text), a_user(imageUrl=text))
    users = [(one, RowState(None, (text,))) for one in (user, *others)]
    held_back = MissedDeletions(held_back=text)
    run = a_run("COMPLETED_WITH_ERRORS", run_id=text, counts=Counts(errors=9), deletions=held_back)
    runs, searched = replace(RUNS, endpoint=text), replace(USERS, endpoint=text, search=text)
    yield render(runs, runs=[(run, [error] * 5), (a_run("FAILED"), [error])])
    yield render(searched, users=latest(users, users))
    yield render(searched, users=UserLists({"Found": users}))
    yield render(searched, users=UserLists({}))
    yield render(searched, users=UserLists({}, RowState()))
    for request in (runs, searched, replace(runs, widget=None)):
        yield render(request, problem=text)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_stays_text(text: str) -> None:
    for html in everywhere(text):
        parsed = Parsed(html)
        assert all(src.startswith("https://") for src in parsed.values("img", "src"))
        assert not re.search(r"[\x00-\x08\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html)


@given(any_text)
def test_any_text_stays_text(text: str) -> None:
    for html in everywhere(text):
        Parsed(html)


@pytest.mark.parametrize("text", ["5 < 6 & 'so'", '<b class="x">'])
def test_a_text_is_shown_exactly_as_it_was_given(text: str) -> None:
    parsed = Parsed(render(replace(USERS, search=text), users=UserLists({})))
    assert f"“{text}”" in parsed.text
    assert parsed.values("input", "value") == [text]
    assert text in Parsed(render(USERS, problem=text)).texts


def test_a_name_is_isolated_and_shortened() -> None:
    shown = latest([(a_user(firstName="\u0645\u062d\u0645\u062f"), RowState())])
    assert 'title="\u0645\u062d\u0645\u062f Abel">\u0645\u062d\u0645\u062f Abel</bdi>' in render(
        USERS, users=shown
    )
    shown = latest([(a_user(firstName="x" * 500), RowState())])
    parsed = Parsed(render(USERS, users=shown))
    assert max(map(len, parsed.texts)) == 120
    assert max(map(len, parsed.values("bdi", "title"))) == 120


def test_a_buttons_parameters_are_json_and_its_endpoint_is_escaped() -> None:
    request = replace(USERS, endpoint='arn:"<&>', search="ada@mail.test")
    parsed = Parsed(render(request, users=UserLists({})))
    assert [json.loads(action) for action in parsed.actions] == [
        {"widget": "users"},
        {"widget": "users", "show": "all"},
    ]
    assert parsed.values("cwdb-action", "endpoint") == ['arn:"<&>'] * 2


def test_a_cwdb_action_follows_its_button() -> None:
    html = render(USERS, users=latest()) + render(RUNS, runs=[])
    assert len(re.findall(r"</a><cwdb-action ", html)) == html.count("<cwdb-action ") == 3


def test_themes_differ_in_one_class() -> None:
    light, dark = (render(replace(RUNS, theme=theme), runs=[(a_run(), [])]) for theme in ("light", "dark"))
    assert light.replace("cs-light", "cs-dark", 1) == dark
    assert light != dark


def test_the_style_sheet_reaches_no_other_part_of_the_page() -> None:
    _, _, rest = render(RUNS, runs=[]).partition("<style>")
    style = re.sub(r"/\*.*?\*/|@container [^{]*\{", "", rest.partition("</style>")[0])
    selectors = [one for rule in re.findall(r"([^{}]+)\{", style) for one in rule.split(",")]
    assert len(selectors) > 40
    assert all(selector.strip().startswith(".clerk-sync") for selector in selectors)


def test_the_style_sheet_uses_only_colours_that_it_defines() -> None:
    html = render(RUNS, runs=[])
    assert set(re.findall(r"var\((--[a-z-]+)\)", html)) == set(re.findall(r"(--[a-z-]+):", html))


@pytest.mark.parametrize("widget", ["runs", "users", None])
def test_a_problem_is_shown_whole_and_leaves_the_search_in_its_field(widget: None) -> None:
    problem = "why " * 200
    parsed = Parsed(render(replace(USERS, widget=widget, search="ada@mail.test"), problem=problem))
    assert problem in parsed.texts
    assert parsed.values("input", "value") == (["ada@mail.test"] if widget == "users" else [])


@pytest.mark.parametrize(
    "url",
    [
        "https://img.clerk.com/eyJ0eXBlIjoi_-.~%20?width=64&v=1",
        "https://images.test:8443/a/b.png",
    ],
)
def test_a_picture_is_loaded_over_https(url: str) -> None:
    class Pictures(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "img":
                sources.append(dict(attrs)["src"])

    sources: list[str | None] = []
    html = render(USERS, users=UserLists({"Found": [(a_user(imageUrl=url), RowState())]}))
    Pictures().feed(html)
    assert sources == [url]
    assert "AA" in Parsed(html).texts, "the initials, until it is loaded"


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
    ],
)
def test_any_other_picture_url_gives_the_initials(url: str) -> None:
    assert picture_url(url) == ""
    html = render(USERS, users=UserLists({"Found": [(a_user(imageUrl=url), RowState())]}))
    assert "<img" not in html
    assert "AA" in Parsed(html).texts
