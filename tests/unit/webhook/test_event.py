import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.clock import DAY_MS
from clerk_sync.errors import MessageError
from clerk_sync.users.user import Change, Deletion, SignIn, User, UserProblem, parse_user
from clerk_sync.webhook.event import Ignored, WebhookEvent, parse_webhook
from tests.local.clerk.fake_users import broken_users, make_user
from tests.support.strategies import any_text, json_values

MS = 1_760_000_000_000
SECONDS = 1_760_000_000
SIGNED_AT = MS + 30_000
MARK = "Quetzalcoatl"
ACTOR = {"iss": "https://dashboard.clerk.com", "sid": "sess_adm", "sub": "user_support"}


def body(**changes: Any) -> bytes:
    envelope = {"object": "event", "type": "user.updated", "timestamp": MS, "data": make_user(0)}
    return json.dumps(envelope | changes).encode()


def parse(raw: bytes) -> WebhookEvent:
    return parse_webhook(raw, SIGNED_AT)


def change(**changes: Any) -> Change | UserProblem | Ignored:
    return parse(body(**changes)).change


# Users


@pytest.mark.parametrize("kind", ["user.created", "user.updated"])
@pytest.mark.parametrize("number", range(20))
def test_user_event_holds_the_user_that_the_api_returns(kind: str, number: int) -> None:
    payload = make_user(number)
    event = parse(body(type=kind, data=payload))
    assert event == WebhookEvent(kind, None, MS, parse_user(payload, SIGNED_AT))
    assert isinstance(event.change, User)


@pytest.mark.parametrize("kind", ["organization.created", "email.created", "user.createdAtLast", ""])
def test_other_event_is_ignored(kind: str) -> None:
    event = parse(body(type=kind, data={"id": 7}))
    assert event.type == kind
    assert isinstance(event.change, Ignored)


def test_other_event_without_data_is_ignored() -> None:
    """A 400 would be sent again for a day."""
    for envelope in (
        {"type": "email.created"},
        {"type": "endpoint.disabled", "object": "event"},
        {"type": ""},
    ):
        assert isinstance(parse(json.dumps(envelope).encode()).change, Ignored)


@pytest.mark.parametrize("data", [None, [], 7, MARK, {}, {"id": "user_1"}, {"id": MARK, "updated_at": "now"}])
def test_malformed_user_is_a_problem_that_quotes_nothing(data: Any) -> None:
    found = change(data=data)
    assert isinstance(found, UserProblem)
    assert MARK not in found.reason


@pytest.mark.parametrize("instance_id", ["ins_1", None, 7, "", ["ins_1"], "i" * 300])
def test_instance_id_is_kept_where_it_is_one(instance_id: Any) -> None:
    event = parse(body(instance_id=instance_id))
    assert event.instance_id == ("ins_1" if instance_id == "ins_1" else None)
    assert isinstance(event.change, User)


# Times

NO_TIME: list[Any] = [
    None,
    str(MS),
    "",
    0,
    -5,
    1.5,
    float(MS),
    True,
    [MS],
    {},
    SIGNED_AT + DAY_MS + 1,
    MS * 1000,
]


@pytest.mark.parametrize("timestamp", [MS, SECONDS])
def test_timestamp_is_in_ms_or_seconds(timestamp: int) -> None:
    assert parse(body(timestamp=timestamp)).as_of == MS


def test_timestamp_of_up_to_a_day_ahead_is_accepted() -> None:
    assert parse(body(timestamp=SIGNED_AT + DAY_MS)).as_of == SIGNED_AT + DAY_MS


@pytest.mark.parametrize("timestamp", NO_TIME)
def test_user_event_without_usable_timestamp_is_older_than_any_deletion(timestamp: Any) -> None:
    event = parse(body(timestamp=timestamp))
    assert event.as_of == 0
    assert event.change == parse_user(make_user(0), SIGNED_AT)


def test_envelope_without_timestamp_is_accepted() -> None:
    for kind, data, expected in (
        ("user.created", make_user(0), parse_user(make_user(0), SIGNED_AT)),
        ("user.deleted", {"id": "user_1"}, Deletion("user_1", SIGNED_AT)),
        ("session.created", {"user_id": "user_1"}, SignIn("user_1", SIGNED_AT)),
    ):
        event = parse(json.dumps({"object": "event", "type": kind, "data": data}).encode())
        assert (event.as_of, event.change) == (0, expected)
    other = json.dumps({"object": "event", "type": "organization.created", "data": {"id": "org_1"}})
    assert isinstance(parse(other.encode()).change, Ignored)


@pytest.mark.parametrize("timestamp", NO_TIME)
def test_delivery_attempt_dates_a_deletion_or_sign_in_without_usable_timestamp(timestamp: Any) -> None:
    data = {"id": "user_1", "user_id": "user_1"}
    assert change(type="user.deleted", data=data, timestamp=timestamp) == Deletion("user_1", SIGNED_AT)
    assert change(type="session.created", data=data, timestamp=timestamp) == SignIn("user_1", SIGNED_AT)


def test_deletion_is_dated_by_its_envelope() -> None:
    assert change(type="user.deleted", data={"id": "user_1"}) == Deletion("user_1", MS)


# Sessions


def session(**changes: Any) -> dict[str, Any]:
    created = {"id": "sess_1", "user_id": "user_1", "created_at": MS - 250, "status": "active"}
    return {"object": "session", "actor": None, **created} | changes


@pytest.mark.parametrize("user_id", [make_user(0)["id"], None, 7, ""])
def test_session_holds_its_user(user_id: Any) -> None:
    data = session(user_id=user_id, user=make_user(0))
    assert change(type="session.created", data=data) == parse_user(make_user(0), SIGNED_AT)


@pytest.mark.parametrize(
    "user",
    [
        *(None, {}, [], 7, MARK, True, {"id": "user_1"}, {"id": "user_1", "first_name": "Ada"}, make_user(0)),
        *(make_user(0) | {"id": "user_1", "updated_at": "now"}, *broken_users()),
    ],
)
def test_session_without_usable_user_is_a_sign_in_at_its_created_at(user: Any) -> None:
    assert change(type="session.created", data=session(user=user)) == SignIn("user_1", MS - 250)


def test_session_without_user_key_is_a_sign_in() -> None:
    assert change(type="session.created", data=session()) == SignIn("user_1", MS - 250)


@pytest.mark.parametrize("created_at", NO_TIME)
def test_session_without_usable_created_at_is_a_sign_in_at_the_time_of_the_event(created_at: Any) -> None:
    data = session(created_at=created_at)
    assert change(type="session.created", data=data) == SignIn("user_1", MS)


@pytest.mark.parametrize("user", [None, {}, make_user(0), make_user(0) | {"id": "user_1"}])
@pytest.mark.parametrize("actor", [ACTOR, {"sub": "user_support"}, "user_support", [ACTOR], 7])
def test_impersonation_is_ignored(user: Any, actor: Any) -> None:
    found = change(type="session.created", data=session(user=user, actor=actor))
    assert isinstance(found, Ignored)
    assert "user_support" not in found.reason


@pytest.mark.parametrize("kind", ["user.deleted", "session.created"])
@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"id": None}, {"id": 7, "user_id": ""}, dict.fromkeys(("id", "user_id"), "u" * 256)],
)
def test_event_that_names_no_user_is_a_problem(kind: str, data: object) -> None:
    assert isinstance(change(type=kind, data=data), UserProblem)


# Bodies that are not events


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
    ],
)
def test_body_that_is_not_json_is_refused_without_quoting_it(raw: bytes) -> None:
    with pytest.raises(MessageError) as error:
        parse(raw)
    assert MARK not in str(error.value)
    assert error.value.__suppress_context__, "a log with the cause would quote it"


def test_number_of_any_length_in_a_user_is_read() -> None:
    """The user may have written it to their own metadata."""
    user = json.dumps(make_user(0) | {"unsafe_metadata": {"a": "long"}}).replace('"long"', "9" * 10_000)
    event = parse(f'{{"type": "user.updated", "data": {user}}}'.encode())
    assert isinstance(event.change, User)


@pytest.mark.parametrize(
    "envelope",
    [
        *(None, 7, MARK, True, [], [make_user(0)], {}),
        {"type": "user.created", "timestamp": MS},
        {"timestamp": MS, "data": {}},
        {"type": None, "timestamp": MS, "data": {}},
        {"type": [MARK], "timestamp": MS, "data": {}},
    ],
)
def test_body_that_is_not_an_event_is_refused_without_quoting_it(envelope: Any) -> None:
    with pytest.raises(MessageError) as error:
        parse(json.dumps(envelope).encode())
    assert MARK not in str(error.value)


envelopes = st.dictionaries(
    st.sampled_from(["type", "timestamp", "data", "object", "instance_id"]) | any_text, json_values
)


@given(
    (json_values | envelopes.map(lambda odd: json.loads(body()) | odd)).map(lambda v: json.dumps(v).encode())
)
def test_any_json_is_an_event_or_refused(raw: bytes) -> None:
    try:
        event = parse(raw)
    except MessageError:
        return
    assert 0 <= event.as_of <= SIGNED_AT + DAY_MS


@given(st.dictionaries(st.sampled_from(["user_id", "user", "actor", "created_at"]), json_values))
def test_any_session_is_a_change_or_set_aside(data: dict[str, Any]) -> None:
    found = change(type="session.created", data=session() | data)
    assert isinstance(found, SignIn | User | UserProblem | Ignored)
    assert isinstance(found, Ignored) == bool(data.get("actor"))


@given(st.binary(max_size=50))
def test_any_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        parse(raw)
