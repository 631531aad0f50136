import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from clerk_sync.aws.items import Items
from clerk_sync.errors import AwsError, RowRefused
from clerk_sync.users.table import TableInstance
from clerk_sync.users.user import User, parse_user
from clerk_sync.users.write_rule import DELETED, DELETION_GRACE_MS, VERSION
from clerk_sync.webhook.arrivals import Arrivals
from clerk_sync.webhook.event import parse_webhook
from clerk_sync.webhook.processor import INSTANCE_KEPT_MS, WebhookProcessor
from tests.local.clerk.fake_users import make_user
from tests.support.fake_dynamodb import peaceful_dynamodb
from tests.support.fake_users_table import FakeUsersTable
from tests.support.strategies import stored_as

NOW = 1_800_000_000_000
USER = make_user(1)
ID = USER["id"]
SNAPSHOT = parse_user(USER, NOW)
assert isinstance(SNAPSHOT, User)
STORED = stored_as(SNAPSHOT)
IMPERSONATED = {"user_id": ID, "user": None, "actor": {"sub": "user_support"}}


class FailingTable:
    """RunsTable when DynamoDB does not answer; `asked` counts the requests."""

    def __init__(self) -> None:
        self.asked = 0

    def get_item(self, **_: Any) -> Any:
        self.asked += 1
        raise AwsError("AWS failed reading from Runs")

    update_item = get_item


@dataclass
class World:
    """A table, RunsTable, a clock, and what was logged and counted."""

    runs_table: Any = field(default_factory=peaceful_dynamodb)
    table: FakeUsersTable = field(default_factory=FakeUsersTable)
    now: int = NOW
    counted: list[str] = field(default_factory=list)

    def processor(self, *, create_missing: bool = True) -> WebhookProcessor:
        return WebhookProcessor(
            self.table,
            TableInstance(Items(self.runs_table, "Runs"), "Users"),
            Arrivals(Items(self.runs_table, "Runs")),
            create_missing=create_missing,
        )

    def belongs_to(self, instance_id: str) -> None:
        TableInstance(Items(self.runs_table, "Runs"), "Users").remember(instance_id)

    def arrivals(self) -> tuple[int, int] | None:
        found = Arrivals(Items(self.runs_table, "Runs")).read()
        return (found.first_at, found.last_at) if found else None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr("clerk_sync.webhook.processor.now_ms", lambda: world.now)
    monkeypatch.setattr("clerk_sync.webhook.processor.record", lambda **values: world.counted.extend(values))
    return world


def event(kind: str = "user.updated", data: Any = USER, **envelope: Any) -> Any:
    return parse_webhook(json.dumps({"type": kind, "data": data, "timestamp": NOW} | envelope).encode(), NOW)


def test_change_is_stored_and_counted(world: World) -> None:
    world.processor().process(event())
    assert world.table.rows == {ID: STORED}
    assert world.counted == ["WebhooksAccepted"]
    assert world.arrivals() == (NOW, NOW)


def test_unknown_user_without_create_missing_gets_no_row(world: World) -> None:
    world.processor(create_missing=False).process(event())
    assert world.table.rows == {}


@pytest.mark.parametrize(
    ("kind", "data", "is_arrival"),
    [
        ("organization.created", {"id": "org_1"}, False),
        ("session.created", IMPERSONATED, True),
        ("user.updated", {"id": ID}, True),
        ("user.deleted", {}, True),
    ],
)
def test_event_without_a_change_is_counted_as_ignored(
    kind: str, data: Any, is_arrival: bool, world: World
) -> None:
    world.table.rows[ID] = dict(STORED)
    world.processor().process(event(kind, data))
    assert world.table.rows == {ID: STORED}
    assert world.counted == ["WebhooksIgnored"]
    assert (world.arrivals() is not None) == is_arrival


# Deletion marks


def test_snapshot_read_after_a_deletion_removes_the_mark(world: World) -> None:
    world.table.rows[ID] = {DELETED: NOW - DELETION_GRACE_MS - 1}
    world.processor().process(event())
    assert world.table.rows == {ID: STORED}


@pytest.mark.parametrize("timestamp", [None, 0, "now", NOW * 1000])
def test_snapshot_without_timestamp_never_removes_a_deletion_mark(timestamp: Any, world: World) -> None:
    world.table.rows[ID] = {DELETED: 1, VERSION: 1}
    world.processor().process(event(timestamp=timestamp))
    assert world.table.rows == {ID: STORED | {DELETED: 1}}


def test_deletion_without_timestamp_is_dated_by_the_delivery(world: World) -> None:
    world.processor().process(event("user.deleted", {"id": ID}, timestamp=None))
    assert world.table.rows == {ID: {DELETED: NOW}}


# Other instances


@pytest.mark.parametrize(
    ("kind", "data"),
    [("user.updated", USER), ("user.deleted", {"id": ID}), ("session.created", {"user_id": ID})],
)
def test_webhook_of_another_instance_is_ignored_and_counted(kind: str, data: Any, world: World) -> None:
    world.belongs_to("ins_1")
    world.processor().process(event(kind, data, instance_id="ins_2"))
    assert world.table.rows == {}
    assert world.counted == ["WebhooksIgnored"]
    assert world.arrivals() is None


@pytest.mark.parametrize("envelope", [{"instance_id": "ins_1"}, {"instance_id": None}, {}])
def test_webhook_of_the_remembered_instance_or_of_no_instance_is_stored(
    envelope: dict[str, Any], world: World
) -> None:
    world.belongs_to("ins_1")
    world.processor().process(event(**envelope))
    assert world.table.rows == {ID: STORED}


def test_webhook_is_stored_while_no_instance_is_remembered(world: World) -> None:
    world.processor().process(event(instance_id="ins_2"))
    assert world.table.rows == {ID: STORED}


def test_remembered_instance_is_read_once_a_minute(world: World) -> None:
    processor = world.processor()
    processor.process(event(instance_id="ins_1"))
    world.belongs_to("ins_2")
    world.now += INSTANCE_KEPT_MS - 1
    processor.process(event("user.deleted", {"id": "user_2"}, instance_id="ins_1"))
    assert world.table.rows.keys() == {ID, "user_2"}
    world.now += 1
    processor.process(event("user.deleted", {"id": "user_3"}, instance_id="ins_1"))
    processor.process(event("user.deleted", {"id": "user_4"}, instance_id="ins_2"))
    assert world.table.rows.keys() == {ID, "user_2", "user_4"}


# RunsTable fails


def test_webhook_is_stored_while_runs_table_fails(world: World) -> None:
    world.runs_table = FailingTable()
    processor = world.processor()
    for n in range(10):
        processor.process(event("user.deleted", {"id": f"user_{n}"}, instance_id="ins_1"))
    assert len(world.table.rows) == 10
    assert world.counted == ["WebhooksAccepted"] * 10
    assert world.runs_table.asked == 2, "the instance and the arrival, neither for every webhook"


def test_row_that_dynamodb_refuses_is_set_aside_with_its_reason(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise RowRefused("Item size has exceeded the maximum allowed size")

    world.table.rivals = [refuse]
    world.processor().process(event())
    assert world.counted == ["WebhooksIgnored"]
    assert world.arrivals() is not None
    [record] = [record for record in caplog.records if record.message == "user_set_aside"]
    assert (record.clerkUserId, record.reason) == (ID, "Item size has exceeded the maximum allowed size")  # type: ignore[attr-defined]


def test_users_table_that_fails_is_raised_and_not_an_arrival(world: World) -> None:
    def fail() -> None:
        raise AwsError("down")

    world.table.rivals = [fail]
    with pytest.raises(AwsError):
        world.processor().process(event())
    assert world.counted == []
    assert world.arrivals() is None
