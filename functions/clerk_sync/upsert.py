"""Brings rows of UsersTable up to the changes that are given."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clerk_sync.attributes import Item
from clerk_sync.user import Change, User, UserProblem
from clerk_sync.users_table import Lost, Refused, UsersTable, Written
from clerk_sync.write_rule import ACTIVITY, Verdict, Write, decide

_DECISIONS = 6


@dataclass(slots=True)
class Outcome:
    """What became of each user; the counts and the problems add up to the users given."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    problems: list[UserProblem] = field(default_factory=list)


def upsert(
    table: UsersTable, changes: Iterable[Change], *, as_of: int, create_missing: bool, dry_run: bool = False
) -> Outcome:
    """Apply the write rule to changes; snapshots among them were read from Clerk at `as_of` (ms).

    With `dry_run` everything is decided and counted, and nothing written. Raises AwsError when
    DynamoDB can't be read or written; users that were written by then stay so, and to repeat the call
    is safe.
    """
    outcome = Outcome()
    undecided = _newest(changes, outcome)
    rows: Mapping[str, Item | None] = table.read(undecided)
    for _ in range(_DECISIONS):
        writes = []
        for change in undecided.values():
            decision = decide(change, rows.get(change.id), as_of=as_of, create_missing=create_missing)
            if isinstance(decision, Write):
                writes.append(decision)
            else:
                _count(outcome, decision)
        if dry_run:
            outcome.created += sum(write.creates for write in writes)
            outcome.updated += sum(not write.creates for write in writes)
            return outcome
        rows = _carry_out(table, writes, outcome)
        undecided = {user_id: undecided[user_id] for user_id in rows}
        if not undecided:
            return outcome
    outcome.problems += [
        UserProblem(user_id, f"The row changed under each of {_DECISIONS} tries to write it")
        for user_id in undecided
    ]
    return outcome


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


def _carry_out(table: UsersTable, writes: list[Write], outcome: Outcome) -> dict[str, Item | None]:
    """Write, count, and return the rows that others changed meanwhile."""
    lost: dict[str, Item | None] = {}
    for write, result in zip(writes, table.write(writes), strict=True):
        match result:
            case Written():
                outcome.created += write.creates
                outcome.updated += not write.creates
            case Refused(reason):
                outcome.problems.append(UserProblem(write.user_id, reason))
            case Lost(row):
                lost[write.user_id] = row
    # An INSERT that finds a row doesn't hand it over, so the unknown ones are read.
    unknown = [user_id for user_id, row in lost.items() if row is None]
    return lost | table.read(unknown, consistent=True)
