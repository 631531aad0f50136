import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.aws.items import Items
from clerk_sync.webhook.arrivals import Arrivals, Webhooks
from tests.support.fake_dynamodb import peaceful_dynamodb

HOUR_MS = 3_600_000


def test_there_are_no_arrivals_before_the_first_webhook() -> None:
    assert Arrivals(Items(peaceful_dynamodb(), "RunsTable")).read() is None


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=5).map(sorted))
def test_the_first_and_the_latest_arrival_are_kept(arrivals: list[int]) -> None:
    items = Items(peaceful_dynamodb(), "RunsTable")
    for at in arrivals:
        Arrivals(items).record(at)
    assert Arrivals(items).read() == Webhooks(first_at=arrivals[0], last_at=arrivals[-1])


@pytest.mark.parametrize(
    ("now", "hours"),
    [(0, 0.0), (99, 0.0), (100, 0.0), (100 + HOUR_MS, 1.0), (100 + 36 * HOUR_MS + HOUR_MS // 4, 36.2)],
)
def test_silence_is_measured_in_hours(now: int, hours: float) -> None:
    assert Webhooks(first_at=5, last_at=100).hours_silent(now) == hours
