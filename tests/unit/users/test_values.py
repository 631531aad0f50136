"""Json in its normal form, and its way to DynamoDB and back."""

import json
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.users.table_writes import to_attribute, to_row
from clerk_sync.users.values import MAX_LENGTH, Json, plain, read_json

MARK = "Quetzalcoatl"
texts, keys = st.text(max_size=8), st.text(min_size=1, max_size=8)
numbers = st.integers(-(10**38), 10**38) | st.decimals(
    allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=12
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(keys, values, max_size=4)


def typed(value: Any) -> Any:
    """The value with each leaf's type, as Python takes True for 1."""
    match value:
        case dict():
            return {key: typed(item) for key, item in value.items()}
        case list():
            return [typed(item) for item in value]
        case int() | Decimal() if not isinstance(value, bool):
            return ("number", value)
    return (type(value).__name__, value)


@given(objects, objects)
def test_texts_are_equal_if_and_only_if_the_values_are(one: Any, other: Any) -> None:
    assert (Json.of(one) == Json.of(other)) == (typed(one) == typed(other))
    assert Json.of(one) == Json.of(dict(reversed(one.items())))


@given(objects)
def test_value_keeps_every_digit_through_dynamodb(value: Any) -> None:
    stored: Any = to_attribute(Json.of(value))
    assert typed(TypeDeserializer().deserialize(stored)) == typed(value)
    assert to_row({"publicMetadata": stored}, ("publicMetadata",)) == {"publicMetadata": Json.of(value)}
    assert typed(plain(Json.of(value))) == typed(value)


@pytest.mark.parametrize(
    "same",
    [
        ("1", "1.0", "10e-1", "1.000000000000000000000000000000000000000000000"),
        ("100", "1e2", "1E+2"),
        ("0", "-0", "0.0", "-0.0e5", "0e999999"),
        ("0.1", "1e-1", "0.10"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678.0"),
    ],
)
def test_equal_numbers_have_one_text(same: tuple[str, ...]) -> None:
    assert len({Json.of(read_json(f'{{"n": {number}}}')).text for number in same}) == 1


@pytest.mark.parametrize("number", ["9" * 38, "0." + "9" * 38, "1e125", "1e-130", "-" + "9" * 38 + "e87"])
def test_largest_numbers_of_dynamodb_are_kept(number: str) -> None:
    value = read_json(f'{{"n": {number}}}')
    stored: Any = to_attribute(Json.of(value))
    assert TypeDeserializer().deserialize(stored) == {"n": Decimal(number)}


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = [value]
    return {"a": value} if levels else value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        *((f'{{"{MARK}": {number}}}', "38 digits") for number in ("9" * 39, "0." + "9" * 39, "9" * 100)),
        *(
            (f'{{"{MARK}": {number}}}', "range")
            for number in ("1e126", "1e-131", "1e999999999999999999999", "9" * 9_000)
        ),
        (json.dumps({MARK: nested(30)}), "31 levels"),
        (f'{{"{MARK}": [{{"": 1}}]}}', "empty key"),
        (f'{{"{MARK}": "\\ud800{MARK}"}}', "text that is not valid"),
        (f'{{"\\udfff{MARK}": 1}}', "text that is not valid"),
        (f'{{"{MARK}": "{"a" * MAX_LENGTH}"}}', "50,000 characters"),
    ],
)
def test_value_that_dynamodb_cannot_hold_is_an_error_that_does_not_quote_it(value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        Json.of(read_json(value))
    assert MARK not in str(error.value)
    assert "999" not in str(error.value)


def test_31_levels_are_kept() -> None:
    assert plain(Json.of(nested(30))) == nested(30)


@pytest.mark.parametrize("text", ["1" * 5_000, "1." + "1" * 5_000, "1e" + "9" * 50, "-" + "1" * 20_000])
def test_number_of_any_length_is_read(text: str) -> None:
    assert read_json(f'{{"n": {text}, "after": 1}}')["after"] == 1
