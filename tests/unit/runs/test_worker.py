from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.runs.page import Page
from clerk_sync.runs.page_record import PendingPage
from clerk_sync.runs.run import Counts, Run
from clerk_sync.runs.worker import work
from clerk_sync.users.drift import placeholder_pattern
from clerk_sync.users.row import DELETED
from clerk_sync.users.user import Deletion, User
from clerk_sync.users.write_rule import DELETION_GRACE_MS
from tests.support.fake_users_table import FakeUsersTable
from tests.support.runs import RunsInMemory
from tests.support.strategies import stored_as

RUN = Run("audit-1", "audit", create_missing=True, dry_run=True, started_at=1_000)
ADA = User("ada", 1_000, {"firstName": "Ada", "lastName": "Lovelace"})


def test_a_page_leaves_its_counts_its_findings_and_what_webhooks_missed() -> None:
    memory = RunsInMemory()
    memory.send(memory.start(RUN), PendingPage("t1", 5, [], Checkpoint()))
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
    work(page, table, memory.runs, memory.pages, placeholders=placeholders, is_last_delivery=False)
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
