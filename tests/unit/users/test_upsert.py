from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.errors import AwsError, RowRefused
from clerk_sync.users.fields import synced
from clerk_sync.users.upsert import Outcome, Plan, Planned, Stored, store, upsert
from clerk_sync.users.user import Change, User
from clerk_sync.users.values import FieldValue, Json, Value
from clerk_sync.users.write_rule import ACTIVITY, DELETED, DELETION_GRACE_MS, VERSION, Row, Write
from tests.support.fake_users_table import FakeUsersTable
from tests.support.outcomes import Counted, counted
from tests.support.strategies import NOW, changes, owned_part, plausible, rows, stored_as, users

IDS = ["user_1", "user_2", "user_3"]
AS_OF = DELETION_GRACE_MS + 10
"""Past the grace of every mark that `rows` makes."""

tables = st.fixed_dictionaries({}, optional=dict.fromkeys(IDS, rows))
some_users = st.lists(users(st.sampled_from(IDS)), max_size=6)


def total(outcome: Outcome) -> int:
    return outcome.created + outcome.updated + outcome.unchanged + outcome.skipped + len(outcome.problems)


def test_users_are_counted_by_outcome() -> None:
    right, stale = User("right", 5, {"firstName": "Ada"}), User("stale", 4, {})
    table = FakeUsersTable({"right": stored_as(right), "stale": stored_as(stale)}, refused=["impossible"])
    given_users = [right, User("stale", 5, {}), User("new", 1, {}), User("impossible", 1, {})]
    outcome = upsert(table, given_users, as_of=1, now=NOW, create_missing=True)
    assert (outcome.created, outcome.updated, outcome.unchanged, outcome.skipped) == (1, 1, 1, 0)
    assert [(problem.clerk_user_id, problem.reason) for problem in outcome.problems] == [("impossible", "no")]
    assert table.rows["new"] == stored_as(User("new", 1, {}))


def test_unknown_users_are_skipped_and_counted() -> None:
    table = FakeUsersTable()
    outcome = upsert(table, [User("a", 1, {}), User("b", 1, {})], as_of=1, now=NOW, create_missing=False)
    assert counted(outcome) == Counted(skipped=2)
    assert table.rows == {}


def test_upsert_of_nothing_does_nothing() -> None:
    outcome = upsert(FakeUsersTable(), [], as_of=1, now=NOW, create_missing=True)
    assert counted(outcome) == Counted()


def test_user_given_twice_is_written_once_with_the_newer_version() -> None:
    older, newer = User("a", 1, {"firstName": "Old"}), User("a", 2, {"firstName": "New"})
    for pair in ([older, newer], [newer, older]):
        table = FakeUsersTable()
        outcome = upsert(table, pair, as_of=1, now=NOW, create_missing=True)
        assert counted(outcome) == Counted(created=1, unchanged=1)
        assert table.rows == {"a": stored_as(newer)}
        assert len(table.written) == 1


@given(tables, some_users, st.booleans(), st.booleans(), st.sets(st.sampled_from(IDS)))
def test_counts_add_up_to_the_users_given(
    start: dict[str, Row], given_users: list[User], create: bool, dry_run: bool, refused: set[str]
) -> None:
    table = FakeUsersTable(start, refused=refused)
    outcome = upsert(table, given_users, as_of=AS_OF, now=NOW, create_missing=create, dry_run=dry_run)
    assert total(outcome) == len(given_users)
    assert len(table.written) == (0 if dry_run else outcome.created + outcome.updated)


@given(tables, some_users, st.booleans(), st.integers(0, AS_OF))
def test_dry_run_writes_nothing_and_has_the_same_outcome(
    start: dict[str, Row], given_users: list[User], create: bool, as_of: int
) -> None:
    dry, real = FakeUsersTable(start), FakeUsersTable(start)
    before = deepcopy(dry.rows)
    foreseen = upsert(dry, given_users, as_of=as_of, now=NOW, create_missing=create, dry_run=True)
    assert foreseen == upsert(real, given_users, as_of=as_of, now=NOW, create_missing=create)
    assert dry.rows == before
    assert not dry.written


@given(tables, some_users, st.integers(0, AS_OF))
def test_repeated_upsert_changes_nothing(start: dict[str, Row], given_users: list[User], as_of: int) -> None:
    table = FakeUsersTable(start)
    upsert(table, given_users, as_of=as_of, now=NOW, create_missing=True)
    before = deepcopy(table.rows)
    assert counted(upsert(table, given_users, as_of=as_of, now=NOW, create_missing=True)) == Counted(
        unchanged=len(given_users)
    )
    assert table.rows == before


def test_rows_that_an_earlier_call_wrote_count_as_it_planned() -> None:
    given_users = [User("new", 5, {}), User("stale", 5, {}), User("left", 5, {}), User("right", 5, {})]
    table = FakeUsersTable(
        {"stale": stored_as(User("stale", 4, {})), "right": stored_as(User("right", 5, {}))}
    )
    first, second = list[Plan](), list[Plan]()
    upsert(table, given_users, as_of=1, now=NOW, create_missing=True, before_writing=first.append)
    assert first == [{"new": Planned(True), "stale": Planned(False), "left": Planned(True)}]
    table.rows["left"] = stored_as(User("left", 4, {}))
    outcome = upsert(
        table,
        given_users,
        as_of=1,
        now=NOW,
        create_missing=True,
        earlier=first[0],
        before_writing=second.append,
    )
    assert counted(outcome) == Counted(created=1, updated=2, unchanged=1)
    assert second == first


def test_plan_of_a_dry_run_is_not_announced() -> None:
    plans: list[Plan] = []
    upsert(
        FakeUsersTable(),
        [User("a", 1, {})],
        as_of=1,
        now=NOW,
        create_missing=True,
        dry_run=True,
        before_writing=plans.append,
    )
    assert plans == []


def newest_of(batches: list[list[User]], user_id: str) -> User:
    return max(
        (user for batch in batches for user in batch if user.id == user_id), key=lambda u: u.updated_at
    )


@st.composite
def rival_batches(draw: st.DrawFn) -> list[list[User]]:
    """Batches of snapshots, no two of a user with the same version."""
    batches = draw(st.lists(st.lists(users(st.sampled_from(IDS)), max_size=4), min_size=2, max_size=5))
    numbers = iter(draw(st.permutations(range(20))))
    return [[plausible(user.id, next(numbers), user.fields) for user in batch] for batch in batches]


@given(rival_batches(), tables.map(lambda start: {k: v for k, v in start.items() if k != "user_1"}))
def test_interleaved_upserts_end_as_the_newest_snapshots(
    batches: list[list[User]], start: dict[str, Row]
) -> None:
    # Each one is interrupted, between reading and writing, by the whole of the next one.
    start = {user_id: owned_part({**found, "clerkUpdatedAt": "?"}) for user_id, found in start.items()}
    table = FakeUsersTable(start)
    outcomes = [Outcome()] * len(batches)

    def run(n: int) -> None:
        outcomes[n] = upsert(table, batches[n], as_of=AS_OF, now=NOW, create_missing=True)

    table.rivals = [partial(run, n) for n in range(1, len(batches))]
    run(0)
    for rival in table.rivals:
        rival()
    for user_id in {user.id for batch in batches for user in batch}:
        assert owned_part(table.rows[user_id]) == stored_as(newest_of(batches, user_id))
    assert [total(outcome) for outcome in outcomes] == [len(batch) for batch in batches]


def change(table: FakeUsersTable, user: User) -> Callable[[], None]:
    def rival() -> None:
        table.rows[user.id] = stored_as(user)

    return rival


def test_lost_insert_is_decided_again_on_the_row_that_was_found() -> None:
    table = FakeUsersTable()
    table.rivals = [change(table, User("a", 3, {"firstName": "Newer"}))]
    outcome = upsert(table, [User("a", 2, {}), User("b", 2, {})], as_of=1, now=NOW, create_missing=True)
    assert counted(outcome) == Counted(created=1, unchanged=1)
    assert table.rows["a"] == stored_as(User("a", 3, {"firstName": "Newer"}))
    assert table.reads == [["a", "b"], ["a"]], "only who was lost is read again"


def test_row_that_the_first_read_misses_is_updated() -> None:
    table = FakeUsersTable({"a": stored_as(User("a", 1, {}))})
    table.unseen = {"a"}
    outcome = upsert(table, [User("a", 2, {"firstName": "Ada"})], as_of=1, now=NOW, create_missing=True)
    assert counted(outcome) == Counted(updated=1)
    assert table.rows["a"] == stored_as(User("a", 2, {"firstName": "Ada"}))


def test_lost_update_is_decided_again_without_another_read() -> None:
    table = FakeUsersTable({"a": stored_as(User("a", 1, {}))})
    table.rivals = [change(table, User("a", 2, {"lastName": "Between"}))]
    outcome = upsert(table, [User("a", 3, {"firstName": "Ada"})], as_of=1, now=NOW, create_missing=True)
    assert counted(outcome) == Counted(updated=1)
    assert table.rows["a"] == stored_as(User("a", 3, {"firstName": "Ada"}))
    assert table.reads == [["a"]]


def test_deletion_between_read_and_write_stays() -> None:
    marked = {**stored_as(User("a", 1, {})), DELETED: 500}
    table = FakeUsersTable({"a": stored_as(User("a", 1, {}))})
    table.rivals = [lambda: table.rows.update(a=dict(marked))]
    outcome = upsert(table, [User("a", 2, {})], as_of=400, now=NOW, create_missing=True)
    assert counted(outcome) == Counted(updated=1)
    assert table.rows["a"] == {**stored_as(User("a", 2, {})), DELETED: 500}


@pytest.mark.parametrize(("create", "outcome"), [(True, Counted(created=1)), (False, Counted(skipped=1))])
def test_row_deleted_between_read_and_write_is_an_unknown_user(create: bool, outcome: Counted) -> None:
    table = FakeUsersTable({"a": stored_as(User("a", 1, {}))})
    table.rivals = [table.rows.clear]
    assert counted(upsert(table, [User("a", 2, {})], as_of=1, now=NOW, create_missing=create)) == outcome


def test_user_is_written_after_a_few_lost_writes() -> None:
    table = FakeUsersTable()
    table.rivals = [change(table, User("a", n, {})) for n in range(3)]
    outcome = upsert(table, [User("a", 9, {})], as_of=1, now=NOW, create_missing=True)
    assert counted(outcome) == Counted(updated=1)


def test_row_that_changes_at_every_attempt_is_a_problem() -> None:
    table = FakeUsersTable({"a": stored_as(User("a", 0, {}))})
    table.rivals = [change(table, User("a", n, {})) for n in range(1, 50)]
    given_users = [User("a", 100, {}), User("b", 100, {})]
    outcome = upsert(table, given_users, as_of=1, now=NOW, create_missing=True)
    assert (outcome.created, outcome.updated) == (1, 0)
    assert [problem.clerk_user_id for problem in outcome.problems] == ["a"]
    assert len(table.rivals) > 30, "it gives up early"


def test_error_of_the_table_is_raised() -> None:
    def fail() -> None:
        raise AwsError("down")

    table = FakeUsersTable()
    table.rivals = [fail]
    with pytest.raises(AwsError):
        upsert(table, [User("a", 1, {})], as_of=1, now=NOW, create_missing=True)


def test_activity_does_not_go_back_within_one_upsert() -> None:
    table = FakeUsersTable()
    readings = [User("a", 1, {"lastActiveAt": 9}), User("a", 1, {"lastActiveAt": 3})]
    upsert(table, readings, as_of=1, now=NOW, create_missing=True)
    assert table.rows["a"]["lastActiveAt"] == 9


# One change by itself

A = User("a", 5, {"firstName": "Ada"})
A_LOT_LATER = User("a", 99, {})
OLD = {**stored_as(User("a", 4, {"lastName": "Old", "lastSignInAt": 3})), "plan": "pro"}
maybe_rows = st.none() | rows


def requests(table: FakeUsersTable) -> tuple[int, int, int]:
    """The numbers of batch reads, single reads and single writes."""
    return len(table.reads), len(table.gets), len(table.updates)


@given(changes, maybe_rows, st.integers(0, AS_OF), st.booleans())
def test_store_and_upsert_write_the_same(
    change: Change, before: Row | None, as_of: int, create: bool
) -> None:
    start = {} if before is None else {"user_1": before}
    by_itself, in_batch = FakeUsersTable(start), FakeUsersTable(start)
    stored = store(by_itself, change, before, as_of=as_of, now=NOW, create_missing=create)
    upsert(in_batch, [change], as_of=as_of, now=NOW, create_missing=create)
    assert by_itself.rows == in_batch.rows
    assert [len(table.written) for table in (by_itself, in_batch)] == [stored.is_written] * 2


@given(changes, maybe_rows, st.lists(maybe_rows, max_size=5), st.integers(0, AS_OF), st.booleans())
def test_store_returns_the_row_in_the_table(
    change: Change, before: Row | None, others: list[Row | None], as_of: int, create: bool
) -> None:
    table = FakeUsersTable({} if before is None else {"user_1": before})
    table.rivals = [partial(set_row, table, other) for other in others]
    read = table.get("user_1")
    stored = store(table, change, read, as_of=as_of, now=NOW, create_missing=create)
    assert stored.is_written == bool(table.written)
    if table.updates:
        assert stored.row == table.get("user_1")
    else:
        assert stored == Stored(read, is_written=False)


def set_row(table: FakeUsersTable, row: Row | None) -> None:
    """As whoever keeps to the write rule: fields change along with what guards them."""
    if row is None:
        table.rows.clear()
    elif guards(row) != guards(table.rows.get("user_1", {})):
        table.rows["user_1"] = dict(row)


def guards(row: Row) -> list[Value | None]:
    return [row.get(name) for name in (VERSION, DELETED, *ACTIVITY)]


def test_store_of_a_right_row_sends_no_request() -> None:
    table = FakeUsersTable({"a": stored_as(A)})
    right = stored_as(A)
    assert store(table, A, right, as_of=1, now=NOW, create_missing=True) == Stored(right, is_written=False)
    assert store(table, A, None, as_of=1, now=NOW, create_missing=False) == Stored(None, is_written=False)
    assert requests(table) == (0, 0, 0)


def test_lost_store_is_decided_again_on_the_row_that_won() -> None:
    newer = User("a", 9, {"firstName": "Newer"})
    table = FakeUsersTable({"a": OLD})
    table.rivals = [change(table, newer)]
    stored = store(table, A, owned_part(OLD), as_of=1, now=NOW, create_missing=True)
    assert stored == Stored(stored_as(newer), is_written=False)
    assert requests(table) == (0, 0, 1)

    table.rivals = [change(table, User("a", 10, {})), change(table, User("a", 11, {"email": "a@b.c"}))]
    last = User("a", 12, {"username": "ada"})
    stored = store(table, last, stored_as(newer), as_of=1, now=NOW, create_missing=True)
    assert stored == Stored(stored_as(last), is_written=True)
    assert table.rows["a"] == stored_as(last)


def test_row_deleted_during_store_is_created_only_with_create_missing() -> None:
    for create in (True, False):
        table = FakeUsersTable({"a": OLD})
        table.rivals = [table.rows.clear]
        stored = store(table, A, owned_part(OLD), as_of=1, now=NOW, create_missing=create)
        assert stored == Stored(stored_as(A) if create else None, is_written=create)


def test_store_raises_after_six_lost_writes() -> None:
    table = FakeUsersTable()
    table.rivals = [partial(make_or_take_away, table, n) for n in range(50)]
    with pytest.raises(AwsError, match="row of a changed"):
        store(table, A_LOT_LATER, None, as_of=1, now=NOW, create_missing=True)
    assert len(table.updates) == 6
    assert table.written == []


def make_or_take_away(table: FakeUsersTable, n: int) -> None:
    if n % 2:
        table.rows.clear()
    else:
        table.rows["a"] = {**stored_as(User("a", n, {})), DELETED: n}


def test_store_succeeds_at_the_sixth_attempt() -> None:
    table = FakeUsersTable({"a": stored_as(User("a", 0, {}))})
    table.rivals = [change(table, User("a", n, {})) for n in range(1, 6)]
    stored = store(table, A_LOT_LATER, stored_as(User("a", 0, {})), as_of=1, now=NOW, create_missing=True)
    assert stored.is_written
    assert len(table.updates) == 6


def test_store_raises_row_refused() -> None:
    table = FakeUsersTable(refused=["a"])
    with pytest.raises(RowRefused):
        store(table, A, None, as_of=1, now=NOW, create_missing=True)


# Fields that are refused

PLAN, NOTES = Json.of({"plan": "pro"}), Json.of({"notes": "x" * 500})
NAMES = synced(["banned", "publicMetadata", "unsafeMetadata"])


def with_metadata(user_id: str = "a", version: int = 5) -> User:
    fields: dict[str, FieldValue] = {
        "firstName": "Ada",
        "banned": Json("true"),
        "publicMetadata": PLAN,
        "unsafeMetadata": NOTES,
    }
    return User(user_id, version, fields, NAMES)


class SmallRows(FakeUsersTable):
    """Refuses rows with any of these attributes."""

    too_large: tuple[str, ...] = ("unsafeMetadata",)

    def is_refused(self, write: Write) -> bool:
        return any(name in write.put for name in self.too_large)


def test_refused_field_stays_as_stored_and_the_others_are_written() -> None:
    row = {**stored_as(User("a", 4, {"firstName": "Old"})), "unsafeMetadata": Json("{}"), "plan": "pro"}
    user = replace(with_metadata(), refused={"unsafeMetadata": "unsafe_metadata: odd"})
    user = replace(user, fields={name: user.fields[name] for name in user.fields if name not in user.refused})
    table = FakeUsersTable({"a": row})
    for writes in (1, 1):
        outcome = upsert(table, [user], as_of=1, now=NOW, create_missing=True)
        [problem] = outcome.problems
        assert problem.clerk_user_id == "a"
        assert "unsafeMetadata" in problem.reason
        assert (outcome.created, outcome.updated, outcome.unchanged) == (0, 0, 0)
        assert table.rows["a"] == {**stored_as(user), "unsafeMetadata": Json("{}"), "plan": "pro"}
        assert len(table.written) == writes


@pytest.mark.parametrize(
    ("too_large", "left_out"),
    [
        (("unsafeMetadata",), ["unsafeMetadata"]),
        (("publicMetadata",), ["unsafeMetadata", "publicMetadata"]),
        (("unsafeMetadata", "publicMetadata"), ["unsafeMetadata", "publicMetadata"]),
    ],
)
def test_row_that_dynamodb_refuses_is_written_without_its_largest_metadata(
    too_large: tuple[str, ...], left_out: list[str]
) -> None:
    by_itself, in_batch = SmallRows(), SmallRows()
    by_itself.too_large = in_batch.too_large = too_large
    user = with_metadata()
    outcome = upsert(in_batch, [user, User("b", 1, {})], as_of=1, now=NOW, create_missing=True)
    stored = store(by_itself, user, None, as_of=1, now=NOW, create_missing=True)
    assert outcome.created == 1
    assert outcome.problems == [stored.problem]
    assert [name for name in NAMES if name in outcome.problems[0].reason] == sorted(left_out)
    expected = {name: value for name, value in stored_as(user).items() if name not in left_out}
    assert in_batch.rows["a"] == by_itself.rows["a"] == expected


def test_row_refused_even_without_metadata_is_a_problem_with_dynamodbs_reason() -> None:
    table = FakeUsersTable(refused=["a"])
    outcome = upsert(table, [with_metadata()], as_of=1, now=NOW, create_missing=True)
    assert [problem.reason for problem in outcome.problems] == ["no"]
    with pytest.raises(RowRefused):
        store(table, with_metadata(), None, as_of=1, now=NOW, create_missing=True)


def test_fields_that_a_snapshot_does_not_carry_stay_as_stored() -> None:
    row = {**stored_as(User("a", 4, {})), "publicMetadata": PLAN, "banned": "the app's"}
    table = FakeUsersTable({"a": row})
    upsert(table, [User("a", 5, {"firstName": "Ada"})], as_of=1, now=NOW, create_missing=True)
    assert table.rows["a"] == {**row, "firstName": "Ada", VERSION: 5}
