from datetime import UTC, datetime, timedelta

import pytest

from tests.cloud.schedule_expression import last_two_due

NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("expression", "latest", "before"),
    [
        ("cron(0 2 ? * SUN *)", "2026-11-22 02:00", "2026-11-15 02:00"),
        ("cron(0 0 * * ? *)", "2026-11-25 00:00", "2026-11-24 00:00"),
        ("cron(30 12 * * ? *)", "2026-11-25 12:30", "2026-11-24 12:30"),
        ("cron(31 12 * * ? *)", "2026-11-24 12:31", "2026-11-23 12:31"),
        ("cron(0/20 * * * ? *)", "2026-11-25 12:20", "2026-11-25 12:00"),
        ("cron(0 6,18 ? * MON-FRI *)", "2026-11-25 06:00", "2026-11-24 18:00"),
        ("cron(0 9 1 * ? *)", "2026-11-01 09:00", "2026-10-01 09:00"),
        ("cron(0 9 31 * ? *)", "2026-10-31 09:00", "2026-08-31 09:00"),
        ("cron(15 10 ? jan,jul 2 2025-2026)", "2026-07-27 10:15", "2026-07-20 10:15"),
    ],
)
def test_a_cron_expression_gives_the_last_two_times(expression: str, latest: str, before: str) -> None:
    found = last_two_due(expression, NOW)
    assert [f"{due:%Y-%m-%d %H:%M}" for due in found] == [latest, before]


@pytest.mark.parametrize(
    ("expression", "period"),
    [
        ("rate(7 days)", timedelta(days=7)),
        ("rate(1 hour)", timedelta(hours=1)),
        ("rate(5 minutes)", timedelta(minutes=5)),
    ],
)
def test_a_rate_counts_back_from_now(expression: str, period: timedelta) -> None:
    assert last_two_due(expression, NOW) == (NOW - period, NOW - 2 * period)


@pytest.mark.parametrize(
    "expression",
    [
        "cron(0 2 L * ? *)",
        "cron(0 2 ? * 2#1 *)",
        "cron(0 2 15W * ? *)",
        "cron(0 2 ? * *)",
        "cron(0 2 ? * NOV *)",
        "cron(0 2 ? * SUN 1999)",
        "at(2026-11-25T12:30:00)",
        "rate(7 weeks)",
        "cron(0 0 29 2 ? *)",  # once in five years
        "",
    ],
)
def test_an_expression_that_is_not_understood_is_an_error(expression: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        last_two_due(expression, NOW)
