"""How long ago something was, for a person."""

_UNITS = ((86_400_000, 2, "days"), (3_600_000, 2, "hours"), (60_000, 2, "minutes"))


def age(ms: int) -> str:
    """A time in the largest unit of which it is at least two."""
    for size, least, unit in _UNITS:
        if ms >= least * size:
            return f"{ms // size} {unit}"
    return f"{max(0, ms) // 1000} seconds"
