from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.aws.items import to_item
from clerk_sync.clerk.checkpoint import Checkpoint, ListedUser, Window
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.page import PageOutcome
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.run import MissedDeletions, Run
from clerk_sync.users.drift import Finding, FindingKind, group_by_kind
from clerk_sync.users.user import UserProblem
from tests.local.bench.capacity import WRITE_BYTES, item_size
from tests.support.runs import OWNER, RunsInMemory
from tests.support.strategies import any_text, findings

RUN = Run("audit-1", "audit", create_missing=True, dry_run=True, started_at=1_000)

# Findings


def run_with_outcomes(pages: list[dict[str, Finding]]) -> tuple[RunsInMemory, Run]:
    """A run with as many pages, all of which have an outcome with these findings."""
    memory = RunsInMemory()
    run = memory.start(RUN)
    for number, page in enumerate(pages, 1):
        run = memory.send(run, PendingPage(f"t{number}", "", 30, [], Checkpoint()))
        missed = sum(finding.missed_by_webhook for finding in page.values())
        counts = Counts(
            updated=len(page), unchanged=30 - len(page), missed_by_webhooks=missed, findings=len(page)
        )
        outcome = PageOutcome(counts, findings=group_by_kind(page))
        assert memory.pages.record_outcome(RUN.run_id, number, f"t{number}", outcome)
    return memory, run


@given(st.lists(st.lists(findings, max_size=30), max_size=12))
def test_the_findings_of_a_run_are_those_of_its_pages_in_order(found: list[list[Finding]]) -> None:
    pages = [
        {f"user_{number}_{n}": finding for n, finding in enumerate(page)} for number, page in enumerate(found)
    ]
    memory, _ = run_with_outcomes(pages)
    everything = {user_id: finding for page in pages for user_id, finding in page.items()}
    assert memory.pages.findings(RUN.run_id) == group_by_kind(everything)
    counts = memory.run(RUN.run_id).counts
    assert counts.missed_by_webhooks == sum(finding.missed_by_webhook for finding in everything.values())
    assert counts.updated == counts.findings == len(everything)


def test_the_findings_of_a_page_that_is_given_up_are_added_by_its_redrive() -> None:
    memory, run = run_with_outcomes([{}])
    pages = memory.pages
    memory.send(run, PendingPage("t2", "", 1, [], Checkpoint()))
    assert pages.record_outcome(RUN.run_id, 2, "t2", None)
    assert pages.findings(RUN.run_id) == group_by_kind({})
    one = Finding(FindingKind.DRIFTED, ("email",), missed_by_webhook=True)
    counts = Counts(updated=1, missed_by_webhooks=1, findings=1)
    assert pages.record_outcome(RUN.run_id, 2, "t2", PageOutcome(counts, findings=group_by_kind({"a": one})))
    assert not pages.record_outcome(RUN.run_id, 2, "t2", PageOutcome(Counts(unchanged=1)))
    assert pages.findings(RUN.run_id) == group_by_kind({"a": one})
    over = memory.run(RUN.run_id)
    assert over.counts == Counts(updated=1, unchanged=30, missed_by_webhooks=1, findings=1)
    assert over.settled_pages == 2


# Digests of ids


@given(st.lists(st.none() | st.binary(max_size=16), max_size=12))
def test_the_digests_of_a_run_are_those_of_its_pages_in_order(digests: list[bytes | None]) -> None:
    memory = RunsInMemory()
    run, pages = memory.start(RUN), memory.pages
    for number, listed in enumerate(digests, 1):
        page = PendingPage(f"t{number}", "", 0, [UserProblem(None, "odd")], Checkpoint(), listed)
        run = memory.send(run, page)
    assert list(pages.id_digests(RUN.run_id)) == [listed or b"" for listed in digests]
    for number in range(1, len(digests) + 1):
        assert pages.record_outcome(RUN.run_id, number, f"t{number}", PageOutcome())
    assert list(pages.id_digests(RUN.run_id)) == [listed or b"" for listed in digests]
    assert list(pages.id_digests("another")) == []


def test_digests_and_checkpoint_do_not_make_each_change_of_a_page_dearer() -> None:
    memory = RunsInMemory()
    last = ListedUser("user_" + "x" * 27, 1_700_000_000_000)
    windows = tuple(Window(since, since + 1, (last,) * 3) for since in range(24))
    memory.send(memory.start(RUN), PendingPage("t1", "", 500, [], Checkpoint(0, windows), bytes(8 * 500)))
    assert memory.pages.record_outcome(RUN.run_id, 1, "t1", PageOutcome(Counts(created=500)))
    record = memory.dynamodb.items[RUN.run_id, "page#00000001"]
    assert item_size(to_item(record)) <= WRITE_BYTES // 2, "a plan of a byte a user must fit beside it"


# Deletions

missed = st.builds(
    MissedDeletions,
    rows=st.integers(0),
    found=st.integers(0),
    first=st.lists(any_text, max_size=3).map(tuple),
    sent=st.integers(0),
    held_back=st.none() | any_text,
)


@given(missed)
def test_what_an_audit_found_of_deletions_stays_with_its_run(found: MissedDeletions) -> None:
    memory = RunsInMemory()
    run = memory.send(memory.start(RUN), PendingPage("t1", "", 3, [], Checkpoint(), deletions=found))
    memory.runs.save(replace(run, paged_at=5_000), OWNER, 0)
    assert memory.pages.record_outcome(RUN.run_id, 1, "t1", PageOutcome(Counts(updated=3)))
    memory.runs.finish(RUN.run_id, 6_000)
    ended = memory.run(RUN.run_id)
    assert (ended.status, ended.deletions) == ("COMPLETED", found)
