import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.errors import MessageError
from clerk_sync.users.user import Deletion, SignIn, User, UserProblem, parse_user
from clerk_sync.webhook.event import WebhookEvent, parse_webhook
from tests.local.clerk.fake_users import make_user
from tests.support.strategies import any_text, json_values

MS = 1_760_000_000_000
NOW = MS + 60_000
SECONDS = 1_760_000_000
MARK = "Quetzalcoatl"


def body(**changes: Any) -> bytes:
    envelope = {"object": "event", "type": "user.updated", "timestamp": MS, "data": make_user(0)}
    return json.dumps(envelope | changes).encode()


@pytest.mark.parametrize("kind", ["user.created", "user.updated"])
@pytest.mark.parametrize("number", range(20))
def test_a_users_event_holds_the_user_that_the_api_would_give(kind: str, number: int) -> None:
    payload = make_user(number)
    event = parse_webhook(body(type=kind, data=payload), NOW)
    assert event == WebhookEvent(kind, MS, parse_user(payload, NOW))
    assert isinstance(event.change, User)


@pytest.mark.parametrize("timestamp", [MS, SECONDS])
def test_a_timestamp_may_be_in_ms_or_in_seconds(timestamp: int) -> None:
    assert parse_webhook(body(timestamp=timestamp), NOW).timestamp == MS


@pytest.mark.parametrize("kind", ["organization.created", "email.created", "user.createdAtLast", ""])
def test_other_events_are_known_by_type_only(kind: str) -> None:
    event = parse_webhook(body(type=kind, data={"id": 7}), NOW)
    assert (event.type, event.change) == (kind, None)


@pytest.mark.parametrize("data", [None, [], 7, MARK, {}, {"id": "user_1"}, {"id": MARK, "updated_at": "now"}])
def test_a_malformed_user_is_a_problem_of_the_event_not_an_error(data: Any) -> None:
    event = parse_webhook(body(data=data), NOW)
    assert isinstance(event.change, UserProblem)
    assert MARK not in event.change.reason


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        MARK.encode(),
        b"{" + MARK.encode(),
        b'{"type": "user.created"',
        b"\xff\xfe\xfd",
        MARK.encode("utf-16")[:-1],
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"timestamp": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_json_is_refused_without_quoting_it(raw: bytes) -> None:
    with pytest.raises(MessageError) as error:
        parse_webhook(raw, NOW)
    assert MARK not in str(error.value)
    assert error.value.__suppress_context__, "a log with the cause would quote it"


@pytest.mark.parametrize(
    "envelope",
    [
        *(None, 7, MARK, True, [], [make_user(0)], {}),
        {"type": "user.created", "timestamp": MS},
        {"type": "user.created", "data": {}},
        {"timestamp": MS, "data": {}},
        {"type": None, "timestamp": MS, "data": {}},
        {"type": [MARK], "timestamp": MS, "data": {}},
        *(
            {"type": "user.created", "timestamp": timestamp, "data": {}}
            for timestamp in (None, str(MS), 0, -5, 1.5, [MS])
        ),
    ],
)
def test_what_is_no_event_is_refused_without_quoting_it(envelope: Any) -> None:
    with pytest.raises(MessageError) as error:
        parse_webhook(json.dumps(envelope).encode(), NOW)
    assert MARK not in str(error.value)


envelopes = st.dictionaries(st.sampled_from(["type", "timestamp", "data", "object"]) | any_text, json_values)


@given(
    (json_values | envelopes.map(lambda odd: json.loads(body()) | odd)).map(lambda v: json.dumps(v).encode())
)
def test_any_json_is_an_event_or_refused(raw: bytes) -> None:
    try:
        event = parse_webhook(raw, NOW)
    except MessageError:
        return
    assert event.timestamp > 0


@given(st.binary(max_size=50))
def test_any_bytes_are_an_event_or_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        parse_webhook(raw, NOW)


def test_a_deletion_is_dated_by_its_envelope() -> None:
    body = json.dumps({"type": "user.deleted", "timestamp": 1_700_000_000, "data": {"id": "user_1"}})
    assert parse_webhook(body.encode(), NOW).change == Deletion("user_1", 1_700_000_000_000)


def test_a_session_without_its_user_is_a_sign_in() -> None:
    data = {"user_id": "user_1", "user": None}
    body = json.dumps({"type": "session.created", "timestamp": 1_700_000_000_123, "data": data})
    assert parse_webhook(body.encode(), NOW).change == SignIn("user_1", 1_700_000_000_123)


@pytest.mark.parametrize("kind", ["user.deleted", "session.created"])
@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"id": None}, {"id": 7, "user_id": ""}, dict.fromkeys(("id", "user_id"), "u" * 256)],
)
def test_an_event_that_names_no_user_is_a_problem(kind: str, data: object) -> None:
    body = json.dumps({"type": kind, "timestamp": 1, "data": data})
    assert isinstance(parse_webhook(body.encode(), NOW).change, UserProblem)
