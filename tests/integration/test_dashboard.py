"""The deployed dashboard: its body, and its two widgets as CloudWatch requests them."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from clerk_sync.runs.counts import Counts
from clerk_sync.users.user import UserProblem
from tests.integration.stack import Stack, wanted_row
from tests.local.clerk.fake_users import make_user, make_users
from tests.local.clerk.faults import Fault
from tests.local.commands.dashboard import custom_widgets
from tests.support.deployed_dashboard import show, start_run
from tests.support.widgets import Parsed


def text(html: str) -> str:
    return Parsed(html).text


@pytest.fixture
def people(stack: Stack) -> Iterator[list[dict[str, Any]]]:
    """A Clerk instance with thirty users, whose rows are up to date."""
    users = make_users(30)
    for user in users:
        stack.put_row(user["id"], **wanted_row(user))
    with stack.clerk(users):
        yield users


def dashboard_body(stack: Stack) -> Any:
    _, _, name = stack.outputs["DashboardUrl"].rpartition("/")
    assert name == f"{stack.name}-us-east-1"
    return json.loads(stack.aws.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])


def test_dashboard_shows_every_function_in_widgets_that_do_not_overlap(stack: Stack) -> None:
    body = dashboard_body(stack)
    assert [widget["title"] for widget in custom_widgets(stack.aws, stack.outputs)] == ["Runs", "Users"]
    for widget in custom_widgets(stack.aws, stack.outputs):
        assert widget["endpoint"].endswith(f":{stack.outputs['DashboardFunction']}")
    cells: set[tuple[int, int]] = set()
    for widget in body["widgets"]:
        columns = range(widget["x"], widget["x"] + widget["width"])
        mine = {(x, y) for x in columns for y in range(widget["y"], widget["y"] + widget["height"])}
        assert max(columns) < 24
        assert not cells & mine, "widgets over each other"
        cells |= mine
    dumped = json.dumps(body)
    assert "${" not in dumped
    for name in ("BackfillFunction", "AuditFunction", "WorkerFunction", "WebhookFunction", "ProfileFunction"):
        assert stack.outputs[name] in dumped
    assert stack.outputs["UsersTable"] in dumped


def test_graphs_show_the_deployed_api(stack: Stack) -> None:
    apis = {api["name"] for api in stack.aws.client("apigateway").get_rest_apis()["items"]}
    assert stack.name in apis
    assert f'"ApiName", "{stack.name}", "Stage", "v1"' in json.dumps(dashboard_body(stack))


def test_log_queries_search_existing_groups_and_use_each_variable(stack: Stack) -> None:
    body = dashboard_body(stack)
    groups = {group["logGroupName"] for group in stack.aws.client("logs").describe_log_groups()["logGroups"]}
    queries = [widget["properties"]["query"] for widget in body["widgets"] if widget["type"] == "log"]
    for query in queries:
        sources = [part.split("'")[1] for part in query.split(" | ") if part.startswith("SOURCE ")]
        assert len(sources) >= 3
        assert set(sources) <= groups
    assert any("ProfileLogGroup" in query for query in queries)
    for variable in body["variables"]:
        assert any(f"/{variable['pattern']}/" in query for query in queries)


def test_dashboard_function_describes_itself(stack: Stack) -> None:
    described = stack.aws.invoke(stack.outputs["DashboardFunction"], {"describe": True})
    assert described.startswith("## clerk-sync")


# Runs


def test_runs_widget_without_runs_says_how_to_start_one(stack: Stack) -> None:
    assert "No run yet" in text(show(stack, "runs"))


def test_runs_widget_shows_runs_newest_first_with_their_errors(stack: Stack) -> None:
    users = make_users(12)
    with stack.clerk(users):
        done = stack.backfill()
    counts = Counts(created=3, unchanged=15, errors=2)
    problem = UserProblem("user_odd", "Clerk's user is malformed: <first_name>")
    start_run(stack, "audit", done["startedAt"] + 1, 50, counts, problem)
    shown = text(show(stack, "runs"))
    assert shown.index("In progress") < shown.index("Completed"), "newest first"
    for words in (
        "40% · 20 of 50 users",
        "Audit with repair",
        "Full",
        "12 created",
        "user_odd",
        "<first_name>",
        "and 1 more",
    ):
        assert words in shown


def test_runs_widget_shows_why_a_run_failed(stack: Stack) -> None:
    with stack.clerk(make_users(3)) as clerk:
        clerk.on_request = lambda *_: Fault.status(401)
        stack.backfill()
    shown = text(show(stack, "runs"))
    assert "Failed" in shown
    assert "Clerk refuses the secret key in the SSM parameter /clerk-sync/secret-key" in shown


def test_runs_widget_shows_the_last_ten_runs_of_all_modes(stack: Stack) -> None:
    for n in range(4):
        for mode in ("full", "incremental", "audit"):
            start_run(stack, mode, 1_790_000_000_000 + n, 5, Counts(unchanged=5))
    shown = show(stack, "runs")
    assert Parsed(shown).text.count("In progress") == 10


# Users


def test_users_widget_shows_newest_and_most_recently_active_users(
    stack: Stack, people: list[dict[str, Any]]
) -> None:
    stack.delete_row(people[-1]["id"])
    stack.put_row(people[-2]["id"], **wanted_row(people[-2]) | {"email": "old@mail.test"})
    parsed = Parsed(show(stack, "users"))
    newest, _, active = parsed.text.partition("Most recently active")
    assert [user["id"] in newest for user in people] == [False] * 20 + [True] * 10
    tenth = sorted(user["last_active_at"] or 0 for user in people)[-10]  # a day, which many may share
    assert all(user["id"] in active for user in people if (user["last_active_at"] or 0) > tenth)
    assert not any(user["id"] in active for user in people if (user["last_active_at"] or 0) < tenth)
    for words in ("Missing", "Differs", "email", "Up to date"):
        assert words in newest
    assert set(parsed.values("img", "src")) <= {user["image_url"] for user in people}


def test_users_widget_makes_two_requests_for_any_number_of_users(stack: Stack) -> None:
    with stack.clerk(make_users(1_000)) as clerk:
        show(stack, "users")
        assert [request.path for request in clerk.requests] == ["/v1/users"] * 2
        show(stack, "users", make_user(5)["id"])
        assert len(clerk.requests) == 3
        show(stack, "runs")
        assert len(clerk.requests) == 3


def test_search_finds_a_user_by_address_and_by_id(stack: Stack, people: list[dict[str, Any]]) -> None:
    user = people[14]
    address = next(
        e["email_address"] for e in user["email_addresses"] if e["id"] == user["primary_email_address_id"]
    )
    for wanted in (address, user["id"]):
        shown = text(show(stack, "users", wanted))
        assert user["id"] in shown
        assert shown.count("Up to date") == 1


def test_search_finds_the_row_of_a_deleted_user(stack: Stack, people: list[dict[str, Any]]) -> None:
    stack.put_row("user_gone", clerkUpdatedAt=1, clerkDeletedAt=2)
    assert "The row in the table is marked as deleted." in text(show(stack, "users", "user_gone"))
    assert "Search for a whole user id or e-mail address" in text(show(stack, "users", "user_never"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.status(401), "Clerk refuses the secret key in the SSM parameter /clerk-sync/secret-key"),
        (Fault.status(500), "gives no usable answer"),
        (Fault.hang(30), "gives no usable answer"),
    ],
    ids=["401", "500", "silent"],
)
def test_users_widget_reports_a_clerk_failure_and_runs_widget_still_works(
    stack: Stack, fault: Fault, said: str
) -> None:
    with stack.clerk(make_users(3)) as clerk:
        clerk.on_request = lambda *_: fault
        began = time.monotonic()
        assert said in text(show(stack, "users"))
        assert time.monotonic() - began < 20
    assert "No run yet" in text(show(stack, "runs"))


def test_users_widget_reports_that_clerk_is_unreachable(stack: Stack) -> None:
    assert "gives no usable answer" in text(show(stack, "users", "ada@mail.test"))


def test_dashboard_logs_neither_names_nor_searches(stack: Stack) -> None:
    user = make_user(1) | {"first_name": "Marked-first", "last_name": ["Marked-odd"]}
    with stack.clerk([user, make_user(2) | {"first_name": "Marked-second"}]) as clerk:
        show(stack, "users")
        show(stack, "users", "marked-search@mail.test")
        clerk.on_request = lambda *_: Fault.status(401)
        show(stack, "users", "marked-search@mail.test")
    log = stack.log()
    assert "widget_served" in log
    assert "widget_failed" in log
    assert [word for word in ("Marked-", "marked-search", "sk_test_local") if word in log] == []
