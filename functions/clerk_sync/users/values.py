"""The values that a field can have, as plain Python values, and JSON that is read without loss."""

import json
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from json.encoder import encode_basestring_ascii
from typing import Any, Self

MAX_LEVELS = 32
MAX_DIGITS = 38
_EXPONENTS = range(-130, 126)
"""What DynamoDB can hold:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html"""
MAX_LENGTH = 50_000
"""Of a value as JSON. Clerk allows 8 KB of metadata, and two such values must fit in a message with the rest
of the user."""
_LONGEST_INTEGER = 1_000
"""Python makes no int of more than 4,300 digits. Longer numbers become a Decimal."""
_NUMBERS = (int, Decimal, float)
_CONSTANTS = {True: "true", False: "false", None: "null"}


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

    @property
    def value(self) -> Any:
        """The value, with a Decimal for each number that is not whole."""
        return read_json(self.text)

    @property
    def is_object(self) -> bool:
        """Whether it is a JSON object."""
        try:
            return isinstance(self.value, dict)
        except (ValueError, RecursionError):
            return False


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


def read_json(body: bytes | str) -> Any:
    """Like `json.loads`, but fractions are read as Decimal, and a number of any length is read.

    Raises ValueError or RecursionError if it is not JSON.
    """
    return json.loads(body, parse_float=_decimal, parse_int=_integer)


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) < _LONGEST_INTEGER else _decimal(digits)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that not even a Decimal can hold
        return Decimal("NaN")


def _text(value: Any, level: int) -> str:
    kind = type(value)
    if kind is str:
        return _string(value)
    if kind in _NUMBERS:
        return _number(value)
    if kind not in (dict, list):
        return _CONSTANTS[value]
    if level > MAX_LEVELS:
        raise ValueError(f"it has more than {MAX_LEVELS} levels")
    if kind is list:
        return f"[{','.join([_text(item, level + 1) for item in value])}]"
    return "{" + ",".join([f"{_string(key)}:{_text(value[key], level + 1)}" for key in sorted(value)]) + "}"


def _string(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair; the codec's own message would quote it
            raise ValueError("it holds text that is not valid") from None
    return encode_basestring_ascii(text)


def _number(value: float | Decimal) -> str:
    if isinstance(value, int) and -(10**MAX_DIGITS) < value < 10**MAX_DIGITS:
        return str(value)
    number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    if not number:
        return "0"
    if not number.is_finite() or number.adjusted() not in _EXPONENTS:
        raise ValueError("it holds a number that is out of DynamoDB's range")
    number = number.normalize(Context(prec=MAX_DIGITS + 1))
    if len(number.as_tuple().digits) > MAX_DIGITS:
        raise ValueError(f"it holds a number of more than {MAX_DIGITS} digits")
    return f"{number:f}"
