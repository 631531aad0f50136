from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from clerk_sync.aws.items import Items
from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.errors import AwsError, Throttled
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.page import Page
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.run import Run, Status
from clerk_sync.runs.worker import Worker
from clerk_sync.users.drift import placeholder_pattern
from clerk_sync.users.fields import synced
from clerk_sync.users.table_writes import Result
from clerk_sync.users.user import Deletion, User
from clerk_sync.users.values import Json
from clerk_sync.users.write_rule import DELETED, DELETION_GRACE_MS, Row, Write
from tests.support.fake_users_table import FakeUsersTable
from tests.support.pages_in_memory import PagesInMemory
from tests.support.runs import OWNER, RunsInMemory
from tests.support.strategies import stored_as

RUN = Run("audit-1", "audit", create_missing=True, dry_run=True, started_at=1_000)
ADA = User("ada", 1_000, {"firstName": "Ada", "lastName": "Lovelace"})


def test_a_page_leaves_its_counts_its_findings_and_what_webhooks_missed() -> None:
    memory = RunsInMemory()
    memory.send(memory.start(RUN), PendingPage("t1", "", 5, [], Checkpoint()))
    active = User("active", 3, {"lastActiveAt": 70})
    table = FakeUsersTable(
        {
            "ada": stored_as(ADA) | {"lastName": "User", "clerkUpdatedAt": 5},
            "marked": stored_as(User("marked", 3, {})) | {DELETED: 5},
            "active": stored_as(active) | {"lastActiveAt": 3},
            "gone": stored_as(User("gone", 3, {})),
        }
    )
    page = Page(
        run_id=RUN.run_id,
        number=1,
        token="t1",
        read_at=10 * DELETION_GRACE_MS,
        create_missing=True,
        dry_run=False,
        users=(ADA, User("marked", 3, {}), active, User("new", 3, {})),
        deletions=(Deletion("gone", 7),),
        webhooks_since=4,
        full_run_at=60,
    )
    placeholders = placeholder_pattern(["User"])
    worker = Worker(table, memory.runs, memory.pages, PagesInMemory(), placeholders)
    worker.work(page, is_first_delivery=True, is_last_delivery=False)
    findings = memory.pages.findings(RUN.run_id)
    assert {kind: [user["clerkUserId"] for user in found["users"]] for kind, found in findings.items()} == {
        "missing": ["new"],
        "markedButAlive": ["marked"],
        "placeholders": ["ada"],
        "drifted": [],
    }
    counts = memory.run(RUN.run_id).counts
    assert counts == Counts(created=1, updated=4, missed_by_webhooks=1, findings=3)
    assert table.rows["gone"][DELETED] == 7


@pytest.mark.parametrize("extra", [(), ("phoneNumber",)])
def test_page_changes_only_the_fields_that_it_carries(extra: tuple[str, ...]) -> None:
    """Whichever fields are synced by the time when it is delivered."""
    memory = RunsInMemory()
    memory.send(memory.start(RUN), PendingPage("t1", "", 1, [], Checkpoint()))
    names = synced(extra)
    page = Page(
        run_id=RUN.run_id,
        number=1,
        token="t1",
        read_at=10 * DELETION_GRACE_MS,
        create_missing=True,
        dry_run=False,
        names=names,
        users=(User("ada", 1_000, {"firstName": "Ada"}, names),),
    )
    row: Row = {"phoneNumber": "+1555", "publicMetadata": Json("{}")}
    table = FakeUsersTable({"ada": row})
    worker = Worker(table, memory.runs, memory.pages, PagesInMemory(), placeholder_pattern([]))
    worker.work(Page.load(page.dump()), is_first_delivery=True, is_last_delivery=False)
    kept = {name: value for name, value in row.items() if name not in extra}
    assert table.rows["ada"] == {**kept, "firstName": "Ada", "clerkUpdatedAt": 1_000}


# Deliveries that fail


class Scene:
    """One page of three users in a repairing audit: one has no row, one has drifted, one is right."""

    def __init__(self) -> None:
        self.memory = RunsInMemory()
        sent = PendingPage("t1", "", 3, [], Checkpoint())
        run = self.memory.send(self.memory.start(replace(RUN, dry_run=False)), sent)
        self.memory.runs.save(replace(run, paged_at=2_000), OWNER, 0)
        users = (ADA, User("eve", 3, {"lastName": "Eve"}), User("new", 3, {}))
        self.page = Page.of(run, 1, 10 * DELETION_GRACE_MS, create_missing=True, users=users)
        self.page = self.page.model_copy(update={"token": "t1"})
        self.table = FakeUsersTable(
            {"ada": stored_as(ADA), "eve": stored_as(User("eve", 3, {"lastName": "Old"}))}
        )
        self.queue = PagesInMemory()

    def deliver(
        self, delivery: int, *, table: Any = None, pages: Any = None, is_redriven: bool = False
    ) -> None:
        memory = self.memory
        worker = Worker(
            table or self.table, memory.runs, pages or memory.pages, self.queue, placeholder_pattern([])
        )
        is_first = delivery == 1 and not is_redriven
        worker.work(self.page, is_first_delivery=is_first, is_last_delivery=delivery == 5)

    @property
    def counts(self) -> Counts:
        return self.memory.run(RUN.run_id).counts

    @property
    def drifted(self) -> list[str]:
        found = self.memory.pages.findings(RUN.run_id)
        return [user["clerkUserId"] for kind in ("missing", "drifted") for user in found[kind]["users"]]


REPAIRED = Counts(created=1, updated=1, unchanged=1, findings=2)


class UncountedPages(PageLedger):
    """The page's outcome can't be recorded."""

    def record_outcome_fast(self, *_: Any) -> bool:
        raise AwsError("throttled")


def test_redelivery_counts_what_the_delivery_before_wrote() -> None:
    scene = Scene()
    with pytest.raises(AwsError):
        scene.deliver(1, pages=UncountedPages(Items(scene.memory.dynamodb, "RunsTable")))
    assert scene.table.rows["eve"]["lastName"] == "Eve"
    scene.deliver(2)
    assert (scene.counts, scene.drifted) == (REPAIRED, ["new", "eve"])


class HalfWrittenTable(FakeUsersTable):
    """Carries out one write of a call; then DynamoDB is out of reach."""

    def write(self, writes: Sequence[Write]) -> list[Result]:
        super().write(writes[:1])
        raise AwsError("out of reach")


def test_redelivery_counts_what_an_interrupted_delivery_wrote() -> None:
    scene = Scene()
    broken = HalfWrittenTable(scene.table.rows)
    for delivery in (1, 2):
        with pytest.raises(AwsError):
            scene.deliver(delivery, table=broken)
    scene.table.rows = broken.rows
    scene.deliver(3)
    assert (scene.counts, scene.drifted) == (REPAIRED, ["new", "eve"])


def test_where_there_is_nothing_to_write_nothing_is_recorded_before_the_outcome() -> None:
    scene = Scene()
    scene.table.rows = {user.id: dict(stored_as(user)) for user in scene.page.users}
    scene.deliver(1)
    assert "plan" not in scene.memory.dynamodb.items[RUN.run_id, "page#00000001"]
    assert scene.counts == Counts(unchanged=3)


def test_page_that_was_read_again_under_another_token_writes_nothing() -> None:
    scene = Scene()
    scene.page = scene.page.model_copy(update={"token": "old"})
    for delivery in (1, 2):
        scene.deliver(delivery)
    assert scene.table.written == []
    assert scene.counts == Counts()


def test_page_that_is_done_writes_nothing_when_it_is_delivered_again() -> None:
    scene = Scene()
    scene.deliver(1)
    scene.table.rows["eve"]["lastName"] = "Changed by the app"
    scene.deliver(2)
    scene.deliver(1)
    assert (scene.counts, len(scene.table.written)) == (REPAIRED, 2)


def test_last_delivery_that_succeeds_is_not_reported_as_failed() -> None:
    scene = Scene()
    seen: list[Status] = []

    class Watched(FakeUsersTable):
        def write(self, writes: Sequence[Write]) -> list[Result]:
            scene.memory.runs.finish(RUN.run_id, 3_000)
            seen.append(scene.memory.run(RUN.run_id).status)
            return super().write(writes)

    scene.deliver(5, table=Watched(scene.table.rows))
    assert seen == ["RUNNING"]
    assert scene.memory.run(RUN.run_id).status == "COMPLETED"


def test_last_delivery_that_fails_ends_the_run_with_errors() -> None:
    scene = Scene()
    with pytest.raises(AwsError):
        scene.deliver(5, table=HalfWrittenTable(scene.table.rows))
    run = scene.memory.run(RUN.run_id)
    assert (run.status, run.counts, run.given_up_pages) == ("COMPLETED_WITH_ERRORS", Counts(errors=3), 1)


def test_redrive_counts_what_the_deliveries_before_wrote() -> None:
    scene = Scene()
    broken = HalfWrittenTable(scene.table.rows)
    for delivery in range(1, 6):
        with pytest.raises(AwsError):
            scene.deliver(delivery, table=broken)
    assert scene.counts == Counts(errors=3)
    scene.table.rows = broken.rows
    scene.deliver(1, is_redriven=True)
    assert (scene.counts, scene.drifted) == (REPAIRED, ["new", "eve"])


def test_page_of_a_run_that_was_deleted_leaves_nothing_behind() -> None:
    scene = Scene()
    del scene.memory.dynamodb.items[RUN.run_id, "run"]
    scene.deliver(1)
    assert scene.memory.runs.get(RUN.run_id) is None


# Pages that DynamoDB throttles


class ThrottledTable(FakeUsersTable):
    """Carries out one write of each call."""

    def write(self, writes: Sequence[Write]) -> list[Result]:
        return [*super().write(writes[:1]), *[Throttled("no")] * len(writes[1:])]


def test_throttled_page_is_continued_in_a_new_message_with_the_users_that_are_left() -> None:
    scene = Scene()
    table = ThrottledTable(scene.table.rows)
    scene.deliver(1, table=table)
    assert (scene.counts, scene.queue.delays) == (Counts(), [0])
    scene.page = Page.load(scene.queue.messages[0])
    assert ([user.id for user in scene.page.users], scene.page.part) == (["new"], 1)
    scene.deliver(1, table=table)
    assert (scene.counts, scene.drifted) == (REPAIRED, ["new", "eve"])


def test_message_that_was_continued_writes_nothing_when_it_is_delivered_again() -> None:
    scene = Scene()
    first, table = scene.page, ThrottledTable(scene.table.rows)
    scene.deliver(1, table=table)
    scene.page = Page.load(scene.queue.messages[0])
    with pytest.raises(AwsError):
        scene.deliver(1, pages=UncountedPages(Items(scene.memory.dynamodb, "RunsTable")), table=table)
    after_first, scene.page = scene.page, first
    scene.deliver(2)
    assert scene.counts == Counts(), "its continuation has begun to write"
    scene.page = after_first
    scene.deliver(2, table=table)
    assert (scene.counts, scene.drifted) == (REPAIRED, ["new", "eve"])


def test_page_that_is_throttled_again_and_again_waits_longer_each_time() -> None:
    scene = Scene()

    class FullTable(FakeUsersTable):
        def read_available(self, user_ids: Any, *, consistent: bool = False) -> Any:  # noqa: ARG002
            return {}, set(user_ids)

    for _ in range(6):
        scene.deliver(1, table=FullTable())
        scene.page = Page.load(scene.queue.messages.pop())
    assert scene.queue.delays == [15, 60, 240, 900, 900, 900]
