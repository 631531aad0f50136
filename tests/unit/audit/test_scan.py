from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.audit.scan import Scan
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import Run
from tests.support.runs import RunsInMemory
from tests.support.strategies import any_text

RUN = Run(
    "audit-1",
    "audit",
    create_missing=True,
    dry_run=False,
    started_at=1_000,
    counts=Counts(unchanged=1),
)

scans = st.builds(
    Scan,
    st.none() | any_text,
    st.booleans(),
    st.integers(0),
    st.integers(0),
    *[st.lists(any_text, max_size=4).map(tuple)] * 2,
)


@given(st.lists(scans, min_size=1, max_size=3))
def test_scan_is_loaded_as_it_was_saved_last(saved: list[Scan]) -> None:
    memory = RunsInMemory()
    run = memory.start(RUN)
    assert memory.scans.load(RUN) == Scan()
    for scan in saved:
        memory.scans.save(RUN, scan)
        assert memory.scans.load(RUN) == scan
    assert memory.scans.load(replace(RUN, run_id="another")) == Scan()
    assert memory.run(RUN.run_id) == run, "the run is left as it was"


def test_scan_expires_with_its_run() -> None:
    memory = RunsInMemory()
    memory.start(RUN)
    memory.scans.save(RUN, Scan("a"))
    expiries = [memory.dynamodb.items[RUN.run_id, part]["expiresAt"] for part in ("run", "scan")]
    assert expiries == [RUN.started_at // 1000 + 90 * 24 * 3600] * 2
