"""The benchmark's figures as a table: plain text, and no measuring."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.local.bench import prices
from tests.local.bench.capacity import NO_UNITS, Units

HEADINGS = (
    "",
    "",
    "users/s",
    "Clerk req.",
    "DynamoDB req.",
    "read units",
    "write units",
    "client CPU s",
    "peak MB",
    "$/1M users",
    "AWS's CPU s",
)


@dataclass(frozen=True)
class Timed:
    """What a job took, undisturbed. CPU in seconds, the local AWS's own apart; CPU and memory are None where
    they can't be known."""

    seconds: float
    clerk_requests: int
    windows: int
    client_cpu: float | None
    aws_cpu: float | None
    peak_bytes: int | None
    lambda_requests: int = 0
    lambda_gb_seconds: float = 0.0


@dataclass(frozen=True)
class Counted:
    """What a job asked of AWS; the units of the table of users, and those of RunsTable."""

    dynamodb_requests: float
    of_users: Units
    of_runs: Units = NO_UNITS
    sqs_requests: int = 0


@dataclass(frozen=True)
class Figures:
    """One job, by one who did it."""

    users: int
    timed: Timed
    counted: Counted

    @property
    def users_per_second(self) -> float:
        return self.users / self.timed.seconds

    @property
    def dollars_per_million(self) -> float:
        """At list prices, what a loop runs on aside."""
        units = self.counted.of_users + self.counted.of_runs
        dollars = (
            units.read * prices.READ_UNITS
            + units.write * prices.WRITE_UNITS
            + self.timed.lambda_gb_seconds * prices.LAMBDA_GB_SECONDS
            + self.timed.lambda_requests * prices.LAMBDA_REQUESTS
            + self.counted.sqs_requests * prices.SQS_REQUESTS
        )
        return dollars / self.users * 1e6


@dataclass(frozen=True)
class Bar:
    """What a job is to reach; None: nothing is said of it. Units and requests are at most so many a user."""

    times_users_per_second: float
    dynamodb_requests: float
    read_units: float | None
    write_units: float


def job_rows(job: str, loop: Figures, ours: Figures, bar: Bar | None) -> list[Sequence[str]]:
    """The loop, ours, the ratio of the two, and the bar with what is not met marked."""
    rows: list[Sequence[str]] = [
        (job, "loop", *_figures(loop)),
        ("", "ours", *_figures(ours)),
        ("", "ratio", *_ratios(loop, ours)),
    ]
    return [*rows, ("", "bar", *_bars(bar, loop, ours))] if bar else rows


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as what is in them, numbers to the right; names, in the first two, to the left."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        names = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
        return "  ".join(names + numbers).rstrip()

    return "\n".join([line(headings), "  ".join("-" * width for width in widths), *map(line, rows)])


def bound(job: str, loop: Figures, ours: Figures) -> str:
    """How fast the job could be at most, were all that is ours done in no time."""
    timed = ours.timed
    if timed.aws_cpu is None or timed.client_cpu is None:
        return ""
    most = ours.users / timed.aws_cpu
    return (
        f"{job}: of {timed.seconds:,.1f} s on {os.cpu_count()} cores, ours used {timed.client_cpu:,.1f} s of "
        f"CPU and the local AWS, one process, {timed.aws_cpu:,.1f} s: with these requests nobody\n"
        f"  could be over {most:,.0f} users/s here, {most / loop.users_per_second:,.1f} x the loop"
    )


def _figures(figures: Figures) -> list[str]:
    timed, counted = figures.timed, figures.counted
    peak = timed.peak_bytes and timed.peak_bytes / 1e6
    return [
        f"{figures.users_per_second:,.0f}",
        f"{timed.clerk_requests:,}",
        f"{counted.dynamodb_requests:,.0f}",
        _both(counted.of_users.read, counted.of_runs.read),
        _both(counted.of_users.write, counted.of_runs.write),
        _or_dash(timed.client_cpu, "{:,.1f}"),
        _or_dash(peak, "{:,.0f}"),
        f"{figures.dollars_per_million:,.2f}",
        _or_dash(timed.aws_cpu, "{:,.1f}"),
    ]


def _both(of_users: float, of_runs: float) -> str:
    return f"{of_users:,.0f}" + (f" + {of_runs:,.0f}" if of_runs else "")


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _ratios(loop: Figures, ours: Figures) -> list[str]:
    """How many times the loop's ours are."""
    parts: list[Callable[[Figures], float | None]] = [
        lambda f: f.users_per_second,
        lambda f: f.timed.clerk_requests,
        lambda f: f.counted.dynamodb_requests,
        lambda f: (f.counted.of_users + f.counted.of_runs).read,
        lambda f: (f.counted.of_users + f.counted.of_runs).write,
        lambda f: f.timed.client_cpu,
        lambda f: f.timed.peak_bytes,
        lambda f: f.dollars_per_million,
        lambda f: f.timed.aws_cpu,
    ]
    return [_ratio(part(ours), part(loop)) for part in parts]


def _ratio(ours: float | None, loop: float | None) -> str:
    if ours is None or not loop:
        return "-"
    ratio = ours / loop
    digits = 1 if ratio >= 1 else 2 if ratio >= 0.1 else 3
    return f"{ratio:,.{digits}f} x"


def _bars(bar: Bar, loop: Figures, ours: Figures) -> list[str]:
    """Each bar as it is for so many users."""
    users, timed, counted = ours.users, ours.timed, ours.counted
    times = ours.users_per_second / loop.users_per_second
    read = _at_most(bar.read_units * users, counted.of_users.read) if bar.read_units is not None else ""
    cells = [
        _verdict(f">= {bar.times_users_per_second:.0f} x", times >= bar.times_users_per_second),
        _at_most(users / 500 + timed.windows + 3, timed.clerk_requests),
        _at_most(bar.dynamodb_requests * users, counted.dynamodb_requests),
        read,
        _at_most(bar.write_units * users, counted.of_users.write),
    ]
    return cells + [""] * (len(HEADINGS) - 2 - len(cells))


def _at_most(limit: float, value: float) -> str:
    return _verdict(f"<= {limit:,.0f}", value <= limit)


def _verdict(bar: str, is_met: bool) -> str:
    return bar if is_met else f"MISSED {bar}"
