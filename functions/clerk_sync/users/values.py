"""The values that a field can have, as plain Python values, and JSON that is read without loss."""

import json
from dataclasses import dataclass
from decimal import Context, Decimal
from json.encoder import encode_basestring_ascii
from typing import Any, Self

MAX_LENGTH = 50_000
"""Of a value as JSON. Clerk allows 8 KB of metadata; two such values must fit in a message with the user."""
MAX_LEVELS = 31
"""Of objects and lists. DynamoDB's limit, 32, counts the values in the innermost one too."""
MAX_DIGITS = 38
_EXPONENTS = range(-130, 126)
"""What DynamoDB can hold:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html"""
_EXACT = Context(prec=9_999, traps=[])
"""What it rounds, or makes NaN, DynamoDB can't hold."""


@dataclass(frozen=True, slots=True)
class Json:
    """A flag or metadata, as JSON in ASCII. Equal values have the same text: keys are in order, and numbers
    have no needless digits. So true is not 1, null is not absent, and 1.0 is 1."""

    text: str

    @classmethod
    def of(cls, value: Any) -> Self:
        """Raises ValueError, which quotes nothing, if DynamoDB can't hold the value."""
        text = _text(value, 1)
        if len(text) > MAX_LENGTH:
            raise ValueError(f"it is longer than {MAX_LENGTH:,} characters")
        return cls(text)


@dataclass(frozen=True, slots=True)
class Opaque:
    """A stored value of a type that the sync never writes, such as null or a set.

    `stored` is what the database returned, so that a condition can require exactly that. It equals nothing
    else: null is not absent.
    """

    stored: Any


type FieldValue = str | int | Json
"""Text, a time in ms, or a flag or metadata."""
type Value = FieldValue | Opaque


def plain(value: Value) -> Any:
    """The value itself: that of Json, with a Decimal for each fraction."""
    return read_json(value.text) if isinstance(value, Json) else value


def read_json(body: bytes | str) -> Any:
    """Like `json.loads`, but a fraction is read as Decimal, and so is a number of over a thousand digits.

    Raises ValueError or RecursionError if it is not JSON.
    """
    return json.loads(body, parse_float=_EXACT.create_decimal, parse_int=_integer)


def check_text(text: str) -> str:
    """Raises ValueError, which quotes nothing, for half of a surrogate pair."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("it holds text that is not valid") from None
    return text


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < 1_000 else _EXACT.create_decimal(digits)


def _text(value: Any, level: int) -> str:
    kind = type(value)  # a comparison of types is faster than isinstance or match
    if kind is str:
        return encode_basestring_ascii(check_text(value))
    if value is None or kind is bool:
        return json.dumps(value)
    if kind in (int, Decimal, float):
        return _number(value)
    if level > MAX_LEVELS:
        raise ValueError(f"it has more than {MAX_LEVELS} levels")
    if kind is dict:
        if "" in value:
            raise ValueError("it holds an empty key")
        pairs = [f"{_text(key, 1)}:{_text(value[key], level + 1)}" for key in sorted(value)]
        return f"{{{','.join(pairs)}}}"
    if kind is list:
        return f"[{','.join([_text(item, level + 1) for item in value])}]"
    raise ValueError("it is not JSON")


def _number(value: float | Decimal) -> str:
    if isinstance(value, int) and abs(value) < 10**MAX_DIGITS:
        return str(value)
    number = _EXACT.normalize(Decimal(str(value)))
    if number.is_zero():
        return "0"
    if not number.is_finite() or number.adjusted() not in _EXPONENTS:
        raise ValueError("it holds a number that is out of DynamoDB's range")
    if len(number.as_tuple().digits) > MAX_DIGITS:
        raise ValueError(f"it holds a number of more than {MAX_DIGITS} digits")
    is_whole = number == number.to_integral_value() and abs(number) < 10**MAX_DIGITS
    return str(int(number) if is_whole else number)
