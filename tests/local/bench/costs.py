"""What weekly runs cost, by what was counted of one."""

from collections.abc import Sequence
from math import ceil

from tests.local.bench.figures import Figures, bill

COSTS_HEADINGS = (
    "users",
    "Clerk req.",
    "Lambda $",
    "SQS $",
    "DynamoDB $",
    "a run $",
    "a month $",
    "first run $",
)
SIZES = (1_000, 100_000, 1_000_000, 10_000_000)
PAGE_SIZE = 500
WEEKS_A_MONTH = 52 / 12


def cost_rows(weekly: Figures, first: Figures) -> list[Sequence[str]]:
    """Instances of some sizes: a weekly run that finds nothing changed, a month of those, the first run."""
    return [_row(weekly, first, users) for users in SIZES]


def _row(weekly: Figures, first: Figures, users: int) -> Sequence[str]:

    of_run = bill(weekly.counted).times(users / weekly.users)
    of_first = bill(first.counted).times(users / first.users)
    parts = (of_run.functions, of_run.queue, of_run.tables, of_run.total)
    totals = (of_run.total * WEEKS_A_MONTH, of_first.total)
    return f"{users:,}", f"{_clerk_requests(weekly, users):,}", *map(_dollars, (*parts, *totals))


def _clerk_requests(weekly: Figures, users: int) -> int:
    """One a page, and as many more as a run took."""
    more = weekly.timed.clerk_requests - ceil(weekly.users / PAGE_SIZE)
    return ceil(users / PAGE_SIZE) + more


def _dollars(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 0.1 else f"{amount:,.4f}"
