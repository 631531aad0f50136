"""Wording that messages share."""


def counted(number: int, noun: str) -> str:
    """`1 user`, `2,000 users`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def sentence(reason: object) -> str:
    """A reason as a sentence of its own, with one full stop."""
    return f"{str(reason).rstrip('. ')}."
