"""When a schedule of EventBridge Scheduler was last due.

The syntax: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_CRON = re.compile(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)")
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_DAYS_BACK = 5 * 366


def last_two_due(expression: str, now: datetime) -> tuple[datetime, datetime]:
    """The last two times (UTC) at which a schedule was due, the later one first.

    A rate counts back from now, as when it began is not part of it. Raises ValueError for what is not known
    here: L, W and #, one-time schedules, and what was never due twice within five years.
    """
    if match := _RATE.fullmatch(expression):
        number, unit = int(match[1]), match[2]
        period = timedelta(**{f"{unit}s": number})
        return now - period, now - 2 * period
    if match := _CRON.fullmatch(expression):
        found = list(islice(_before(now, *match.groups()), 2))
        if len(found) == 2:
            return found[0], found[1]
    raise ValueError(f"{expression} is not understood here")


def _before(
    now: datetime, minute: str, hour: str, day_of_month: str, month: str, day_of_week: str, year: str
) -> Iterator[datetime]:
    """The times that fit, from now back."""
    minutes, hours = _numbers(minute, 0, 59), _numbers(hour, 0, 23)
    days, months = _numbers(day_of_month, 1, 31), _numbers(month, 1, 12, _MONTHS)
    weekdays, years = _numbers(day_of_week, 1, 7, _DAYS), _numbers(year, 1970, 2199)
    for back in range(_DAYS_BACK):
        day = now.date() - timedelta(days=back)
        weekday = day.isoweekday() % 7 + 1  # Sunday is 1
        if day.year in years and day.month in months and day.day in days and weekday in weekdays:
            for h in sorted(hours, reverse=True):
                for m in sorted(minutes, reverse=True):
                    due = datetime(day.year, day.month, day.day, h, m, tzinfo=UTC)
                    if due <= now:
                        yield due


def _numbers(text: str, low: int, high: int, names: list[str] | None = None) -> set[int]:
    """The numbers that a field stands for: `*`, `?`, `1,15`, `MON-FRI`, `0/5`."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, last = low, high
        else:
            begin, _, end = span.partition("-")
            first = _number(begin, low, names)
            last = _number(end, low, names) if end else (high if step else first)
        found.update(range(first, last + 1, int(step or 1)))
    return found


def _number(text: str, low: int, names: list[str] | None) -> int:
    return names.index(text.upper()) + low if names and text.upper() in names else int(text)
