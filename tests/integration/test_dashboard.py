"""The dashboard of the deployed stack: its body, and its two widgets as CloudWatch asks for them."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.run import Counts, Mode, Run
from clerk_sync.users.user import UserProblem
from tests.integration.stack import Stack, wanted_row
from tests.local.clerk.fake_users import make_user, make_users
from tests.local.clerk.simulated_clerk import Fault
from tests.local.commands.dashboard import ask, custom_widgets
from tests.unit.dashboard.test_widgets import Parsed
from tests.unit.handlers.test_dashboard import asked


def show(stack: Stack, widget: str, search: str | None = None, **context: Any) -> str:
    """The HTML of a widget."""
    event = asked(widget, search)
    html = ask(stack.aws, stack.outputs, {"widget": widget}, event["widgetContext"] | context)
    assert isinstance(html, str)
    return html


def text(html: str) -> str:
    return Parsed(html).text


def start_run(
    stack: Stack, mode: Mode, started_at: int, expected: int, counts: Counts, *problems: UserProblem
) -> Run:
    """A run that has got as far as these counts, and is still reading Clerk."""
    runs = stack.runs
    run = Run(f"{mode}-{started_at}", mode, create_missing=True, dry_run=False, started_at=started_at)
    assert runs.start(run, after=runs.current(mode))
    assert runs.acquire(run.run_id, "me", started_at, started_at)
    runs.expect(run.run_id, "me", expected)
    page = PendingPage("token", counts.total, [], Checkpoint())
    stack.pages.record_pending(run, "me", [page], 0)
    runs.save(page.added_to(run), "me", 0)
    assert stack.pages.record_outcome(run.run_id, 1, "token", counts, list(problems))
    return page.added_to(run)


@pytest.fixture
def people(stack: Stack) -> Iterator[list[dict[str, Any]]]:
    """A Clerk with thirty users, whose rows are all right."""
    users = make_users(30)
    for user in users:
        stack.put_row(user["id"], **wanted_row(user))
    with stack.clerk(users):
        yield users


def dashboard_body(stack: Stack) -> Any:
    _, _, name = stack.outputs["DashboardUrl"].rpartition("/")
    assert name == f"{stack.name}-us-east-1"
    return json.loads(stack.aws.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])


def test_the_dashboards_body_is_whole(stack: Stack) -> None:
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
    told = json.dumps(body)
    assert "${" not in told
    for name in ("BackfillFunction", "AuditFunction", "WorkerFunction", "WebhookFunction", "ProfileFunction"):
        assert stack.outputs[name] in told
    assert stack.outputs["UsersTable"] in told


def test_the_graphs_are_of_the_api_there_is(stack: Stack) -> None:
    apis = {api["name"] for api in stack.aws.client("apigateway").get_rest_apis()["items"]}
    assert stack.name in apis
    assert f'"ApiName", "{stack.name}", "Stage", "v1"' in json.dumps(dashboard_body(stack))


def test_the_logs_that_are_searched_are_there_and_the_variables_used(stack: Stack) -> None:
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


def test_it_describes_itself(stack: Stack) -> None:
    described = stack.aws.invoke(stack.outputs["DashboardFunction"], {"describe": True})
    assert described.startswith("\n## clerk-sync")


# Runs


def test_without_runs_it_says_how_to_start_one(stack: Stack) -> None:
    assert "No run yet" in text(show(stack, "runs"))


def test_runs_done_under_way_and_with_errors_are_shown(stack: Stack) -> None:
    users = make_users(12)
    with stack.clerk(users):
        done = stack.backfill()
    counts = Counts(created=3, unchanged=15, errors=2)
    problem = UserProblem("user_odd", "Clerk's user is malformed: <first_name>")
    start_run(stack, "audit", done["startedAt"] + 1, 50, counts, problem)
    shown = text(show(stack, "runs", width=1200))
    assert shown.index("In progress") < shown.index("Completed"), "newest first"
    for told in ("40% · 20 of 50 users", "Audit", "Full", "12", "user_odd", "<first_name>", "and 1 more"):
        assert told in shown


def test_a_run_that_failed_says_why(stack: Stack) -> None:
    with stack.clerk(make_users(3)) as clerk:
        clerk.on_request = lambda *_: Fault.status(401)
        stack.backfill()
    shown = text(show(stack, "runs"))
    assert "Failed" in shown
    assert "Clerk refuses the secret key in the SSM parameter /clerk-sync/secret-key" in shown


def test_ten_runs_are_found_among_what_page_loads_leave(stack: Stack) -> None:
    for n in range(4):
        for mode in ("full", "incremental", "audit"):
            start_run(stack, mode, 1_790_000_000_000 + n, 5, Counts(unchanged=5))
    shown = show(stack, "runs")
    assert Parsed(shown).text.count("In progress") == 10


# Users


def test_the_newest_and_the_most_recently_active_users_are_shown(
    stack: Stack, people: list[dict[str, Any]]
) -> None:
    stack.delete_row(people[-1]["id"])
    stack.put_row(people[-2]["id"], **wanted_row(people[-2]) | {"email": "old@mail.test"})
    parsed = Parsed(show(stack, "users", width=1200))
    newest, _, active = parsed.text.partition("Most recently active")
    assert [user["id"] in newest for user in people] == [False] * 20 + [True] * 10
    tenth = sorted(user["last_active_at"] or 0 for user in people)[-10]  # a day, which many may share
    assert all(user["id"] in active for user in people if (user["last_active_at"] or 0) > tenth)
    assert not any(user["id"] in active for user in people if (user["last_active_at"] or 0) < tenth)
    for told in ("Missing", "Differs", "email", "Up to date"):
        assert told in newest
    assert set(parsed.values("img", "src")) <= {user["image_url"] for user in people}


def test_looking_costs_two_requests_whatever_the_number_of_users(stack: Stack) -> None:
    with stack.clerk(make_users(1_000)) as clerk:
        show(stack, "users")
        assert [request.path for request in clerk.requests] == ["/v1/users"] * 2
        show(stack, "users", make_user(5)["id"])
        assert len(clerk.requests) == 3
        show(stack, "runs")
        assert len(clerk.requests) == 3


def test_a_user_is_found_by_address_and_by_id(stack: Stack, people: list[dict[str, Any]]) -> None:
    user = people[14]
    address = next(
        e["email_address"] for e in user["email_addresses"] if e["id"] == user["primary_email_address_id"]
    )
    for wanted in (address, user["id"]):
        shown = text(show(stack, "users", wanted, width=1200))
        assert user["id"] in shown
        assert shown.count("Up to date") == 1


def test_a_deleted_user_is_found_in_the_table(stack: Stack, people: list[dict[str, Any]]) -> None:
    stack.put_row("user_gone", clerkUpdatedAt=1, clerkDeletedAt=2)
    assert "The table has a row, marked as deleted" in text(show(stack, "users", "user_gone"))
    assert "Nor has the table a row" in text(show(stack, "users", "user_never"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.status(401), "Clerk refuses the secret key in the SSM parameter /clerk-sync/secret-key"),
        (Fault.status(500), "Clerk gives no usable answer"),
        (Fault.hang(30), "Clerk gives no usable answer"),
    ],
    ids=["401", "500", "silent"],
)
def test_while_clerk_is_unwell_the_users_widget_says_so_and_runs_are_shown(
    stack: Stack, fault: Fault, said: str
) -> None:
    with stack.clerk(make_users(3)) as clerk:
        clerk.on_request = lambda *_: fault
        began = time.monotonic()
        assert said in text(show(stack, "users"))
        assert time.monotonic() - began < 20
    assert "No run yet" in text(show(stack, "runs"))


def test_while_clerk_is_gone_the_users_widget_says_so(stack: Stack) -> None:
    assert "Clerk gives no usable answer" in text(show(stack, "users", "ada@mail.test"))


def test_neither_names_nor_searches_are_logged(stack: Stack) -> None:
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
