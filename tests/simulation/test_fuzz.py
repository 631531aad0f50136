"""Any event gets a plain answer, and nothing from it appears in a log or an answer."""

import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import clerk_sync.handlers.profile as handlers_profile
import clerk_sync.handlers.webhook as handlers_webhook
import clerk_sync.handlers.worker as handlers_worker
from clerk_sync.aws.items import Items
from clerk_sync.errors import EventError
from clerk_sync.handlers import dashboard
from clerk_sync.handlers.profile import handler as profile_handler
from clerk_sync.users.table import TableInstance
from clerk_sync.users.upsert import upsert
from clerk_sync.users.user import User, UserProblem, parse_user
from clerk_sync.webhook.arrivals import Arrivals
from clerk_sync.webhook.processor import WebhookProcessor
from tests.local.clerk.session_tokens import session_token
from tests.local.commands.sign import LOCAL_SECRET, signature_headers
from tests.support.fake_dynamodb import peaceful_dynamodb
from tests.support.fake_users_table import FakeUsersTable
from tests.support.page_loads import CONTEXT, ISSUER, SETTINGS, USER, ask_clerk, event, page_loads_on
from tests.support.strategies import CLERK_NAMES, NOW, any_text, json_values
from tests.support.widgets import LAMBDA_CONTEXT, FakeReads
from tests.support.widgets import fake_reads as fake_reads

SENTINEL = "Zyzzyva"
"""Part of every private value, so that a leak is found anywhere."""
fuzz = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TRICKS = (
    *("'", '"', "'; DROP TABLE Users; --", '"; DROP', "' OR ''='", ":firstName", "#firstName", "?", "${x}"),
    *("<script>alert(1)</script>", "a\nb\r\n{}", "\x1b[31mred\x1b[0m", "nul\x00", "\u202e", "😀", "{0}%s"),
)
private = st.builds(lambda a, b: a + SENTINEL + b, st.sampled_from(TRICKS) | any_text, any_text)
values = json_values | private | st.sampled_from([2**70, -1, 0, 1_800_000_000_000, "[" * 5_000, "x" * 10_000])
clerk_users = st.fixed_dictionaries(
    {"id": st.just(USER), "updated_at": st.just(1_800_000_000_000) | values},
    optional={name: private | values for name in CLERK_NAMES if name not in ("id", "updated_at")}
    | {
        "email_addresses": st.lists(
            st.fixed_dictionaries({"id": private, "email_address": private | values})
        ),
        "private_metadata": private,
    },
)
kinds = st.sampled_from(["user.created", "user.updated", "user.deleted", "session.created", "email.created"])
envelopes = st.fixed_dictionaries(
    {
        "type": kinds | json_values,  # not private
        "timestamp": st.sampled_from([1_800_000_000_000, 1_800_000_000]) | values,
        "data": clerk_users | st.builds(lambda user: {"user_id": USER, "user": user}, clerk_users) | values,
    }
)
texts = st.one_of(
    st.builds(json.dumps, envelopes | values),
    st.builds(lambda one, two: f'{{"data": {json.dumps(one)}, {json.dumps(two)[1:]}', values, envelopes),
    st.sampled_from(["", "[" * 60_000, '{"a":' * 60_000, "NaN", "\ud800", "x" * (1024 * 1024 + 1)]),
    private,
)
header_values = st.none() | st.dictionaries(any_text, private | any_text, max_size=3)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> FakeUsersTable:
    """What the handlers write into, and are given in place of all else that is in AWS."""
    table = FakeUsersTable()

    class Secret:
        def get(self) -> Any:
            return type("Found", (), {"value": LOCAL_SECRET})

        def replaced(self) -> None:
            return None

    runs_table = peaceful_dynamodb()
    items = Items(runs_table, "Runs")
    processor = WebhookProcessor(table, TableInstance(items, "Users"), Arrivals(items), create_missing=True)
    monkeypatch.setattr(handlers_webhook, "_opened", lambda: (Secret(), processor))
    monkeypatch.setattr(handlers_profile, "_settings", lambda: SETTINGS)
    page_loads = page_loads_on(table, ask_clerk)
    monkeypatch.setattr(handlers_profile, "_page_loads", lambda: page_loads)
    return table


def webhook_status(request: Any) -> int:
    context: Any = CONTEXT
    answer = handlers_webhook.handler(request, context)
    assert answer.keys() == {"statusCode"}
    return answer["statusCode"]


def silent(logged: io.StringIO, capsys: pytest.CaptureFixture[str], *private: str) -> None:
    """Nothing that was logged, printed or answered since has anything private in it."""
    out, err = capsys.readouterr()
    output = logged.getvalue() + out + err
    for word in (SENTINEL, LOCAL_SECRET, *private):
        assert word not in output
    for line in logged.getvalue().splitlines():
        assert isinstance(json.loads(line), dict)
    logged.seek(0)
    logged.truncate()


@given(body=texts, is_base64=st.booleans())
@fuzz
def test_a_signed_webhook_of_any_kind_is_answered(
    body: str,
    is_base64: bool,
    table: FakeUsersTable,
    log: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        headers = signature_headers(body, LOCAL_SECRET)
    except UnicodeEncodeError:
        headers = {}
    request = {"headers": headers, "body": body, "isBase64Encoded": is_base64}
    assert webhook_status(request) in {204, 400, 401, 413}
    silent(log, capsys, *(headers[name] for name in headers if name == "svix-signature"))


@given(headers=header_values, timestamp=any_text | st.sampled_from(["inf", "nan", "1e300", "-1", "\u0661"]))
@fuzz
def test_unsigned_webhook_is_rejected(
    headers: dict[str, str] | None,
    timestamp: str,
    table: FakeUsersTable,
    log: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    signed = {"svix-id": SENTINEL, "svix-timestamp": timestamp, "svix-signature": f"v1,{'A' * 43}="}
    for asked in (headers, {**(headers or {}), **signed}):
        assert webhook_status({"headers": asked, "body": SENTINEL, "isBase64Encoded": False}) == 401
    assert table.rows == {}
    silent(log, capsys)


keys = ("headers", "body", "httpMethod", "pathParameters", "isBase64Encoded", "multiValueHeaders")
odd_events = values | st.fixed_dictionaries({}, optional=dict.fromkeys(keys, values))


@given(request=odd_events)
@fuzz
def test_event_written_by_hand_is_rejected_plainly(
    request: Any,
    table: FakeUsersTable,
    log: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    context: Any = CONTEXT
    assert webhook_status(request) in {400, 401, 413}
    answer = profile_handler(request, context)
    assert answer["statusCode"] in {204, 400, 401, 413}
    assert SENTINEL not in json.dumps(answer, ensure_ascii=False)
    with pytest.raises(EventError, match="SQS records"):
        handlers_worker.handler(request, context)
    silent(log, capsys)


@pytest.mark.parametrize("request_", [{}, [], None, 7, "x", {"Records": [{}]}, {"Records": {}}])
def test_event_that_is_not_a_request_is_rejected_plainly(
    request_: Any,
    table: FakeUsersTable,
    log: io.StringIO,
) -> None:
    context: Any = CONTEXT
    assert webhook_status(request_) == 400
    assert profile_handler(request_, context)["statusCode"] == 400
    assert log.getvalue().count("not a request of API Gateway") == 2
    with pytest.raises(EventError, match="SQS records"):
        handlers_worker.handler(request_, context)


@given(
    headers=header_values,
    body=st.none() | texts,
    path=st.none() | st.dictionaries(st.just("userId"), private),
)
@fuzz
def test_a_page_load_of_any_kind_is_answered(
    headers: dict[str, str] | None,
    body: str | None,
    path: dict[str, str] | None,
    table: FakeUsersTable,
    log: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    context: Any = CONTEXT
    token = session_token(USER, ISSUER)
    bearers: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": f"Bearer {token}"},
        {"authorization": f"Bearer {token[:-9]}{SENTINEL}"},
    )
    for method in ("GET", "PUT", "OPTIONS"):
        for bearer in bearers:
            asked = event(method, headers={**(headers or {}), **bearer}, body=body, pathParameters=path)
            answer = profile_handler(asked, context)
            assert answer["statusCode"] in {200, 204, 400, 401, 404, 413}
            text = json.dumps(answer, ensure_ascii=False)
            assert SENTINEL not in text
            assert token not in text
    silent(log, capsys, token)


@given(request=values | st.fixed_dictionaries({}, optional={"widget": values, "widgetContext": values}))
@fuzz
def test_a_widget_is_always_html(
    request: Any,
    fake_reads: FakeReads,
    log: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if isinstance(request, dict):
        assert dashboard.handler(request, LAMBDA_CONTEXT).startswith("<")
    else:
        with pytest.raises(EventError, match="widget"):
            dashboard.handler(request, LAMBDA_CONTEXT)
    silent(log, capsys)


@given(clerk_user=clerk_users)
@fuzz
def test_any_name_is_stored_unchanged_and_never_logged(
    clerk_user: dict[str, Any],
    log: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    user = parse_user(clerk_user, NOW)
    if isinstance(user, UserProblem):
        assert SENTINEL not in user.reason
        return
    table = FakeUsersTable()
    outcome = upsert(table, [user], as_of=1, now=NOW, create_missing=True)
    assert outcome.problems == []
    assert isinstance(user, User)
    row = table.rows[USER]
    assert {name: row[name] for name in user.fields} == user.fields
    for name, source in (("firstName", "first_name"), ("lastName", "last_name"), ("username", "username")):
        assert row.get(name) == clerk_user.get(source)
    silent(log, capsys)
