"""Applies changes to rows of UsersTable: many at once, or one by itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from clerk_sync.errors import AwsError, RowRefused, Throttled
from clerk_sync.users.drift import DriftClassifier, Finding
from clerk_sync.users.fields import FIELDS, METADATA
from clerk_sync.users.table import UsersTable
from clerk_sync.users.table_writes import Lost, Result
from clerk_sync.users.user import Change, User, UserProblem
from clerk_sync.users.write_rule import ACTIVITY, Row, Write, decide

_ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class Planned:
    """What a write does: whether it creates a row, and what was wrong with the row that was there."""

    creates: bool
    finding: Finding | None = None


Plan = Mapping[str, Planned]
"""By user id, for the users whose rows are to be written."""


@dataclass(slots=True)
class Outcome:
    """What became of the users, or would in a dry run. `left` was not done, because DynamoDB kept throttling
    or the time was over. A user with a field that was refused is one of the problems, and nothing else."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    problems: list[UserProblem] = field(default_factory=list)
    left: list[Change] = field(default_factory=list)

    def add(self, change: Change, planned: Planned | None) -> None:
        """Count a user whose row is as it should be, after a write if there is a plan."""
        if isinstance(change, User) and change.problem:
            self.problems.append(change.problem)
        elif planned is None:
            self.unchanged += 1
        else:
            self.created += planned.creates
            self.updated += not planned.creates
            if planned.finding:
                self.findings[change.id] = planned.finding

    def settle(self, change: Change, planned: Planned, result: Result) -> Change | None:
        """Count the user of a write by its result; if there is none yet, return what to decide again."""
        match result:
            case None:
                self.add(change, planned)
            case RowRefused() if lighter := _lighter(change, result):
                return lighter
            case RowRefused():
                self.problems.append(UserProblem(change.id, str(result)))
            case Throttled():
                self.left.append(change)
            case Lost():
                return change
        return None


def upsert(
    table: UsersTable,
    changes: Sequence[Change],
    *,
    as_of: int,
    now: int,
    create_missing: bool,
    dry_run: bool = False,
    classifier: DriftClassifier | None = None,
    earlier: Plan = MappingProxyType({}),
    before_writing: Callable[[Plan], None] = lambda _: None,
) -> Outcome:
    """Apply the write rule to changes; snapshots among them were read from Clerk at `as_of` (ms).

    With `dry_run`, everything is decided and counted, and nothing is written. `classifier` decides what is a
    finding. `earlier` is what a call before was to write, and may have written: rows that are right by now
    count as planned there. `before_writing` gets the whole plan before the first write. Raises AwsError if
    DynamoDB can't be read or written. Repeating the call is safe, whatever was written before.
    """
    undecided = _newest(changes)
    outcome = Outcome(unchanged=len(changes) - len(undecided))
    rows: dict[str, Row] = {}
    for attempt in range(_ATTEMPTS):
        # The first read need not be consistent: a write that was decided on an old row fails its condition.
        unknown = [user_id for user_id in undecided if user_id not in rows]
        read, unread = table.read_available(unknown, consistent=attempt > 0)
        rows |= read
        outcome.left += [undecided.pop(user_id) for user_id in unread]
        plan: dict[str, Planned] = {}
        writes: list[Write] = []
        for change in undecided.values():
            row = rows.get(change.id)
            if write := decide(change, row, as_of=as_of, now=now, create_missing=create_missing):
                finding = classifier.classify(change, row, write, now) if classifier else None
                plan[change.id] = Planned(write.creates, finding)
                writes.append(write)
            elif row is None:
                outcome.skipped += 1
            else:
                outcome.add(change, earlier.get(change.id))
        if plan and attempt == 0 and not dry_run:
            before_writing({**plan, **earlier})
        # A dry run loses each row once, so that it too decides on rows as they are and not on old copies.
        rehearsed = [None if attempt else Lost(None)] * len(writes)
        results = rehearsed if dry_run else table.write(writes)
        decided, undecided, rows = undecided, {}, {}
        for write, result in zip(writes, results, strict=True):
            user_id = write.user_id
            if again := outcome.settle(decided[user_id], plan[user_id], result):
                undecided[user_id] = again
            if isinstance(result, Lost) and result.row is not None:
                rows[user_id] = result.row
        if not undecided:
            break
    outcome.problems += [
        UserProblem(user_id, f"The row changed during each of {_ATTEMPTS} attempts to write it")
        for user_id in undecided
    ]
    return outcome


@dataclass(frozen=True, slots=True)
class Stored:
    """A row after one change, or None if there is none and none was to be created; and the fields that were
    refused, if any."""

    row: Row | None
    is_written: bool
    problem: UserProblem | None = None


def store(
    table: UsersTable, change: Change, row: Row | None, *, as_of: int, now: int, create_missing: bool
) -> Stored:
    """Apply the write rule to one change, given the row that was read. Times are in ms, as for `decide`.

    Raises RowRefused if DynamoDB will never take the row, and AwsError.
    """
    for _ in range(_ATTEMPTS):
        problem = change.problem if isinstance(change, User) else None
        write = decide(change, row, as_of=as_of, now=now, create_missing=create_missing)
        if write is None:
            return Stored(row, False, problem)
        match table.update(write):
            case None:
                kept = {name: value for name, value in (row or {}).items() if name not in write.remove}
                return Stored(kept | dict(write.put), True, problem)
            case Lost(row):
                pass
            case RowRefused() as refused if lighter := _lighter(change, refused):
                change = lighter
            case error:
                raise error
    raise AwsError(f"The row of {change.id} changed during each of {_ATTEMPTS} attempts to write it")


def _lighter(change: Change, refused: RowRefused) -> User | None:
    """The snapshot without its largest metadata; None if it has none."""
    if not isinstance(change, User):
        return None
    sizes = {name: len(str(value)) for name, value in change.fields.items() if FIELDS[name].type is METADATA}
    largest = max(sizes, key=sizes.__getitem__, default=None)
    if largest is None:
        return None
    fields = {name: value for name, value in change.fields.items() if name != largest}
    return replace(change, fields=fields, refused={**change.refused, largest: str(refused)})


def _newest(changes: Sequence[Change]) -> dict[str, Change]:
    """The newest change of each user: DynamoDB takes no key twice in a batch. The others change nothing."""
    newest: dict[str, Change] = {}
    for change in changes:
        newest[change.id] = max(newest.get(change.id, change), change, key=_age)
    return newest


def _age(change: Change) -> tuple[int, int]:
    if isinstance(change, User):
        times = (change.fields.get(name) for name in ACTIVITY)
        return change.updated_at, sum(at for at in times if isinstance(at, int))
    return change.at, change.at
