import pytest

from clerk_sync import metrics
from clerk_sync.runs import completion
from tests.support.metrics import RecordedMetrics
from tests.support.runs import RunsInMemory


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RecordedMetrics:
    recorded = RecordedMetrics()
    for module in (metrics, completion):
        monkeypatch.setattr(module, "record", lambda _, **values: recorded.extend(values.items()))
    return recorded


@pytest.fixture
def memory() -> RunsInMemory:
    return RunsInMemory()
