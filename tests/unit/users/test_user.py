import json
import re
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.clerk.responses import read_users
from clerk_sync.clock import DAY_MS
from clerk_sync.users.fields import DEFAULT_NAMES, FIELDS, synced
from clerk_sync.users.user import MAX_CHARACTERS, User, UserProblem, parse_user
from clerk_sync.users.values import plain
from tests.local.clerk.fake_users import broken_users, make_user, make_users
from tests.support.strategies import ALL_NAMES, CLERK_NAMES, NOW, any_text, json_values

TEXT_FIELDS = ("first_name", "last_name", "username", "image_url")
TIME_FIELDS = ("last_sign_in_at", "created_at", "last_active_at")
MARK = "Quetzalcoatl"
MARKED_NUMBER = 987_654_321_098_765_432


def parsed(payload: Any) -> User:
    user = parse_user(payload, NOW)
    assert isinstance(user, User), user
    return user


def problem(payload: Any) -> UserProblem:
    found = parse_user(payload, NOW)
    assert isinstance(found, UserProblem), found
    return found


def primary_email(payload: dict[str, Any]) -> str | None:
    by_id = {address["id"]: address["email_address"] for address in payload["email_addresses"]}
    return by_id.get(payload["primary_email_address_id"])


@pytest.mark.parametrize("payload", make_users(40), ids=lambda payload: str(payload["id"])[-6:])
def test_default_fields_that_are_not_null_are_carried(payload: dict[str, Any]) -> None:
    synced = {
        "firstName": payload["first_name"],
        "lastName": payload["last_name"],
        "email": primary_email(payload),
        "username": payload["username"],
        "imageUrl": payload["image_url"],
        "lastSignInAt": payload["last_sign_in_at"],
        "createdAt": payload["created_at"],
        "lastActiveAt": payload["last_active_at"],
    }
    assert parsed(payload) == User(
        payload["id"],
        payload["updated_at"],
        {name: value for name, value in synced.items() if value is not None},
    )


def test_fake_users_are_readable_and_have_every_field_sometimes() -> None:
    users = [parsed(payload) for payload in make_users(400)]
    for name in set(DEFAULT_NAMES) - {"imageUrl", "createdAt"}:
        assert {name in user.fields for user in users} == {True, False}, name


def with_emails(primary: Any, *addresses: Any) -> dict[str, Any]:
    return make_user(0) | {"primary_email_address_id": primary, "email_addresses": list(addresses)}


FIRST = {"id": "idn_1", "email_address": "first@mail.test"}
SECOND = {"id": "idn_2", "email_address": "second@mail.test"}


def test_email_is_the_primary_address_not_the_first() -> None:
    assert parsed(with_emails("idn_2", FIRST, SECOND)).fields["email"] == "second@mail.test"


@pytest.mark.parametrize(
    "payload",
    [
        with_emails(None, FIRST, SECOND),
        with_emails("idn_3", FIRST, SECOND),
        with_emails("idn_3"),
        with_emails(None, {"id": None, "email_address": "nobody@mail.test"}),
        with_emails("idn_1", None, 7, "idn_1", ["idn_1"], {}),
        make_user(0) | {"email_addresses": None},
        make_user(0) | {"email_addresses": {"id": "idn_1"}},
    ],
)
def test_user_without_primary_address_has_no_email(payload: dict[str, Any]) -> None:
    assert "email" not in parsed(payload).fields


@pytest.mark.parametrize("address", [None, 7, ["a@mail.test"], "half \ud800@mail.test"])
def test_primary_address_of_another_type_is_a_problem(address: Any) -> None:
    found = problem(with_emails("idn_1", {"id": "idn_1", "email_address": address}))
    assert "email" in found.reason
    assert "mail.test" not in found.reason


def test_malformed_address_that_is_not_primary_is_ignored() -> None:
    odd = {"id": "idn_9", "email_address": 7}
    assert parsed(with_emails("idn_1", odd, FIRST)).fields["email"] == "first@mail.test"


@pytest.mark.parametrize("number", range(len(broken_users())))
def test_problem_of_a_malformed_user_does_not_quote_it(number: int) -> None:
    payload = broken_users()[number]
    found = parse_user(payload, NOW)
    if isinstance(found, UserProblem):
        assert found.clerk_user_id in (payload.get("id"), None)
        for value in payload.values():
            if isinstance(value, str) and len(value) > 4:
                assert value not in found.reason


def test_malformed_users_are_problems() -> None:
    found = [parse_user(payload, NOW) for payload in broken_users()]
    # A creation date or addresses that are absent, or addresses that are none, still leave a user.
    assert sum(isinstance(one, User) for one in found) == 6


@pytest.mark.parametrize("field", [*TEXT_FIELDS, "id"])
def test_unpaired_surrogate_is_a_problem_that_names_the_field(field: str) -> None:
    found = problem(make_user(0) | {field: f"{MARK}\ud83d"})
    assert field in found.reason
    assert MARK not in found.reason
    assert "ud83d" not in found.reason


@pytest.mark.parametrize("field", [*TEXT_FIELDS, "id", "primary_email_address_id"])
@pytest.mark.parametrize("value", [7, True, 1.5, ["a"], {"a": 1}])
def test_text_of_another_type_is_a_problem_that_names_the_field(field: str, value: Any) -> None:
    assert field in problem(make_user(0) | {field: value}).reason


@pytest.mark.parametrize("field", [*TIME_FIELDS, "updated_at"])
@pytest.mark.parametrize("value", [-(10**15) - 1, True, 1.5, "2024-05-01", [1]])
def test_time_of_another_type_is_a_problem_that_names_the_field(field: str, value: Any) -> None:
    assert field in problem(make_user(0) | {field: value}).reason


@pytest.mark.parametrize("field", TIME_FIELDS)
@pytest.mark.parametrize("value", [0, -1, -17_280_000_000])
def test_time_of_1970_or_before_is_kept(field: str, value: int) -> None:
    [name] = [name for name in DEFAULT_NAMES if FIELDS[name].source == field]
    assert parsed(make_user(0) | {field: value}).fields[name] == value


@pytest.mark.parametrize("updated_at", [-17_280_000_000, 0, 1])
def test_version_of_1970_or_before_is_the_first_one(updated_at: int) -> None:
    """0 is the version of a row without a snapshot."""
    assert parsed(make_user(0) | {"updated_at": updated_at}).updated_at == 1


FUTURE = [NOW + DAY_MS + 1, NOW * 1000, 10**15, 10**40]


@pytest.mark.parametrize("updated_at", FUTURE)
def test_version_more_than_a_day_ahead_is_a_problem(updated_at: int) -> None:
    found = problem(make_user(0) | {"updated_at": updated_at})
    assert found.clerk_user_id == make_user(0)["id"]
    assert "updated_at: more than a day in the future" in found.reason


@pytest.mark.parametrize("field", TIME_FIELDS)
@pytest.mark.parametrize("value", FUTURE)
def test_other_time_more_than_a_day_ahead_is_absent(field: str, value: int) -> None:
    assert parsed(make_user(1) | {field: value}) == parsed(make_user(1) | {field: None})


@pytest.mark.parametrize("field", [*TIME_FIELDS, "updated_at"])
def test_time_up_to_a_day_ahead_is_kept(field: str) -> None:
    user = parsed(make_user(1) | {field: NOW + DAY_MS})
    assert NOW + DAY_MS in (user.updated_at, *user.fields.values())


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_empty_text_is_absent(field: str) -> None:
    assert parsed(make_user(0) | {field: ""}) == parsed(make_user(0) | {field: None})


def test_empty_primary_email_is_absent() -> None:
    assert "email" not in parsed(with_emails("idn_1", FIRST | {"email_address": ""})).fields


@pytest.mark.parametrize("field", ["id", "updated_at"])
def test_user_without_id_or_version_is_a_problem(field: str) -> None:
    payload = make_user(0)
    del payload[field]
    assert field in problem(payload).reason


@pytest.mark.parametrize("odd", ["", "\n", "user\x00", "usér", "us\ud800", 7, None])
def test_id_of_unusual_characters_is_not_in_the_problem(odd: Any) -> None:
    found = problem(make_user(0) | {"id": odd, "first_name": 7})
    assert not found.clerk_user_id


def test_more_than_64000_characters_are_a_problem() -> None:
    full = make_user(1) | dict.fromkeys(TEXT_FIELDS) | {"primary_email_address_id": None}
    most = "ü" * (MAX_CHARACTERS // 2)
    assert parsed(full | {"first_name": most, "last_name": most}).fields["firstName"] == most
    found = problem(full | {"first_name": most, "last_name": most, "username": "u"})
    assert found.clerk_user_id == full["id"]
    assert "64,000 characters" in found.reason


def test_refused_text_does_not_count_towards_the_limit_of_a_user() -> None:
    names = synced(["locale", "timezone"])
    found = parse_user(make_user(1) | {"locale": "x" * MAX_CHARACTERS, "timezone": "UTC"}, NOW, names)
    assert isinstance(found, User)
    assert list(found.refused) == ["locale"]
    assert found.fields["timezone"] == "UTC"


@pytest.mark.parametrize("payload", [None, [], "user_1", 7, True, [make_user(0)]])
def test_user_that_is_not_an_object_is_a_problem(payload: Any) -> None:
    assert problem(payload).clerk_user_id is None


payloads = st.dictionaries(st.sampled_from(CLERK_NAMES) | any_text, json_values)
nearly_users = payloads.map(lambda odd: make_user(2) | odd)


@given(payloads | nearly_users | json_values)
def test_any_json_is_parsed_to_a_storable_user_or_a_problem(payload: Any) -> None:
    found = parse_user(payload, NOW, ALL_NAMES)
    if isinstance(found, User):
        assert found.id.encode()
        assert -(10**15) <= found.updated_at <= NOW + DAY_MS
        assert found.names == ALL_NAMES
        assert not found.refused.keys() & {*found.fields, *DEFAULT_NAMES}
        for name, value in found.fields.items():
            assert FIELDS[name].type.holds(value)
            if isinstance(value, int):
                assert -(10**15) <= value <= NOW + DAY_MS
            TypeSerializer().serialize(plain(value))
        assert not re.search(MARK, str(found.refused))
    else:
        # Both go to logs and to the result.
        json.dumps([found.clerk_user_id, found.reason]).encode()
        found.reason.encode()


marked = st.recursive(
    st.just(MARK) | st.just(MARK + "\ud800") | st.just(MARKED_NUMBER) | st.just(MARKED_NUMBER + 0.5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.just(MARK) | st.just("id"), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(st.lists(payloads | nearly_users | json_values, max_size=3))
def test_user_list_is_parsed_like_the_whole_json(payloads: list[Any]) -> None:
    read = read_users(json.dumps(payloads).encode())
    assert [parse_user(one, NOW) for one in read] == [parse_user(one, NOW) for one in payloads]


def test_user_list_leaves_out_unneeded_keys() -> None:
    users = make_users(20)
    assert len(json.dumps(read_users(json.dumps(users).encode()))) < len(json.dumps(users)) * 0.5


@given(json_values)
def test_user_list_that_is_not_a_list_is_an_error(answer: Any) -> None:
    body = json.dumps(answer).encode()
    if isinstance(answer, list):
        assert len(read_users(body)) == len(answer)
    else:
        with pytest.raises(ValueError, match=r"valid (list|array)"):
            read_users(body)


@pytest.mark.parametrize("body", [b"", b'[{"id": "user_', b"\xff", b"[" * 100_000])
def test_user_list_that_is_not_json_is_an_error(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_users(body)


@given(st.dictionaries(st.sampled_from(CLERK_NAMES), marked, min_size=1))
def test_reason_never_quotes_the_payload(odd: dict[str, Any]) -> None:
    found = parse_user(make_user(2) | odd, NOW)
    if isinstance(found, UserProblem):
        assert MARK not in found.reason
        assert str(MARKED_NUMBER)[:8] not in found.reason
