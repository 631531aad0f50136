"""python3 -m tests.local picture: the README's picture of the dashboard, drawn by the real widgets."""

import argparse
import json
import sys
from datetime import UTC, datetime

from playwright.sync_api import Route

from clerk_sync.clock import DAY_MS
from clerk_sync.dashboard.request import parse_request
from clerk_sync.dashboard.user_lookup import RowState, UserLists
from clerk_sync.dashboard.widgets import render
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import MissedDeletions, Mode, ProblemResult, Run
from clerk_sync.users.user import User
from tests.local.browser import CHROMIUM, browser_page
from tests.local.clerk.fake_users import make_user
from tests.local.clerk.pictures import picture
from tests.local.commands.dashboard import dashboard_page

MINUTE, HOUR = 60_000, 60 * 60_000
NOW = 1_795_640_400_000
"""2026-11-25 21:00 UTC."""
SITE, PICTURES = "https://dashboard.test", "https://img.test"
WIDGETS = [{"title": name.capitalize(), "params": {"widget": name}} for name in ("runs", "users")]
ENDPOINT = "arn:aws:lambda:us-east-1:111122223333:function:clerk-sync-DashboardFunction"
NAMES = ("Ada Abel", "Bram Brandt", "Chioma Castro", "Dov Dumas", "Elif Eze", "Farid Fujita")


def main(options: argparse.Namespace) -> int:
    if CHROMIUM is None:
        print("The picture needs Chromium: install it, and try again.", file=sys.stderr)
        return 1
    with browser_page(options.width, scale=1.3) as page:
        page.route(f"{SITE}/**", _answer)
        page.route(f"{PICTURES}/**", _draw)
        page.goto(f"{SITE}/{'?theme=dark' if options.dark else ''}", wait_until="networkidle")
        page.locator("main").screenshot(path=options.file)
    print(options.file)
    return 0


def runs() -> list[tuple[Run, list[ProblemResult]]]:
    """The runs on the picture, newest first."""
    drift = MissedDeletions(rows=12_364, found=1, sent=1)
    return [
        (_run("full", _at(25, 20, 59, 39), Counts(updated=9, unchanged=4_991), expected=12_384), []),
        (_run("incremental", _at(25, 0), Counts(created=3, updated=41, unchanged=12), took=2_100), []),
        (
            _run(
                "audit",
                _at(22, 4),
                Counts(updated=5, unchanged=12_360, findings=4),
                took=64_000,
                deletions=drift,
            ),
            [],
        ),
        (
            _run("full", _at(22, 2), Counts(created=12, updated=140, unchanged=12_201), took=58_000),
            [],
        ),
    ]


def users() -> UserLists:
    """The users on the picture."""
    right, differing = RowState(), RowState(differing=("email",))
    newest = [
        (_user(0, NOW - 3 * HOUR, NOW - 12 * MINUTE), right),
        (_user(1, NOW - 11 * HOUR, NOW - 11 * HOUR), right),
    ]
    active = [
        (_user(4, NOW - 210 * DAY_MS, NOW - 2 * MINUTE), right),
        (_user(5, NOW - 33 * DAY_MS, NOW - 9 * MINUTE), differing),
    ]
    return UserLists({"Newest": newest, "Most recently active": active})


def _at(day: int, hour: int, minute: int = 0, second: int = 0) -> int:
    return int(datetime(2026, 11, day, hour, minute, second, tzinfo=UTC).timestamp() * 1000)


def _run(
    mode: Mode,
    started_at: int,
    counts: Counts,
    *,
    took: int | None = None,
    expected: int | None = None,
    deletions: MissedDeletions | None = None,
) -> Run:
    ended_at = None if took is None else started_at + took
    started = datetime.fromtimestamp(started_at / 1000, UTC)
    return Run(
        f"{mode}-{started:%Y%m%dT%H%M%SZ}-{started_at // 1000 % 0x1000000:06x}",
        mode,
        create_missing=True,
        dry_run=False,
        started_at=started_at,
        status="COMPLETED" if ended_at else "RUNNING",
        expected_users=expected,
        total_users=counts.total,
        counts=counts,
        paged_at=ended_at,
        ended_at=ended_at,
        deletions=deletions,
    )


def _user(n: int, created_at: int, active_at: int) -> User:
    first, last = NAMES[n].split()
    user_id = make_user(n)["id"]
    return User(
        user_id,
        active_at,
        {
            "firstName": first,
            "lastName": last,
            "email": f"{first.lower()}@mail.test",
            "imageUrl": f"{PICTURES}/{user_id}.svg",
            "createdAt": created_at,
            "lastSignInAt": active_at,
            "lastActiveAt": active_at,
        },
    )


def _answer(route: Route) -> None:
    asked = route.request
    if asked.method == "GET":
        theme = "dark" if asked.url.endswith("dark") else "light"
        route.fulfill(body=dashboard_page(theme, "", WIDGETS), content_type="text/html; charset=utf-8")
        return
    event = json.loads(asked.post_data or "{}")
    request = parse_request({**event["params"], "widgetContext": event["widgetContext"]}, ENDPOINT, NOW)
    shown = render(request, runs=runs()) if request.widget == "runs" else render(request, users=users())
    route.fulfill(body=shown, content_type="text/html; charset=utf-8")


def _draw(route: Route) -> None:
    route.fulfill(body=picture(route.request.url), content_type="image/svg+xml")
