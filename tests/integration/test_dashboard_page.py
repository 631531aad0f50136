"""The local page with the dashboard's widgets, in a browser."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect

from clerk_sync.runs.counts import Counts
from tests.integration.stack import Stack, wanted_row
from tests.local.browser import CHROMIUM, browser_page
from tests.local.clerk.fake_users import make_user
from tests.local.clerk.simulated_clerk import SimulatedClerk
from tests.local.commands.dashboard import dashboard
from tests.support.deployed_dashboard import start_run
from tests.support.polling import eventually

HOSTILE = (
    "<script>document.title = 'run'</script>",
    "<img src=x onerror=\"document.title = 'run'\">",
    "</bdi></td><iframe srcdoc='x'></iframe><svg onload=\"document.title = 'run'\">",
    "\"' onmouseover='document.title = 1' autofocus onfocus='document.title = 1",
)

expect.set_options(timeout=30_000)  # a cold start, on a busy machine

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")


@pytest.fixture(scope="module")
def open_page() -> Iterator[Page]:
    with browser_page(1200) as page:
        yield page


@pytest.fixture
def users() -> list[dict[str, Any]]:
    return [make_user(n) | {"first_name": name, "last_name": name} for n, name in enumerate(HOSTILE)]


@pytest.fixture
def clerk(stack: Stack, users: list[dict[str, Any]]) -> Iterator[SimulatedClerk]:
    with stack.clerk(users) as clerk:
        yield clerk


@pytest.fixture
def page(stack: Stack, clerk: SimulatedClerk, users: list[dict[str, Any]], open_page: Page) -> Iterator[Page]:
    """The page with both widgets loaded."""
    for user in users:
        stack.put_row(user["id"], **wanted_row(user))
    start_run(stack, "full", 1_790_000_000_000, 50, Counts(created=20))
    with dashboard(stack.aws, stack.outputs) as url:
        open_page.goto(url)
        settled(open_page)
        yield open_page
        open_page.goto("about:blank")


def settled(page: Page) -> None:
    """Wait until both widgets are loaded."""
    expect(page.locator(".widget .clerk-sync")).to_have_count(2)
    expect(page.locator(".widget[aria-busy=true]")).to_have_count(0)


def test_both_widgets_are_shown(page: Page) -> None:
    assert page.title() == "clerk-sync"
    expect(page.locator("section h2")).to_have_text(["Runs", "Users"])
    expect(page.get_by_text("40% · 20 of 50 users")).to_be_visible()
    bar = page.locator(".cs-track > div").bounding_box()
    track = page.locator(".cs-track").bounding_box()
    assert bar
    assert track
    assert bar["width"] / track["width"] == pytest.approx(0.4, abs=0.01)
    expect(page.locator("cwdb-action").first).to_be_hidden()


def test_hostile_name_is_shown_as_text(page: Page, users: list[dict[str, Any]]) -> None:
    shown = page.locator(".cs-name.cs-strong").all_text_contents()
    assert {f"{name} {name}"[:100] for name in HOSTILE} == {name[:100] for name in shown}
    assert page.locator(".widget script, .widget iframe, .widget [onload], .widget [onerror]").count() == 0
    assert page.locator(".widget [onmouseover], .widget [onfocus], .widget [autofocus]").count() == 0
    page.locator(".cs-name.cs-strong").last.hover()
    assert page.title() == "clerk-sync"


def test_picture_of_a_user_is_shown(clerk: SimulatedClerk, page: Page) -> None:
    user = make_user(9)
    clerk.add(user | {"image_url": f"{clerk.pictures}/{user['id']}.svg"})
    page.get_by_text("Refresh").last.click()
    pictures = page.locator(".cs-picture img")
    eventually(lambda: any(one.evaluate("(picture) => picture.naturalWidth") for one in pictures.all()))


def test_script_inside_a_widget_does_not_run(page: Page) -> None:
    page.evaluate(
        """() => document.querySelector(".widget").innerHTML = `
            <img src="x" onerror="document.title = 'run'"><script>document.title = 'run'</scr` + `ipt>
            <a id="link" href="javascript:document.title = 'run'">x</a>`"""
    )
    page.locator("#link").click()
    picture = page.locator(".widget img").first
    eventually(lambda: picture.evaluate("(picture) => picture.complete"))
    assert page.title() == "clerk-sync"


def test_link_switches_the_theme(page: Page) -> None:
    def colour() -> str:
        found: str = page.locator(".clerk-sync").first.evaluate("(shown) => getComputedStyle(shown).color")
        return found

    assert colour() == "rgb(15, 20, 26)"
    page.get_by_role("link", name="Dark").click()
    settled(page)
    assert colour() == "rgb(198, 198, 205)"
    page.get_by_role("link", name="Light").click()
    settled(page)
    assert colour() == "rgb(15, 20, 26)"


@pytest.mark.parametrize("by", ["button", "key"])
def test_search_shows_one_user_and_show_all_returns_to_the_lists(
    by: str, page: Page, users: list[dict[str, Any]]
) -> None:
    page.get_by_placeholder("E-mail address or user id").fill(users[2]["id"])
    if by == "button":
        page.get_by_text("Search", exact=True).click()
    else:
        page.get_by_placeholder("E-mail address or user id").press("Enter")
    expect(page.locator("h3")).to_have_text(["Found"])
    expect(page.locator(".cs-person")).to_have_count(1)
    expect(page.get_by_placeholder("E-mail address or user id")).to_have_value(users[2]["id"])
    page.get_by_text("Show all").click()
    expect(page.locator("h3")).to_have_text(["Newest", "Most recently active"])
    expect(page.get_by_placeholder("E-mail address or user id")).to_have_value("")


def test_hostile_search_is_shown_as_text(page: Page) -> None:
    page.get_by_placeholder("E-mail address or user id").fill(HOSTILE[1])
    page.get_by_text("Search", exact=True).click()
    expect(page.get_by_text("Clerk has no user")).to_contain_text("onerror")
    assert page.locator(".cs-message img").count() == 0
    expect(page.get_by_placeholder("E-mail address or user id")).to_have_value(HOSTILE[1])


def test_refresh_button_reloads_a_widget(stack: Stack, page: Page) -> None:
    start_run(stack, "audit", 1_790_000_000_001, 50, Counts(unchanged=25))
    page.get_by_text("Refresh").first.click()
    expect(page.get_by_text("50% · 25 of 50 users")).to_be_visible()


def test_widgets_fit_any_width_and_turn_rows_into_cards_when_narrow(page: Page) -> None:
    for width, has_headings in ((300, False), (400, False), (800, False), (2400, True)):
        page.set_viewport_size({"width": width, "height": 900})
        page.reload()
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for widget in page.locator(".widget").all():
            assert widget.evaluate("(one) => one.scrollWidth <= one.clientWidth")
        assert page.locator("th").first.is_visible() == has_headings


def test_request_for_another_host_name_is_rejected(page: Page) -> None:
    answer = page.request.get(page.url, headers={"Host": "evil.test"})
    assert answer.status == 404
    answer = page.request.post(f"{page.url}widget", headers={"Host": "evil.test"}, data="{}")
    assert answer.status == 404


def test_page_loads_only_pictures_from_other_hosts(page: Page) -> None:
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    page.reload()
    settled(page)
    elsewhere = {request.resource_type for request in asked if not request.url.startswith(page.url)}
    assert elsewhere <= {"image"}
