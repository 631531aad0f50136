"""Brings rows of UsersTable up to the changes that are given."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from clerk_sync.errors import AwsError
from clerk_sync.users.drift import DriftClassifier, Finding
from clerk_sync.users.row import ACTIVITY, Row
from clerk_sync.users.table import Lost, Refused, UsersTable, Written
from clerk_sync.users.user import Change, User, UserProblem
from clerk_sync.users.write_rule import Verdict, Write, decide

_DECISIONS = 6

type Rule = Callable[[Change, Row | None], Write | Verdict]
"""`decide`, with its times and settings."""


@dataclass(slots=True)
class Outcome:
    """What became of each user; the counts and the problems add up to the users given. `findings` are what
    was wrong with the rows that were written, or in a dry run would be."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    problems: list[UserProblem] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def upsert(
    table: UsersTable,
    changes: Iterable[Change],
    *,
    as_of: int,
    now: int,
    create_missing: bool,
    dry_run: bool = False,
    judge: DriftClassifier | None = None,
) -> Outcome:
    """Apply the write rule to changes; snapshots among them were read from Clerk at `as_of` (ms).

    With `dry_run` everything is decided and counted, and nothing written. `judge` says what is a finding.
    Raises AwsError when DynamoDB can't be read or written; users that were written by then stay so, and to
    repeat the call is safe.
    """
    rule = partial(decide, as_of=as_of, now=now, create_missing=create_missing)
    outcome = Outcome()
    undecided = _newest(changes, outcome)
    rows: Mapping[str, Row | None] = table.read(undecided)
    for attempt in range(_DECISIONS):
        writes = _decide_all(undecided, rows, outcome, rule)
        results = _rehearse(writes, attempt) if dry_run else table.write(writes)
        lost: dict[str, Row | None] = {}
        for write, result in zip(writes, results, strict=True):
            match result:
                case Written():
                    outcome.created += write.creates
                    outcome.updated += not write.creates
                    if judge:
                        found = judge.finding(undecided[write.user_id], rows.get(write.user_id), write, now)
                        outcome.findings += [found] if found else []
                case Refused(reason):
                    outcome.problems.append(UserProblem(write.user_id, reason))
                case Lost(row):
                    lost[write.user_id] = row
        # An INSERT that finds a row doesn't hand it over, so the unknown ones are read.
        unknown = [user_id for user_id, row in lost.items() if row is None]
        rows = lost | table.read(unknown, consistent=True)
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
        if isinstance(decision, Write):
            writes.append(decision)
        else:
            _count(outcome, decision)
    return writes


def _rehearse(writes: Sequence[Write], attempt: int) -> list[Written] | list[Lost]:
    """A dry run's results. All are lost at first, so that it decides on rows as they are and not on old
    copies, as a write would."""
    return [Written()] * len(writes) if attempt else [Lost(None)] * len(writes)


def _newest(changes: Iterable[Change], outcome: Outcome) -> dict[str, Change]:
    """One change a user: DynamoDB takes no key twice in a batch. The others change nothing."""
    newest: dict[str, Change] = {}
    for change in changes:
        if change.id in newest:
            outcome.unchanged += 1
        newest[change.id] = max(newest.get(change.id, change), change, key=_age)
    return newest


def _age(change: Change) -> tuple[int, int]:
    if isinstance(change, User):
        activity = (change.fields.get(name, 0) for name in ACTIVITY)
        return change.updated_at, sum(map(int, activity))
    return change.at, change.at


def _count(outcome: Outcome, verdict: Verdict) -> None:
    if verdict is Verdict.SKIPPED:
        outcome.skipped += 1
    else:
        outcome.unchanged += 1
