from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import batched
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.audit import deletions
from clerk_sync.audit.deletions import MAX_DELETIONS, Scan, find_deletions, reason_to_hold_back
from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.clock import DAY_MS
from clerk_sync.errors import ClerkUnavailable, OutOfTime
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.id_digests import digests
from clerk_sync.runs.page import Page, PageOutcome
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.run import MissedDeletions, Mode, Run
from clerk_sync.users.drift import RECENT_MS
from clerk_sync.users.user import Deletion
from clerk_sync.users.write_rule import DELETED, VERSION, Row
from tests.support.fake_users_table import FakeUsersTable, is_unmarked
from tests.support.runs import RunsInMemory
from tests.support.strategies import any_text

NOW = 5_000_000

# When deletions are held back


KNOWN = Run(
    "audit-1",
    "audit",
    create_missing=True,
    dry_run=False,
    started_at=1_000,
    counts=Counts(unchanged=1),
)


@pytest.mark.parametrize(
    ("counts", "is_known"),
    [
        (Counts(), False),
        (Counts(created=9, skipped=9, errors=9), False),
        (Counts(updated=1), True),
        (Counts(unchanged=1), True),
    ],
)
def test_deletions_are_held_back_if_no_user_of_the_instance_has_a_row(counts: Counts, is_known: bool) -> None:
    for gone in (1, 10, 100):
        reason = reason_to_hold_back(gone, 1_000_000, replace(KNOWN, counts=counts), 100)
        assert bool(reason) != is_known
        assert is_known or "right one" in str(reason)


@pytest.mark.parametrize(
    ("gone", "rows", "percent", "allowed"),
    [
        (1, 1, 0, True),
        (10, 10, 0, True),
        (11, 11, 0, False),
        (10, 10_000, 0, True),
        (11, 10_000, 0, False),
        (10, 100, 2, True),
        (11, 100, 2, False),
        (20, 1_000, 2, True),
        (21, 1_000, 2, False),
        (25, 1_000, 2.5, True),
        (26, 1_000, 2.5, False),
        (1_000, 1_000, 100, True),
        (999, 1_000, 99.9, True),
        (1_000, 1_000, 99.9, False),
    ],
)
def test_deletions_are_held_back_above_the_allowed_percentage(
    gone: int, rows: int, percent: float, allowed: bool
) -> None:
    reason = reason_to_hold_back(gone, rows, KNOWN, percent)
    assert (reason is None) == allowed
    if reason:
        assert f"{gone:,} of {rows:,} " in reason
        assert f"MaxDeletionsPercent ({percent:g} %)" in reason


# Finding deletions


def page_of(user_ids: Sequence[str]) -> bytes:
    return digests({"id": user_id} for user_id in user_ids)


class ScannedTable(FakeUsersTable):
    """Scans `at_once` rows at a time, in the order of a hash, and then filters them. `on_batch` is called
    before each batch."""

    def __init__(self, rows: Mapping[str, Row], *, at_once: int = 3) -> None:
        super().__init__(rows)
        self._at_once = at_once
        self.scanned: list[list[str]] = []
        self.on_batch: Callable[[], None] = lambda: None

    def unmarked(self, after: str | None, now: int) -> Iterator[tuple[list[str], str | None]]:
        order = sorted(self.rows, key=lambda user_id: page_of([user_id]))
        start = 0 if after is None else order.index(after) + 1
        while True:
            self.on_batch()
            batch = order[start : start + self._at_once]
            start += self._at_once
            self.scanned.append(batch)
            is_last = len(batch) < self._at_once  # so the last one may well be empty
            unmarked = [user_id for user_id in batch if is_unmarked(self.rows[user_id], now)]
            yield unmarked, None if is_last else batch[-1]
            if is_last:
                return


class FakeClerk(ClerkClient):
    """Has these users, and lists `odd` too. `on_request` is called for each request for users."""

    def __init__(self, alive: Sequence[str], *, odd: Sequence[Any] = ()) -> None:
        self.alive = set(alive)
        self.requests: list[list[str]] = []
        self.failing = False
        self.on_request: Callable[[], None] = lambda: None
        self._odd = odd

    def users(self, **query: Any) -> list[Any]:
        assert query.keys() == {"user_id", "limit"}
        asked = list(query["user_id"])
        assert len(asked) <= query["limit"] <= 500, "Clerk's default limit is 10"
        if self.failing:
            raise ClerkUnavailable("503")
        self.requests.append(asked)
        self.on_request()
        return [*self._odd, *({"id": user_id} for user_id in asked if user_id in self.alive)]


NOT_DONE = "The workers have not written every user yet: audit again."
SYNCED: Row = {VERSION: 5}


def synced(user_ids: Sequence[str]) -> dict[str, Row]:
    return dict.fromkeys(user_ids, SYNCED)


def names(number: int, start: int = 0) -> list[str]:
    return [f"user_{n:05}" for n in range(start, start + number)]


class Audit:
    """A run that has listed these users, in a RunsTable in memory, and what finds deletions."""

    def __init__(
        self,
        table: ScannedTable,
        listed: Sequence[str],
        *,
        max_percent: float = 2,
        dry_run: bool = False,
        counts: Counts | None = None,
    ) -> None:
        self.memory = memory = RunsInMemory()
        run = memory.start(Run("audit-1", "audit", create_missing=True, dry_run=dry_run, started_at=1_000))
        for number, page in enumerate(batched(listed, 50, strict=False), 1):
            token = f"t{number}"
            run = memory.send(run, PendingPage(token, "", len(page), [], Checkpoint(), page_of(page)))
            outcome = PageOutcome(counts or Counts(unchanged=len(page)))
            assert memory.pages.record_outcome(run.run_id, number, token, outcome)
        self.run = memory.run(run.run_id)
        self.time_left: Callable[[], float] = lambda: 1
        self.table = table
        self.max_percent = max_percent
        self.lease_kept = 0

    def find(
        self, clerk: ClerkClient, run: Run, unlisted: int = 0
    ) -> tuple[MissedDeletions, Sequence[Deletion]]:
        resources = SimpleNamespace(runs=self.memory.runs, pages=self.memory.pages, users_table=self.table)
        lease: Any = SimpleNamespace(run=run, resources=resources, keep=self._keep_lease)
        return find_deletions(lease, clerk, unlisted, self.max_percent)

    def saved_scan(self) -> Scan:
        return Scan.load(self.memory.items, self.run)

    def listed_earlier(self, mode: Mode, user_ids: Sequence[str], *, started_at: int = 500) -> None:
        """Record a run that listed these users."""
        run = Run(f"{mode}-{started_at}", mode, create_missing=True, dry_run=True, started_at=started_at)
        self.memory.send(self.memory.start(run), PendingPage("t", "", 1, [], Checkpoint(), page_of(user_ids)))

    def _keep_lease(self) -> None:
        self.lease_kept += 1
        if self.time_left() <= 0:
            raise OutOfTime


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletions, "now_ms", lambda: NOW)


def test_rows_of_deleted_users_are_marked() -> None:
    alive, gone = names(20), names(3, 100)
    table = ScannedTable(synced([*alive, *gone]))
    audit = Audit(table, alive)
    found, to_mark = audit.find(FakeClerk(alive), audit.run)
    assert sorted(found.first) == gone
    assert found == MissedDeletions(rows=23, found=3, first=found.first, sent=3)
    assert to_mark == [Deletion(user_id, NOW) for user_id in found.first]
    assert (table.written, table.updates) == ([], []), "the workers write the marks"


def test_clerk_is_not_asked_by_id_if_it_listed_every_user_with_a_row() -> None:
    clerk = FakeClerk(names(20))
    audit = Audit(ScannedTable(synced(names(20))), names(20))
    assert audit.find(clerk, audit.run) == (MissedDeletions(rows=20), ())
    assert clerk.requests == []


def test_an_empty_table_has_no_deletions() -> None:
    audit = Audit(ScannedTable({}), [])
    assert audit.find(FakeClerk([]), audit.run) == (MissedDeletions(), ())


def test_rows_that_were_never_synced_or_are_marked_are_not_candidates() -> None:
    theirs: dict[str, Row]
    theirs = {"app_only": {"email": "a@b.c"}, "marked": {**SYNCED, DELETED: 5}}
    clerk = FakeClerk(names(5))
    audit = Audit(ScannedTable({**synced(names(5)), **theirs}), names(5))
    assert audit.find(clerk, audit.run) == (MissedDeletions(rows=5), ())
    assert clerk.requests == []


def test_a_dry_run_reports_deletions_and_marks_none() -> None:
    alive, gone = names(5), names(3, 100)
    audit = Audit(ScannedTable(synced([*alive, *gone])), alive, dry_run=True)
    found, to_mark = audit.find(FakeClerk(alive), audit.run)
    assert not to_mark
    assert (found.rows, found.found, sorted(found.first), found.sent) == (8, 3, gone, 0)
    assert found.held_back is None


@pytest.mark.parametrize("dry_run", [True, False])
def test_too_many_deletions_are_held_back_and_reported(dry_run: bool) -> None:
    alive, gone = names(40), names(30, 100)
    audit = Audit(ScannedTable(synced([*alive, *gone])), alive, dry_run=dry_run)
    found, to_mark = audit.find(FakeClerk(alive), audit.run)
    assert not to_mark
    assert (found.rows, found.found, found.sent) == (70, 30, 0)
    assert len(found.first) == 20
    assert set(found.first) < set(gone)
    assert "30 of 70" in str(found.held_back)


@pytest.mark.parametrize("alive", [[], names(1_000, 500)])
def test_instance_whose_users_have_no_rows_marks_no_row(alive: list[str]) -> None:
    audit = Audit(ScannedTable(synced(names(4))), alive, max_percent=100, counts=Counts(created=50))
    found, to_mark = audit.find(FakeClerk(alive), audit.run)
    assert not to_mark
    assert found.found == 4
    assert "right one" in str(found.held_back)


@pytest.mark.parametrize("gone", [1, 99, 100, 101, 250])
def test_clerk_is_asked_for_at_most_100_users_a_request(gone: int) -> None:
    clerk = FakeClerk(names(5))
    audit = Audit(ScannedTable(synced(names(5 + gone)), at_once=40), names(5), max_percent=100)
    found, to_mark = audit.find(clerk, audit.run)
    assert [len(asked) for asked in clerk.requests] == [100] * (gone // 100) + [gone % 100] * (gone % 100 > 0)
    assert sorted(user_id for asked in clerk.requests for user_id in asked) == names(gone, 5)
    assert len(to_mark) == found.sent == found.found == gone


def test_users_whom_clerk_has_are_not_deletions() -> None:
    listed, signed_up_later, gone = names(150), names(60, 1_000), names(2, 2_000)
    everybody = [*listed, *signed_up_later, *gone]
    audit = Audit(ScannedTable(synced(everybody)), listed)
    found, to_mark = audit.find(FakeClerk([*listed, *signed_up_later]), audit.run)
    assert sorted(deletion.id for deletion in to_mark) == gone
    assert (found.found, found.held_back) == (2, None)


def test_entries_of_clerks_answer_that_are_not_users_are_ignored() -> None:
    odd = [None, 7, "user_00100", {}, {"id": None}, {"id": 7}, ["user_00100"]]
    audit = Audit(ScannedTable(synced([*names(5), *names(2, 100)])), names(5))
    _, to_mark = audit.find(FakeClerk(names(5), odd=odd), audit.run)
    assert sorted(deletion.id for deletion in to_mark) == names(2, 100)


def test_an_id_that_is_a_list_is_ignored() -> None:
    audit = Audit(ScannedTable(synced([*names(5), "gone"])), names(5))
    _, to_mark = audit.find(FakeClerk(names(5), odd=[{"id": ["gone"]}]), audit.run)
    assert [deletion.id for deletion in to_mark] == ["gone"]


def test_no_row_is_marked_if_clerk_counts_more_users_than_it_listed() -> None:
    table = ScannedTable(synced(names(8)))
    audit = Audit(table, names(5))
    found, to_mark = audit.find(FakeClerk(names(5)), audit.run, unlisted=4)
    assert not to_mark
    assert found == MissedDeletions(held_back="Clerk listed 5 of the 9 users that it counts: audit again.")
    assert table.scanned == []


def test_no_row_is_marked_before_the_workers_are_done() -> None:
    audit = Audit(ScannedTable(synced(names(8))), names(5))
    run = replace(audit.run, settled_pages=audit.run.pages - 1)
    found, to_mark = audit.find(FakeClerk(names(5)), run)
    assert not to_mark
    assert found == MissedDeletions(held_back=NOT_DONE)


def test_no_row_is_marked_if_clerk_fails_to_confirm() -> None:
    clerk = FakeClerk(names(5))
    clerk.failing = True
    audit = Audit(ScannedTable(synced(names(8))), names(5))
    with pytest.raises(ClerkUnavailable):
        audit.find(clerk, audit.run)


# Which users an earlier run listed


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("mode", ["full", "incremental", "audit"])
def test_deleted_user_counts_as_listed_before_if_an_earlier_run_listed_them(
    mode: Mode, dry_run: bool
) -> None:
    audit = Audit(ScannedTable(synced([*names(5), "deleted", "sample"])), names(5), dry_run=dry_run)
    audit.listed_earlier(mode, [*names(5), "deleted"])
    found, _ = audit.find(FakeClerk(names(5)), audit.run)
    assert (found.found, found.listed_before) == (2, 1)


def test_user_that_no_run_listed_does_not_count_as_listed_before() -> None:
    audit = Audit(ScannedTable(synced([*names(5), "sample"])), names(5))
    audit.listed_earlier("full", names(5))
    found, _ = audit.find(FakeClerk(names(5)), audit.run)
    assert (found.found, found.listed_before) == (1, 0)


def test_run_that_started_later_does_not_count_as_earlier() -> None:
    audit = Audit(ScannedTable(synced([*names(5), "gone"])), names(5))
    audit.listed_earlier("full", ["gone"], started_at=audit.run.started_at + 1)
    found, _ = audit.find(FakeClerk(names(5)), audit.run)
    assert (found.found, found.listed_before) == (1, 0)


def test_older_run_is_looked_up_if_the_last_one_did_not_list_the_user() -> None:
    audit = Audit(ScannedTable(synced([*names(5), "gone_1", "gone_2"])), names(5))
    audit.listed_earlier("audit", ["gone_1"], started_at=100)
    audit.listed_earlier("full", ["gone_1", "gone_2"], started_at=200)
    audit.listed_earlier("full", ["gone_2"], started_at=300)
    found, _ = audit.find(FakeClerk(names(5)), audit.run)
    assert (found.found, found.listed_before) == (2, 2)


def test_deletions_that_are_held_back_are_not_looked_up() -> None:
    audit = Audit(ScannedTable(synced(names(70))), names(40))
    audit.listed_earlier("full", names(70))
    found, _ = audit.find(FakeClerk(names(40)), audit.run)
    assert found.held_back
    assert found.listed_before == 0


def test_lookup_that_is_out_of_time_continues_with_the_saved_scan() -> None:
    table = ScannedTable(synced([*names(5), "gone"]), at_once=90)
    audit = Audit(table, names(5))
    audit.listed_earlier("full", [*names(5), "gone"])
    clerk = FakeClerk(names(5))
    audit.time_left = lambda: 1 - len(clerk.requests)
    with pytest.raises(OutOfTime):
        audit.find(clerk, audit.run)
    audit.time_left = lambda: 1
    found, _ = audit.find(clerk, audit.run)
    assert (found.found, found.listed_before) == (1, 1)
    assert (clerk.requests, len(table.scanned)) == ([["gone"]], 1), "nothing is asked or read twice"


# More deletions than one audit marks


@pytest.fixture
def _few_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletions, "MAX_DELETIONS", 12)


@pytest.mark.usefixtures("_few_at_most")
@pytest.mark.parametrize(("gone", "more"), [(12, 0), (13, 1), (40, 28)])
def test_one_audit_marks_a_limited_number_of_rows(gone: int, more: int) -> None:
    audit = Audit(ScannedTable(synced(names(5 + gone))), names(5), max_percent=100)
    clerk = FakeClerk(names(5))
    found, to_mark = audit.find(clerk, audit.run)
    assert len(to_mark) == found.sent == 12
    assert (found.rows, found.found, found.unasked) == (5 + gone, 12, more)
    assert sum(map(len, clerk.requests)) == 12


@pytest.mark.usefixtures("_few_at_most")
def test_candidates_whom_clerk_has_are_no_deletions_above_the_limit() -> None:
    audit = Audit(ScannedTable(synced(names(25))), names(5))
    found, _ = audit.find(FakeClerk(names(25)), audit.run)
    assert found.found == 0


@pytest.mark.usefixtures("_few_at_most")
def test_candidates_above_the_limit_count_towards_the_allowed_percentage() -> None:
    audit = Audit(ScannedTable(synced(names(60))), names(20), max_percent=50)
    found, to_mark = audit.find(FakeClerk(names(20)), audit.run)
    assert not to_mark
    assert "40 of 60" in str(found.held_back)


def test_max_deletions_fit_in_a_message_and_in_an_item() -> None:
    user_ids = ["user_2NNEqL2nrIRdJ194ndJqAHwEfxC" + str(n)[-1] for n in range(MAX_DELETIONS)]
    page = Page(
        run_id="audit-20261121T065232Z-eaf228",
        number=10**6,
        token="f" * 32,
        read_at=1_795_243_952_441,
        create_missing=False,
        dry_run=False,
        users=(),
        deletions=tuple(Deletion(user_id, 1_795_243_952_441) for user_id in user_ids),
    )
    assert len(page.dump()) < 1024 * 1024
    memory = RunsInMemory()
    for gone in (0, MAX_DELETIONS // 2, MAX_DELETIONS):
        scan = Scan(after="user_1", rows=10**7, more=10**6, candidates=user_ids[gone:], gone=user_ids[:gone])
        scan.save(memory.items, KNOWN)
        [item] = memory.dynamodb.items.values()
        assert sum(len(name) + len(str(value)) for name, value in item.items()) < 400 * 1024


# Out of time

scans = st.builds(
    Scan,
    after=st.none() | any_text,
    is_done=st.booleans(),
    rows=st.integers(0),
    more=st.integers(0),
    candidates=st.lists(any_text, max_size=4),
    gone=st.lists(any_text, max_size=4),
)


@given(st.lists(scans, min_size=1, max_size=3))
def test_scan_is_loaded_as_it_was_saved_last(saved: list[Scan]) -> None:
    memory = RunsInMemory()
    run = memory.start(KNOWN)
    assert Scan.load(memory.items, KNOWN) == Scan()
    for scan in saved:
        scan.save(memory.items, KNOWN)
        assert Scan.load(memory.items, KNOWN) == scan
    assert Scan.load(memory.items, replace(KNOWN, run_id="another")) == Scan()
    assert memory.run(KNOWN.run_id) == run, "the run is left as it was"


def test_scan_expires_with_its_run() -> None:
    memory = RunsInMemory()
    memory.start(KNOWN)
    Scan(after="a").save(memory.items, KNOWN)
    expiries = [memory.dynamodb.items[KNOWN.run_id, part]["expiresAt"] for part in ("run", "scan")]
    assert expiries == [KNOWN.started_at // 1000 + 90 * 24 * 3600] * 2


def test_confirmed_deletions_are_saved_when_clerk_fails_later() -> None:
    audit = Audit(ScannedTable(synced(names(260))), names(10), max_percent=100)
    clerk = FakeClerk(names(10))
    listed = clerk.users

    def fails_later(**query: Any) -> list[Any]:
        clerk.failing = len(clerk.requests) == 1
        return listed(**query)

    clerk.users = fails_later  # type: ignore[method-assign]
    with pytest.raises(ClerkUnavailable):
        audit.find(clerk, audit.run)
    kept = audit.saved_scan()
    assert kept.is_done
    assert (len(kept.gone), len(kept.candidates)) == (100, 150)
    clerk.users = listed  # type: ignore[method-assign]
    clerk.failing = False
    _, to_mark = audit.find(clerk, audit.run)
    assert len(to_mark) == 250


def test_interrupted_scan_continues_where_it_stopped() -> None:
    table = ScannedTable(synced(names(20)))
    audit = Audit(table, names(15))
    clerk = FakeClerk(names(15))
    audit.time_left = lambda: 0
    for batches in range(1, 8):
        with pytest.raises(OutOfTime):
            audit.find(clerk, audit.run)
        assert len(table.scanned) == batches, "each call gets a bit further"
    with pytest.raises(OutOfTime):
        audit.find(clerk, audit.run)
    assert clerk.requests == []
    audit.time_left = lambda: 1
    found, to_mark = audit.find(clerk, audit.run)
    assert (found.rows, found.found, len(to_mark)) == (20, 5, 5)
    assert [user_id for batch in table.scanned for user_id in batch] == sorted(
        table.rows, key=lambda user_id: page_of([user_id])
    ), "no row is read twice"


@given(
    st.integers(0, 25),
    st.integers(0, 12),
    st.sets(st.integers(0, 25)),
    st.integers(1, 6),
    st.lists(st.booleans(), max_size=30),
    st.sampled_from([3, MAX_DELETIONS]),
)
def test_scan_finds_the_same_wherever_it_is_interrupted(
    number: int, gone: int, marked: set[int], at_once: int, cuts: list[bool], most: int
) -> None:
    rows = synced(names(number + gone))
    rows |= {name: {**SYNCED, DELETED: 5} for n, name in enumerate(rows) if n in marked}
    alive = names(number)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(deletions, "MAX_DELETIONS", most)
        whole = Audit(ScannedTable(rows, at_once=at_once), alive, max_percent=50)
        expected = whole.find(FakeClerk(alive), whole.run)
        audit = Audit(ScannedTable(rows, at_once=at_once), alive, max_percent=50)
        script = iter(cuts)
        audit.time_left = lambda: -1 if next(script, False) else 1
        interrupted, clerk = 0, FakeClerk(alive)
        while True:
            try:
                found = audit.find(clerk, audit.run)
                break
            except OutOfTime:
                interrupted += 1
                scan = audit.saved_scan()
                assert (scan.after is None) == scan.is_done
                assert scan.rows <= len(rows)
    assert found == expected
    assert interrupted <= sum(cuts)
    asked = [user_id for request in clerk.requests for user_id in request]
    assert len(set(asked)) == len(asked), "Clerk is asked for somebody twice"


def test_candidates_found_before_an_interruption_are_confirmed_after_it() -> None:
    rows = synced(names(20))
    audit = Audit(ScannedTable(rows), [], max_percent=100)
    run = replace(audit.run, counts=Counts(unchanged=1))
    audit.time_left = lambda: 0
    for _ in range(8):
        with pytest.raises(OutOfTime):
            audit.find(FakeClerk(names(20)), run)
    audit.time_left = lambda: 1
    assert audit.find(FakeClerk(names(20)), run) == (MissedDeletions(rows=20), ())


def test_interrupted_confirmation_continues_where_it_stopped() -> None:
    alive, gone = names(120), names(130, 120)
    table = ScannedTable(synced([*alive, *gone]), at_once=90)
    audit = Audit(table, [], max_percent=100)
    run = replace(audit.run, counts=Counts(unchanged=1))
    clerk = FakeClerk(alive)
    for allowed in range(1, 3):
        audit.time_left = lambda allowed=allowed: allowed - len(clerk.requests)  # type: ignore[misc]
        with pytest.raises(OutOfTime):
            audit.find(clerk, run)
        assert len(clerk.requests) == allowed
        assert len(audit.saved_scan().candidates) == 250 - 100 * allowed
    audit.time_left = lambda: 1
    found, to_mark = audit.find(clerk, run)
    assert (found.rows, found.found, found.sent) == (250, 130, 130)
    assert sorted(deletion.id for deletion in to_mark) == gone
    assert [len(asked) for asked in clerk.requests] == [100, 100, 50]
    assert sorted(user_id for asked in clerk.requests for user_id in asked) == [*alive, *gone]
    assert len(table.scanned) == 3, "no row is read twice"


def test_lease_is_kept_at_each_batch_and_each_request() -> None:
    audit = Audit(ScannedTable(synced(names(255)), at_once=64), names(5), max_percent=100)
    audit.find(FakeClerk(names(5)), audit.run)
    assert audit.lease_kept == 4 + 3


# Changes during the audit


@pytest.mark.parametrize("is_cut", [False, True])
def test_rows_marked_or_deleted_during_the_audit_do_not_count(is_cut: bool) -> None:
    alive, gone = names(20), names(5, 100)
    table = ScannedTable(synced([*alive, *gone]))
    audit = Audit(table, alive)
    clerk = FakeClerk(alive)

    def meanwhile() -> None:
        table.rows[gone[0]] = {**SYNCED, DELETED: 7}
        table.rows.pop(gone[1], None)

    clerk.on_request = meanwhile
    if is_cut:
        audit.time_left = lambda: 0
        for _ in range(9):
            with pytest.raises(OutOfTime):
                audit.find(clerk, audit.run)
        audit.time_left = lambda: 1
    found, to_mark = audit.find(clerk, audit.run)
    assert sorted(deletion.id for deletion in to_mark) == gone[2:]
    assert sorted(found.first) == gone[2:]
    assert (found.rows, found.found, found.sent) == (25, 3, 3)


def test_deletions_that_webhooks_deliver_during_the_audit_do_not_count() -> None:
    gone = names(30, 100)
    table = ScannedTable(synced([*names(20), *gone]))
    audit = Audit(table, names(20))
    clerk = FakeClerk(names(20))
    clerk.on_request = lambda: table.rows.update({name: {**SYNCED, DELETED: 7} for name in gone})
    assert audit.find(clerk, audit.run) == (MissedDeletions(rows=50), ())


def test_rows_of_confirmed_deletions_are_read_again_consistently() -> None:
    alive, gone = names(20), names(3, 100)
    table = ScannedTable(synced([*alive, *gone]))
    table.unseen = set(gone)
    audit = Audit(table, alive)
    found, _ = audit.find(FakeClerk(alive), audit.run)
    assert sorted(found.first) == gone
    assert [sorted(read) for read in table.reads] == [gone], "and nobody else's"


def candidates_of(row: Row) -> set[str]:
    """Who is marked if a user with this row is not in Clerk. "gone" always is."""
    alive = names(20)
    audit = Audit(ScannedTable(synced([*alive, "gone"]) | {"candidate": row}), alive)
    found, to_mark = audit.find(FakeClerk(alive), audit.run)
    assert found.found == len(to_mark)
    return {one.id for one in to_mark} - {"gone"}


@pytest.mark.parametrize(("age", "is_found"), [(0, False), (RECENT_MS - 1, False), (RECENT_MS, True)])
@pytest.mark.parametrize("name", [VERSION, "lastSignInAt", "lastActiveAt"])
def test_row_that_changed_a_moment_ago_is_left_to_webhooks(name: str, age: int, is_found: bool) -> None:
    assert bool(candidates_of({VERSION: 5, name: NOW - age})) == is_found


def test_row_that_only_a_sign_in_created_is_no_candidate() -> None:
    """Clerk's lists may lag behind a user who signed up a minute ago."""
    for signed_in_at in (5, NOW - RECENT_MS, NOW - 59_000):
        assert not candidates_of({VERSION: 0, "lastSignInAt": signed_in_at})


FROM_THE_FUTURE = NOW + DAY_MS + 1


def test_mark_from_the_future_is_no_mark_and_version_from_the_future_no_version() -> None:
    assert candidates_of({VERSION: 5, DELETED: FROM_THE_FUTURE})
    assert candidates_of({VERSION: 5, "lastActiveAt": FROM_THE_FUTURE})
    assert not candidates_of({VERSION: FROM_THE_FUTURE})
    assert not candidates_of({VERSION: 5, DELETED: 5})
