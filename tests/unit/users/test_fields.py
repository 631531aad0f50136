"""The catalogue of fields, and that every field in it is read, refused and documented by the same rules."""

import re
from typing import Any

import pytest

from clerk_sync.users.fields import (
    DEFAULT_FIELDS,
    DEFAULT_NAMES,
    EXTRA_FIELDS,
    EXTRA_NAMES,
    FIELDS,
    FLAG,
    METADATA,
    TEXT,
    TIME,
    Field,
    FieldType,
    Primary,
    synced,
)
from clerk_sync.users.user import User, UserProblem, parse_user
from clerk_sync.users.values import Json
from tests.local.clerk.fake_users import make_user
from tests.local.paths import ROOT
from tests.support.strategies import ALL_NAMES, NOW

VALUES: dict[FieldType, Any] = {
    TEXT: "some text",
    TIME: 1_700_000_000_000,
    FLAG: True,
    METADATA: {"plan": "pro"},
}
MARK = "Quetzalcoatl"


def payload_with(field: Field, value: Any) -> dict[str, Any]:
    """A user of Clerk's who has this value in the field."""
    if isinstance(field.source, str):
        return make_user(0) | {field.source: value}
    other, primary = {"id": "idn_1", field.source.value: "other"}, {"id": "idn_2", field.source.value: value}
    return make_user(0) | {field.source.items: [other, primary], field.source.primary_id: "idn_2"}


def parsed(payload: Any) -> User:
    user = parse_user(payload, NOW, ALL_NAMES)
    assert isinstance(user, User), user
    return user


each_field = pytest.mark.parametrize("field", FIELDS.values(), ids=lambda field: field.name)
each_extra_field = pytest.mark.parametrize("field", EXTRA_FIELDS, ids=lambda field: field.name)


@each_field
def test_value_in_clerk_is_carried(field: Field) -> None:
    value = VALUES[field.type]
    expected = Json.of(value) if field.type in (FLAG, METADATA) else value
    assert parsed(payload_with(field, value)).fields[field.name] == expected


@each_field
def test_null_and_a_missing_key_are_absent(field: Field) -> None:
    payload = payload_with(field, VALUES[field.type])
    keys = [field.source.items] if isinstance(field.source, Primary) else [field.source]
    nothing = [payload | dict.fromkeys(keys), {key: payload[key] for key in payload if key not in keys}]
    for user in map(parsed, nothing):
        assert field.name in user.names
        assert field.name not in user.fields


@each_field
@pytest.mark.parametrize("odd", [7, 1.5, f"{MARK}\ud800", [MARK], {MARK: {MARK: f"\ud800{MARK}"}}, True])
def test_malformed_value_costs_a_default_field_its_user_and_an_extra_field_itself(
    field: Field, odd: Any
) -> None:
    if type(odd) is type(VALUES[field.type]) and MARK not in str(odd):
        return
    found = parse_user(payload_with(field, odd), NOW, ALL_NAMES)
    source = field.source.items if isinstance(field.source, Primary) else field.source
    if field in DEFAULT_FIELDS:
        assert isinstance(found, UserProblem)
        assert source in found.reason
    else:
        assert isinstance(found, User)
        assert list(found.refused) == [field.name]
        assert found.problem
        assert source in found.problem.reason
        assert field.name in found.problem.reason
    assert MARK not in str(found)


@each_extra_field
def test_field_that_is_not_named_is_not_carried(field: Field) -> None:
    user = parse_user(payload_with(field, VALUES[field.type]), NOW)
    assert isinstance(user, User)
    assert field.name not in {*user.names, *user.fields, *user.refused}


def test_catalogue_holds_no_secret_and_no_fact_about_passwords() -> None:
    assert len(FIELDS) == len(DEFAULT_FIELDS) + len(EXTRA_FIELDS), "a name is there twice"
    for field in FIELDS.values():
        assert not re.search("private|password|backup|totp|secret", str(field.source)), field.name


def test_administrators_flags_are_not_shown_to_the_user() -> None:
    hidden = {field.name for field in FIELDS.values() if not field.is_shown}
    assert {"banned", "locked", "deprovisioned"} <= hidden
    assert hidden.isdisjoint({*DEFAULT_NAMES, "phoneNumber", "publicMetadata", "unsafeMetadata"})


def test_synced_names_are_in_the_catalogues_order_and_once() -> None:
    assert synced([]) == DEFAULT_NAMES
    assert synced(["publicMetadata", "phoneNumber", "publicMetadata"]) == (
        *DEFAULT_NAMES,
        "phoneNumber",
        "publicMetadata",
    )


@pytest.mark.parametrize("unknown", ["password", "email", "public_metadata", "phonenumber", ""])
def test_unknown_name_is_an_error_that_lists_the_right_ones(unknown: str) -> None:
    with pytest.raises(ValueError, match=f"can't name {unknown}") as error:
        synced(["phoneNumber", unknown])
    assert str(error.value).endswith(", ".join(EXTRA_NAMES))


def test_reference_lists_every_extra_field() -> None:
    _, _, text = (ROOT / "docs/reference.md").read_text().partition("### Extra fields")
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| (.*) \| (yes|no) \|$", text.partition("\n## ")[0], re.MULTILINE
    )
    assert rows == [
        (
            field.name,
            field.type.attribute_type,
            f"the primary one of `{field.source.items}`"
            if isinstance(field.source, Primary)
            else f"`{field.source}`",
            "yes" if field.is_shown else "no",
        )
        for field in EXTRA_FIELDS
    ]
