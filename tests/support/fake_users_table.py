"""UsersTable in memory: the same answers to the same conditions, and races on demand.

tests/integration/test_users_table_contract.py holds it against the real one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Self

from clerk_sync.errors import RowRefused
from clerk_sync.users.fields import DEFAULT_NAMES, Names
from clerk_sync.users.table import UsersTable
from clerk_sync.users.table_writes import Lost, Result
from clerk_sync.users.values import Value
from clerk_sync.users.write_rule import Row, Write, is_marked, snapshot_version
from tests.support.strategies import ALL_OWNED

Rows = dict[str, dict[str, Value]]


class FakeUsersTable(UsersTable):
    """`rivals` are called one by one, each just before a write is carried out. Reads that need not be
    consistent don't see the rows of `unseen` yet. `written` is what took effect, `updates` every single
    write that was asked for, `reads` and `gets` whose rows were read.
    """

    table = "users"
    names = DEFAULT_NAMES

    def __init__(self, rows: Mapping[str, Row] | None = None, *, refused: Iterable[str] = ()) -> None:
        self.rows: Rows = {user_id: dict(row) for user_id, row in (rows or {}).items()}
        self.refused = frozenset(refused)
        self.unseen: set[str] = set()
        self.rivals: list[Callable[[], None]] = []
        self.written: list[Write] = []
        self.updates: list[Write] = []
        self.reads: list[list[str]] = []
        self.gets: list[str] = []

    def with_fields(self, names: Names) -> Self:  # noqa: ARG002
        return self

    def check(self) -> None:
        pass

    def read(self, user_ids: Iterable[str], *, consistent: bool = False) -> dict[str, Row]:
        wanted = list(user_ids)
        if wanted:
            self.reads.append(wanted)
        seen = self.rows.keys() - (set() if consistent else self.unseen)
        return {user_id: owned(self.rows[user_id]) for user_id in wanted if user_id in seen}

    def read_available(
        self, user_ids: Iterable[str], *, consistent: bool = False
    ) -> tuple[dict[str, Row], set[str]]:
        return self.read(user_ids, consistent=consistent), set()

    def get(self, user_id: str) -> Row | None:
        self.gets.append(user_id)
        return self._stored(user_id)

    def unmarked(self, after: str | None, now: int) -> Iterator[tuple[list[str], str | None]]:
        ids = sorted(user_id for user_id in self.rows if after is None or user_id > after)
        yield [user_id for user_id in ids if is_unmarked(self.rows[user_id], now)], None

    def write(self, writes: Sequence[Write]) -> list[Result]:
        self._let_a_rival_in()
        assert len({write.user_id for write in writes}) == len(writes), "a user twice in one call"
        results = [self._write(write) for write in writes]
        # An INSERT doesn't hand over what it found.
        return [
            Lost(None) if write.creates and isinstance(result, Lost) else result
            for write, result in zip(writes, results, strict=True)
        ]

    def update(self, write: Write) -> Result:
        self.updates.append(write)
        self._let_a_rival_in()
        return self._write(write)

    def is_refused(self, write: Write) -> bool:
        return write.user_id in self.refused

    def _let_a_rival_in(self) -> None:
        if self.rivals:
            self.rivals.pop(0)()

    def _write(self, write: Write) -> Result:
        if self.is_refused(write):
            return RowRefused("no")
        if not holds(write, self.rows.get(write.user_id)):
            return Lost(self._stored(write.user_id))
        assert write.put or write.remove, "a write of nothing"
        assert not write.put.keys() & set(write.remove), "an attribute both put and removed"
        self.written.append(write)
        self.rows[write.user_id] = after(write, self.rows.get(write.user_id))
        return None

    def _stored(self, user_id: str) -> Row | None:
        return owned(self.rows[user_id]) if user_id in self.rows else None


def is_unmarked(row: Row, now: int) -> bool:
    return snapshot_version(row, now) is not None and not is_marked(row, now)


def owned(row: Row) -> Row:
    return {name: value for name, value in row.items() if name in ALL_OWNED}


def after(write: Write, row: Row | None) -> dict[str, Value]:
    """The row once the write has taken effect."""
    kept = {name: value for name, value in (row or {}).items() if name not in write.remove}
    return kept | dict(write.put)


def holds(write: Write, row: Row | None) -> bool:
    """Whether DynamoDB would carry the write out on this row."""
    if write.expected is None or row is None:
        return write.expected is None and row is None
    return all(row.get(name) == value for name, value in write.expected.items())
