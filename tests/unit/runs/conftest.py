import pytest

from clerk_sync import metrics
from tests.support.metrics import RecordedMetrics
from tests.support.runs import RunsInMemory


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RecordedMetrics:
    recorded = RecordedMetrics()
    monkeypatch.setattr(metrics, "_metrics", recorded)
    return recorded


@pytest.fixture
def memory() -> RunsInMemory:
    return RunsInMemory()
