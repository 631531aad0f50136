"""Which run an event starts or joins, and what only a new run can report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any, cast

import pytest

from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.errors import AwsError, ClerkUnavailable, EventError
from clerk_sync.runs import backfill, invocation, lease
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.events import Request, audit_request, backfill_request
from clerk_sync.runs.invocation import OVERLAP_MS, Invocation
from clerk_sync.runs.page import Page, PageOutcome
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.queue import PagesQueue
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.run import STALE_MS, Mode, Run
from clerk_sync.users.fields import DEFAULT_NAMES
from clerk_sync.users.table import UsersTable
from clerk_sync.users.user import UserProblem
from tests.support import runs as in_memory
from tests.support.fake_clerk import ClerkInMemory
from tests.support.fake_dynamodb import peaceful_dynamodb
from tests.support.fake_users_table import FakeUsersTable
from tests.support.metrics import RecordedMetrics
from tests.support.runs import OWNER, UNTIL, RunsInMemory

NOW = 1_800_000_000_000
HOUR_MS = 3_600_000
LONG_AGO = NOW - STALE_MS - 1
CLOCKED: tuple[ModuleType, ...] = (backfill, invocation, lease)


class EmptyClerk(ClerkInMemory):
    """Has no users."""

    def count(self) -> int:
        return 0

    def users(self, **query: str | int | Sequence[str]) -> list[Any]:  # noqa: ARG002
        return []


class SilentClerk(EmptyClerk):
    """Gives no usable answer."""

    def count(self) -> int:
        raise ClerkUnavailable("no usable answer")


class BusyQueue(PagesQueue):
    """Still has what was put there."""

    def __init__(self) -> None:
        pass

    def is_drained(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in CLOCKED:
        monkeypatch.setattr(module, "now_ms", lambda: NOW)


def invoke(memory: RunsInMemory, mode: Mode, clerk: type[EmptyClerk] = EmptyClerk) -> None:
    """Invoke BackfillFunction."""
    backfill.backfill(resources(memory, clerk), backfill_request({"mode": mode, "waitSeconds": 0}))


def resources(memory: RunsInMemory, clerk: type[EmptyClerk] = EmptyClerk) -> Resources:
    return in_memory.resources(memory, BusyQueue(), clerk)


def start_another(memory: RunsInMemory, mode: Mode) -> None:
    """Invoke BackfillFunction, and be sure that it starts a run."""
    before = memory.runs.current(mode).run_id
    invoke(memory, mode)
    assert memory.runs.current(mode).run_id != before


def a_run(mode: Mode, started_at: int) -> Run:
    return Run(
        f"{mode}-{started_at}",
        mode,
        create_missing=True,
        dry_run=False,
        started_at=started_at,
        users_table="users",
    )


@pytest.mark.parametrize("request_of", [backfill_request, audit_request])
def test_an_unknown_run_id_is_an_error_and_starts_nothing(
    memory: RunsInMemory, request_of: Callable[[Any], Request]
) -> None:
    request = request_of({"runId": "hello"})
    with pytest.raises(EventError, match="Nothing was started: there is no run hello"):
        Invocation(resources(memory), request).open()
    assert memory.dynamodb.items == {}


def test_a_run_id_that_has_expired_is_an_error_and_starts_nothing(memory: RunsInMemory) -> None:
    run_id = memory.paged(a_run("full", NOW), counts=Counts(created=9))
    del memory.dynamodb.items[run_id, "run"]
    with pytest.raises(EventError, match=f"there is no run {run_id}"):
        Invocation(resources(memory), backfill_request({"runId": run_id})).open()
    assert memory.runs.current("full").run is None


def test_a_run_that_cannot_end_is_given_up_after_a_day_and_not_before(memory: RunsInMemory) -> None:
    lately, long_ago = a_run("full", NOW - STALE_MS), a_run("full", LONG_AGO)
    for run in (lately, long_ago):
        assert memory.runs.start(run, after=memory.runs.current("full"))
        with pytest.raises(ClerkUnavailable, match="stays open"):
            invoke(memory, "full", SilentClerk)
    assert memory.run(lately.run_id).status == "RUNNING"
    given_up = memory.run(long_ago.run_id)
    assert given_up.status == "FAILED"
    assert "no usable answer" in (given_up.failure or "")
    new = memory.runs.current("full").run
    assert new
    assert (new.started_at, new.status) == (NOW, "RUNNING"), "another was started instead"


@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize(
    ("under_way", "overdue"),
    [
        ({}, 0),
        ({"audit": LONG_AGO}, 1),
        ({"audit": NOW - STALE_MS}, 0),
        ({"full": LONG_AGO}, 1),
        ({"incremental": LONG_AGO}, 1),
        ({"full": LONG_AGO, "incremental": LONG_AGO, "audit": LONG_AGO}, 3),
    ],
)
def test_a_new_run_counts_the_overdue_runs_of_every_mode(
    mode: Mode,
    under_way: Mapping[Mode, int],
    overdue: int,
    memory: RunsInMemory,
    recorded: RecordedMetrics,
) -> None:
    for other, started_at in under_way.items():
        memory.paged(a_run(other, started_at))
    start_another(memory, mode)
    assert recorded.values("RunsOverdue") == [overdue]


def test_a_run_that_has_ended_is_not_overdue(memory: RunsInMemory, recorded: RecordedMetrics) -> None:
    modes: tuple[Mode, ...] = ("full", "incremental", "audit")
    for mode in modes:
        memory.runs.finish(memory.paged(a_run(mode, LONG_AGO), counts=Counts(unchanged=9)), NOW)
    start_another(memory, "full")
    assert recorded.values("RunsOverdue") == [0]


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_new_run_records_how_long_ago_the_last_full_run_started(
    mode: Mode, memory: RunsInMemory, recorded: RecordedMetrics
) -> None:
    start_another(memory, mode)
    assert recorded.values("HoursSinceLastFullRun") == [], "there was none"
    full = memory.paged(a_run("full", NOW - 30 * HOUR_MS), counts=Counts(unchanged=9))
    memory.runs.finish(full, NOW)
    start_another(memory, mode)
    assert recorded.values("HoursSinceLastFullRun") == [30]


# The watermark: from where an incremental run reads


def incremental_since(memory: RunsInMemory, **changed: Any) -> int | None:
    """How far back an incremental run reads that is started now."""
    asked = replace(resources(memory), **changed)
    return Invocation(asked, backfill_request({"mode": "incremental"})).open().since


def a_full_run(memory: RunsInMemory, *outcomes: Counts | None, malformed: int = 0) -> str:
    """A full run that has ended, an hour ago, with a page for each outcome; None: its page was given up."""
    memory.instance.remember("ins_1")
    run = replace(memory.start(a_run("full", NOW - HOUR_MS)), instance_id="ins_1")
    problems = [UserProblem(f"user_{n}", "odd") for n in range(malformed)]
    for number, _ in enumerate(outcomes, 1):
        run = memory.send(run, PendingPage(f"t{number}", "", 9, problems, Checkpoint()))
    memory.runs.save(replace(run, paged_at=run.started_at), OWNER, 0)
    for number, outcome in enumerate(outcomes, 1):
        assert memory.pages.record_outcome(
            run.run_id, number, f"t{number}", PageOutcome(outcome) if outcome else None
        )
    memory.runs.finish(run.run_id, NOW)
    return run.run_id


WRITTEN = Counts(unchanged=9)
SINCE = NOW - HOUR_MS - OVERLAP_MS


def test_incremental_run_reads_back_to_the_last_complete_run(memory: RunsInMemory) -> None:
    a_full_run(memory, WRITTEN, WRITTEN)
    assert incremental_since(memory) == SINCE


def test_incremental_run_reads_everybody_after_a_run_with_a_page_given_up(memory: RunsInMemory) -> None:
    a_full_run(memory, WRITTEN, None)
    assert incremental_since(memory) is None


def test_redriven_page_completes_the_run_and_moves_the_watermark(memory: RunsInMemory) -> None:
    run_id = a_full_run(memory, WRITTEN, None)
    assert memory.pages.record_outcome(run_id, 2, "t2", PageOutcome(WRITTEN))
    run = memory.runs.finish(run_id, NOW)
    assert run
    assert (run.status, run.given_up_pages) == ("COMPLETED", 0)
    assert incremental_since(memory) == SINCE


def test_malformed_users_do_not_hold_the_watermark_back(memory: RunsInMemory) -> None:
    run_id = a_full_run(memory, WRITTEN, malformed=3)
    assert memory.run(run_id).status == "COMPLETED_WITH_ERRORS"
    assert incremental_since(memory) == SINCE


def test_run_with_a_page_given_up_is_not_the_last_full_run(
    memory: RunsInMemory, recorded: RecordedMetrics
) -> None:
    a_full_run(memory, None)
    incremental_since(memory)
    assert recorded.values("HoursSinceLastFullRun") == []


def test_incremental_run_that_was_given_up_leaves_the_watermark_where_it_was(memory: RunsInMemory) -> None:
    a_full_run(memory, WRITTEN)
    for _ in range(2):  # the second is started after one that gave up a page
        assert incremental_since(memory) == SINCE
        run_id = memory.runs.current("incremental").run_id or ""
        run = memory.runs.acquire(run_id, OWNER, NOW, UNTIL)
        assert run
        sent = memory.send(run, PendingPage("t1", "", 9, [], Checkpoint()))
        memory.runs.save(replace(sent, paged_at=NOW), OWNER, 0)
        memory.pages.record_outcome(run_id, 1, "t1", None)
        memory.runs.finish(run_id, NOW)


def test_dry_run_sets_no_watermark(memory: RunsInMemory) -> None:
    run_id = memory.paged(replace(a_run("full", NOW - HOUR_MS), dry_run=True), counts=WRITTEN)
    memory.runs.finish(run_id, NOW)
    assert incremental_since(memory) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"create_missing": False},
        {"users_table": UsersTable(cast(Any, None), "another", "clerkUserId")},
        {"users_table": UsersTable(cast(Any, None), "users", "clerkUserId", (*DEFAULT_NAMES, "phoneNumber"))},
    ],
)
def test_watermark_of_another_table_create_missing_or_fields_does_not_count(
    memory: RunsInMemory, changed: Mapping[str, Any]
) -> None:
    a_full_run(memory, WRITTEN)
    assert incremental_since(memory, **changed) is None


def test_watermark_of_a_version_without_extra_fields_counts_for_the_default_ones() -> None:
    run = a_run("full", 1)
    assert run.scope.fields == ",".join(DEFAULT_NAMES)
    assert run.names == DEFAULT_NAMES


def test_watermark_of_another_instance_does_not_count(memory: RunsInMemory) -> None:
    a_full_run(memory, WRITTEN)
    memory.dynamodb.items.pop(("instance", "users"))
    assert incremental_since(memory) is None


# The Clerk instance


class InstanceTwo(EmptyClerk):
    def instance_id(self) -> str:
        return "ins_2"


class AnotherInstance(InstanceTwo):
    def users(self, **query: str | int | Sequence[str]) -> list[Any]:  # noqa: ARG002
        raise AssertionError("nobody is read from another instance")


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_run_with_the_key_of_another_instance_fails_before_it_reads_anybody(
    memory: RunsInMemory, mode: Mode
) -> None:
    invoke(memory, mode)
    invoke(memory, mode, AnotherInstance)
    run = memory.runs.current(mode).run
    assert run
    assert (run.status, run.pages) == ("FAILED", 0)
    assert "instance ins_2, but table users belongs to ins_1" in (run.failure or "")


def test_first_run_remembers_the_instance(memory: RunsInMemory) -> None:
    invoke(memory, "full", InstanceTwo)
    assert memory.instance.read() == "ins_2"


def test_dry_run_remembers_no_instance(memory: RunsInMemory) -> None:
    backfill.backfill(resources(memory), backfill_request({"dryRun": True, "waitSeconds": 0}))
    assert memory.instance.read() is None


def test_run_begun_on_one_instance_is_not_continued_on_another(memory: RunsInMemory) -> None:
    with pytest.raises(ClerkUnavailable):
        invoke(memory, "full", SilentClerk)
    memory.dynamodb.items.pop(("instance", "users"))  # the table was moved on purpose
    invoke(memory, "full", AnotherInstance)
    run = memory.runs.current("full").run
    assert run
    assert run.status == "FAILED"


# Runs that an earlier invocation left behind


def test_run_whose_last_step_failed_is_over_at_the_next_invocation(memory: RunsInMemory) -> None:
    run_id = memory.paged(a_run("full", NOW), counts=WRITTEN)
    assert memory.run(run_id).status == "RUNNING", "no one has set its status yet"
    asked = backfill_request({"waitSeconds": 0})
    Invocation(resources(memory), asked).open()
    assert memory.run(run_id).status == "COMPLETED"


def test_run_that_another_invocation_starts_meanwhile_is_joined() -> None:
    another = a_run("full", NOW)

    def edge[T](what: str, action: Callable[[], T], *, can_repeat: bool = False) -> T:
        answer = action()
        if what.startswith("update run status="):  # the run that this invocation looks at is over
            assert memory.runs.start(another, after=memory.runs.current("full"))
        return answer

    memory = RunsInMemory(peaceful_dynamodb(edge))
    memory.paged(a_run("full", NOW - HOUR_MS), counts=WRITTEN)
    run = Invocation(resources(memory), backfill_request({"waitSeconds": 0})).open()
    assert run.run_id == another.run_id
    assert memory.runs.current("full").run_id == another.run_id


class OnePageClerk(EmptyClerk):
    """Has one user."""

    def count(self) -> int:
        return 1

    def users(self, **query: str | int | Sequence[str]) -> list[Any]:
        user = {"id": "user_1", "created_at": 1, "updated_at": 1}
        return [] if "starting_after" in query else [user]


class UnansweredQueue(BusyQueue):
    """Takes every message, and its answers are lost."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def send(self, messages: Sequence[str]) -> None:
        self.messages += messages
        raise AwsError("SQS gave no answer")


def test_page_whose_send_got_no_answer_does_not_count_in_a_run_that_is_given_up(memory: RunsInMemory) -> None:
    run = memory.start(a_run("full", LONG_AGO))
    queue = UnansweredQueue()
    memory.runs.release(run, OWNER)
    asked = backfill_request({"runId": run.run_id, "waitSeconds": 0})
    result = backfill.backfill(replace(resources(memory, OnePageClerk), queue=queue), asked)
    assert result["status"] == "FAILED"
    page = Page.load(queue.messages[0])
    created = PageOutcome(Counts(created=1))
    assert not memory.pages.record_outcome(page.run_id, page.number, page.token, created)
    assert memory.run(run.run_id).counts.total == memory.run(run.run_id).total_users == 0


class AnotherTable(FakeUsersTable):
    table = "another"


def test_run_is_not_continued_on_another_table(memory: RunsInMemory) -> None:
    """Its users would be spread over two tables, and it would look complete."""
    begun = memory.start(a_run("full", NOW - HOUR_MS))
    memory.runs.release(begun, OWNER)
    moved = replace(resources(memory), users_table=AnotherTable())
    result = backfill.backfill(moved, backfill_request({"waitSeconds": 0}))
    ended = memory.run(begun.run_id)
    assert ended.status == "FAILED"
    assert "began with table 'users', but the functions now write to 'another'" in (ended.failure or "")
    new = memory.runs.current("full").run
    assert new
    assert (new.users_table, new.status, result["runId"]) == ("another", "COMPLETED", new.run_id)


@pytest.mark.parametrize("names", [DEFAULT_NAMES, (*DEFAULT_NAMES, "phoneNumber")])
def test_run_of_other_fields_is_followed_by_a_run_of_the_current_fields(
    memory: RunsInMemory, names: tuple[str, ...]
) -> None:
    begun = memory.paged(a_run("full", NOW - HOUR_MS))
    table = FakeUsersTable()
    table.names = names
    changed = replace(resources(memory), users_table=table)
    result = backfill.backfill(changed, backfill_request({"waitSeconds": 0}))
    assert (result["runId"] == begun) == (names == DEFAULT_NAMES)
    assert memory.run(result["runId"]).names == names


@pytest.mark.parametrize("event", [{}, {"dryRun": True}, {"createMissing": False}, {"mode": "full"}])
def test_left_over_run_is_continued_with_the_original_event(
    memory: RunsInMemory, event: Mapping[str, Any]
) -> None:
    run = memory.start(a_run("full", LONG_AGO))
    asking = Invocation(resources(memory), backfill_request(event))
    assert asking.continuation(run) == {**event, "waitSeconds": 45}


def test_run_that_fits_the_event_is_continued_by_its_id(
    memory: RunsInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = Invocation(resources(memory), backfill_request({"waitSeconds": 0}))
    run = asking.open()
    assert asking.continuation(run) == {"runId": run.run_id, "waitSeconds": 0}
    monkeypatch.setattr(invocation, "now_ms", lambda: NOW + STALE_MS * 2)
    later = Invocation(resources(memory), backfill_request({"runId": run.run_id}))
    assert later.continuation(run) == {"runId": run.run_id, "waitSeconds": 45}


def test_run_that_starts_beside_another_logs_which(
    memory: RunsInMemory, caplog: pytest.LogCaptureFixture
) -> None:
    audit = memory.start(a_run("audit", NOW))
    invoke(memory, "full")
    [started] = [record for record in caplog.records if record.getMessage() == "run_started"]
    assert started.__dict__["beside"] == [audit.run_id]
