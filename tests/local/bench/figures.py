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
SPEEDS_HEADINGS = ("users/s", "", "cold", "warm", "with latency")


@dataclass(frozen=True)
class Timed:
    """What a job took, without latency and undisturbed. CPU in seconds, the local AWS's own apart; CPU and
    memory are None where they can't be known."""

    seconds: float
    clerk_requests: int
    windows: int
    client_cpu: float | None
    aws_cpu: float | None
    peak_bytes: int | None


@dataclass(frozen=True)
class Counted:
    """What a job took with latency, and asked of AWS: requests and units of the users table and of
    RunsTable."""

    seconds: float
    users_requests: float
    of_users: Units
    runs_requests: float = 0
    of_runs: Units = NO_UNITS
    sqs_requests: int = 0
    lambda_requests: int = 0
    lambda_gb_seconds: float = 0.0


@dataclass(frozen=True)
class Figures:
    """One job, by one who did it."""

    users: int
    timed: Timed
    warm: Timed
    counted: Counted

    @property
    def users_per_second(self) -> float:
        return self.users / self.timed.seconds

    @property
    def speeds(self) -> tuple[float, float, float]:
        """Users a second: cold, warm, with latency."""
        seconds = (self.timed.seconds, self.warm.seconds, self.counted.seconds)
        cold, warm, far = (self.users / each for each in seconds)
        return cold, warm, far

    @property
    def dollars_per_million(self) -> float:
        """At list prices, without what the script runs on."""
        return bill(self.counted).total / self.users * 1e6


@dataclass(frozen=True)
class Bill:
    """Dollars at list prices."""

    functions: float
    queue: float
    tables: float

    @property
    def total(self) -> float:
        return self.functions + self.queue + self.tables

    def times(self, factor: float) -> "Bill":
        return Bill(self.functions * factor, self.queue * factor, self.tables * factor)


def bill(counted: Counted) -> Bill:
    """What a job costs: Lambda, SQS, DynamoDB."""
    units = counted.of_users + counted.of_runs
    return Bill(
        functions=counted.lambda_gb_seconds * prices.LAMBDA_GB_SECONDS
        + counted.lambda_requests * prices.LAMBDA_REQUESTS,
        queue=counted.sqs_requests * prices.SQS_REQUESTS,
        tables=units.read * prices.READ_UNITS + units.write * prices.WRITE_UNITS,
    )


@dataclass(frozen=True)
class Bar:
    """What a job has to reach: how many times as fast as the script with latency, and the most requests and
    units a user. None: no limit."""

    times_with_latency: float
    users_requests: float
    runs_requests: float
    read_units: float | None
    write_units: float


def job_rows(job: str, script: Figures, ours: Figures, bar: Bar | None) -> list[Sequence[str]]:
    """The script, clerk-sync, the ratio of the two, and the bar, which marks what is missed."""
    rows: list[Sequence[str]] = [
        (job, "script", *_figures(script)),
        ("", "clerk-sync", *_figures(ours)),
        ("", "ratio", *_ratios(script, ours)),
    ]
    return [*rows, ("", "bar", *_bars(bar, ours))] if bar else rows


def speed_rows(job: str, script: Figures, ours: Figures, bar: Bar | None) -> list[Sequence[str]]:
    """The same of their speeds."""
    ratios = [our / its for our, its in zip(ours.speeds, script.speeds, strict=True)]
    rows: list[Sequence[str]] = [
        (job, "script", *(f"{speed:,.0f}" for speed in script.speeds)),
        ("", "clerk-sync", *(f"{speed:,.0f}" for speed in ours.speeds)),
        ("", "ratio", *(_times(ratio) for ratio in ratios)),
    ]
    if bar:
        least = bar.times_with_latency
        rows.append(("", "bar", "", "", verdict(f">= {least:.0f} x", ratios[-1] >= least)))
    return rows


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as what is in them, numbers to the right; names, in the first two, to the left."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        names = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
        return "  ".join(names + numbers).rstrip()

    return "\n".join([line(headings), "  ".join("-" * width for width in widths), *map(line, rows)])


def bound(job: str, script: Figures, ours: Figures) -> str:
    """How fast the job could be at most, without latency: if all of clerk-sync took no time, or all else."""
    warm, cores = ours.warm, os.cpu_count() or 1
    if warm.aws_cpu is None or warm.client_cpu is None:
        return ""
    aws, client = ours.users / warm.aws_cpu, ours.users / warm.client_cpu * cores
    return (
        f"{job}, warm: {warm.seconds:,.1f} s on {cores} cores, in which clerk-sync used "
        f"{warm.client_cpu:,.1f} s of CPU and the local AWS, one process, {warm.aws_cpu:,.1f} s.\n"
        f"  With nothing else to do, the local AWS could reach {aws:,.0f} users/s, "
        f"{_times(aws / script.users_per_second)} the script; and clerk-sync at {client:,.0f}, "
        f"{_times(client / script.users_per_second)}"
    )


def _figures(figures: Figures) -> list[str]:
    timed, counted = figures.timed, figures.counted
    peak = timed.peak_bytes and timed.peak_bytes / 1e6
    return [
        f"{figures.users_per_second:,.0f}",
        f"{timed.clerk_requests:,}",
        _both(counted.users_requests, counted.runs_requests),
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


def _ratios(script: Figures, ours: Figures) -> list[str]:
    """clerk-sync's figures as multiples of the script's."""
    parts: list[Callable[[Figures], float | None]] = [
        lambda f: f.users_per_second,
        lambda f: f.timed.clerk_requests,
        lambda f: f.counted.users_requests + f.counted.runs_requests,
        lambda f: (f.counted.of_users + f.counted.of_runs).read,
        lambda f: (f.counted.of_users + f.counted.of_runs).write,
        lambda f: f.timed.client_cpu,
        lambda f: f.timed.peak_bytes,
        lambda f: f.dollars_per_million,
        lambda f: f.timed.aws_cpu,
    ]
    return [_ratio(part(ours), part(script)) for part in parts]


def _ratio(ours: float | None, script: float | None) -> str:
    return "-" if ours is None or not script else _times(ours / script)


def _times(ratio: float) -> str:
    digits = 1 if ratio >= 1 else 2 if ratio >= 0.1 else 3
    return f"{ratio:,.{digits}f} x"


def _bars(bar: Bar, ours: Figures) -> list[str]:
    """Each bar as it is for so many users; that of the speed is with the speeds."""
    users, timed, counted = ours.users, ours.timed, ours.counted
    # The last page of a window may leave a batch incomplete.
    most_users = bar.users_requests * users + 2 * timed.windows
    most_runs = bar.runs_requests * users
    read = _at_most(bar.read_units * users, counted.of_users.read) if bar.read_units is not None else ""
    cells = [
        "",
        _at_most(users / 500 + timed.windows + 3, timed.clerk_requests),
        verdict(
            f"<= {most_users:,.0f} + {most_runs:,.0f}",
            counted.users_requests <= most_users and counted.runs_requests <= most_runs,
        ),
        read,
        _at_most(bar.write_units * users, counted.of_users.write),
    ]
    return cells + [""] * (len(HEADINGS) - 2 - len(cells))


def _at_most(limit: float, value: float) -> str:
    return verdict(f"<= {limit:,.0f}", value <= limit)


def verdict(bar: str, is_met: bool) -> str:
    """The bar, marked if it is not met."""
    return bar if is_met else f"MISSED {bar}"
