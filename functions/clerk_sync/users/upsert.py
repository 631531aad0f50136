"""Brings rows of UsersTable up to the changes that are given."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from clerk_sync.errors import AwsError, RowRefused, Throttled
from clerk_sync.users.drift import DriftClassifier, Finding
from clerk_sync.users.row import ACTIVITY, Row
from clerk_sync.users.table import Lost, UsersTable, Written
from clerk_sync.users.user import Change, User, UserProblem
from clerk_sync.users.write_rule import Verdict, Write, decide

_DECISIONS = 6

type Rule = Callable[[Change, Row | None], Write | Verdict]
"""`decide`, with its times and settings."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a write does: whether it makes a new row, and what was wrong with the row that was there."""

    creates: bool
    finding: Finding | None = None


@dataclass(slots=True)
class Outcome:
    """What became of each user: `written`, or in a dry run would be, by user id; `unchanged_ids`, `skipped`,
    `problems`; and `left` undone, as DynamoDB kept throttling or the time was over. `repeated` counts users
    who were given more than once."""

    written: dict[str, Planned] = field(default_factory=dict)
    unchanged_ids: list[str] = field(default_factory=list)
    repeated: int = 0
    skipped: int = 0
    problems: list[UserProblem] = field(default_factory=list)
    left: list[Change] = field(default_factory=list)

    @property
    def created(self) -> int:
        return sum(planned.creates for planned in self.written.values())

    @property
    def updated(self) -> int:
        return len(self.written) - self.created

    @property
    def unchanged(self) -> int:
        return len(self.unchanged_ids) + self.repeated

    @property
    def findings(self) -> list[Finding]:
        return [planned.finding for planned in self.written.values() if planned.finding]


def upsert(
    table: UsersTable,
    changes: Iterable[Change],
    *,
    as_of: int,
    now: int,
    create_missing: bool,
    dry_run: bool = False,
    classifier: DriftClassifier | None = None,
    before_writing: Callable[[Mapping[str, Planned]], None] = lambda _: None,
) -> Outcome:
    """Apply the write rule to changes; snapshots among them were read from Clerk at `as_of` (ms).

    With `dry_run`, everything is decided and counted, and nothing is written. `classifier` decides what is a
    finding. `before_writing` gets what is about to be written, by user id, before the first write. Raises
    AwsError if DynamoDB can't be read or written. Repeating the call is safe, whatever was written before.
    """
    rule = partial(decide, as_of=as_of, now=now, create_missing=create_missing)
    outcome = Outcome()
    undecided = _newest(changes, outcome)
    read, unread = table.read_available(undecided)
    rows: Mapping[str, Row | None] = read
    outcome.left += [undecided.pop(user_id) for user_id in unread]
    for attempt in range(_DECISIONS):
        writes = _decide_all(undecided, rows, outcome, rule)
        plan = {write.user_id: _planned(undecided, rows, write, classifier, now) for write in writes}
        if plan and not attempt:
            before_writing(plan)
        results = _rehearse(writes, attempt) if dry_run else table.write(writes)
        lost: dict[str, Row | None] = {}
        for write, result in zip(writes, results, strict=True):
            match result:
                case Written():
                    outcome.written[write.user_id] = plan[write.user_id]
                case RowRefused():
                    outcome.problems.append(UserProblem(write.user_id, str(result)))
                case Throttled():
                    outcome.left.append(undecided[write.user_id])
                case Lost(row):
                    lost[write.user_id] = row
        # An INSERT that finds a row doesn't return it, so these rows are read.
        unknown = [user_id for user_id, row in lost.items() if row is None]
        read, unread = table.read_available(unknown, consistent=True)
        outcome.left += [undecided[user_id] for user_id in unread]
        rows = {user_id: row for user_id, row in (lost | read).items() if user_id not in unread}
        undecided = {user_id: undecided[user_id] for user_id in rows}
        if not undecided:
            return outcome
    outcome.problems += [
        UserProblem(user_id, f"The row changed under each of {_DECISIONS} tries to write it")
        for user_id in undecided
    ]
    return outcome


@dataclass(frozen=True, slots=True)
class Stored:
    """A row after one change; None: there is none, and none was to be made."""

    row: Row | None
    is_written: bool


def store(
    table: UsersTable, change: Change, row: Row | None, *, as_of: int, now: int, create_missing: bool
) -> Stored:
    """Apply the write rule to one change, given the row that was read. Times are in ms, as for `decide`.

    Raises RowRefused when DynamoDB will never take the row, and AwsError.
    """
    for _ in range(_DECISIONS):
        decision = decide(change, row, as_of=as_of, now=now, create_missing=create_missing)
        if isinstance(decision, Verdict):
            return Stored(row, is_written=False)
        match table.update(decision):
            case Lost(theirs):
                row = theirs
            case Written():
                kept = {name: value for name, value in (row or {}).items() if name not in decision.remove}
                return Stored(kept | dict(decision.put), is_written=True)
    raise AwsError(f"The row of {change.id} changed under each of {_DECISIONS} tries to write it")


def _decide_all(
    undecided: Mapping[str, Change], rows: Mapping[str, Row | None], outcome: Outcome, rule: Rule
) -> list[Write]:
    """The writes there are to make; those users are counted for whom there is none."""
    writes = []
    for change in undecided.values():
        decision = rule(change, rows.get(change.id))
        match decision:
            case Verdict.UNCHANGED:
                outcome.unchanged_ids.append(change.id)
            case Verdict.SKIPPED:
                outcome.skipped += 1
            case Write():
                writes.append(decision)
    return writes


def _planned(
    changes: Mapping[str, Change],
    rows: Mapping[str, Row | None],
    write: Write,
    classifier: DriftClassifier | None,
    now: int,
) -> Planned:
    change, row = changes[write.user_id], rows.get(write.user_id)
    return Planned(write.creates, classifier.classify(change, row, write, now) if classifier else None)


def _rehearse(writes: Sequence[Write], attempt: int) -> list[Written] | list[Lost]:
    """A dry run's results. All are lost at first, so that it decides on rows as they are and not on old
    copies, as a write would."""
    return [Written()] * len(writes) if attempt else [Lost(None)] * len(writes)


def _newest(changes: Iterable[Change], outcome: Outcome) -> dict[str, Change]:
    """One change a user: DynamoDB takes no key twice in a batch. The others change nothing."""
    newest: dict[str, Change] = {}
    for change in changes:
        if change.id in newest:
            outcome.repeated += 1
        newest[change.id] = max(newest.get(change.id, change), change, key=_age)
    return newest


def _age(change: Change) -> tuple[int, int]:
    if isinstance(change, User):
        activity = (change.fields.get(name, 0) for name in ACTIVITY)
        return change.updated_at, sum(map(int, activity))
    return change.at, change.at
