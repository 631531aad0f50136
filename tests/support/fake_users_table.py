"""UsersTable in memory: the same answers to the same conditions, and races on demand.

tests/integration/test_users_table_contract.py holds it against the real one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from clerk_sync.aws.dynamodb import Attribute, Item, attribute
from clerk_sync.errors import AwsError
from clerk_sync.users.table import Lost, Refused, Result, UsersTable, Written
from clerk_sync.users.write_rule import OWNED, BlindWrite, Write

Rows = dict[str, dict[str, Attribute]]


class FakeUsersTable(UsersTable):
    """`rivals` are called one by one, each just before a write is carried out. Reads that need not be
    consistent don't see the rows of `unseen` yet. `written` is what took effect, `updates` every single
    write that was asked for, `reads` and `gets` whose rows were read.
    """

    def __init__(self, rows: Mapping[str, Item] | None = None, *, refused: Iterable[str] = ()) -> None:
        self.rows: Rows = {user_id: dict(row) for user_id, row in (rows or {}).items()}
        self.refused = frozenset(refused)
        self.unseen: set[str] = set()
        self.rivals: list[Callable[[], None]] = []
        self.written: list[Write | BlindWrite] = []
        self.updates: list[Write | BlindWrite] = []
        self.reads: list[list[str]] = []
        self.gets: list[str] = []

    def read(self, user_ids: Iterable[str], *, consistent: bool = False) -> dict[str, Item]:
        wanted = list(user_ids)
        if wanted:
            self.reads.append(wanted)
        seen = self.rows.keys() - (set() if consistent else self.unseen)
        return {user_id: self._visible(user_id) for user_id in wanted if user_id in seen}

    def get(self, user_id: str) -> Item | None:
        self.gets.append(user_id)
        return self._owned(user_id)

    def write(self, writes: Sequence[Write]) -> list[Result]:
        self._let_a_rival_in()
        assert len({write.user_id for write in writes}) == len(writes), "a user twice in one call"
        return [self._write(write) for write in writes]

    def update(self, write: Write | BlindWrite) -> Written | Lost:
        self.updates.append(write)
        self._let_a_rival_in()
        if write.user_id in self.refused:
            raise AwsError("no")
        if not holds(write, self.rows.get(write.user_id)):
            return Lost(self._owned(write.user_id))
        return self._carry_out(write)

    def _let_a_rival_in(self) -> None:
        if self.rivals:
            self.rivals.pop(0)()

    def _write(self, write: Write) -> Result:
        row = self.rows.get(write.user_id)
        if write.user_id in self.refused:
            return Refused("no")
        if holds(write, row):
            return self._carry_out(write)
        # An INSERT doesn't hand over what it found.
        return Lost(None if write.creates or row is None else self._visible(write.user_id))

    def _carry_out(self, write: Write | BlindWrite) -> Written:
        assert write.put or write.remove, "a write of nothing"
        assert not write.put.keys() & set(write.remove), "an attribute both put and removed"
        self.written.append(write)
        row = self.rows.get(write.user_id, {"clerkUserId": attribute(write.user_id)})
        kept = {name: value for name, value in row.items() if name not in write.remove}
        self.rows[write.user_id] = kept | dict(write.put)
        return Written()

    def _visible(self, user_id: str) -> Item:
        row = self.rows[user_id]
        return {name: value for name, value in row.items() if name in (*OWNED, "clerkUserId")}

    def _owned(self, user_id: str) -> Item | None:
        if user_id not in self.rows:
            return None
        return {name: value for name, value in self.rows[user_id].items() if name in OWNED}


def holds(write: Write | BlindWrite, row: Item | None) -> bool:
    """Whether DynamoDB would carry the write out on this row."""
    if isinstance(write, BlindWrite):
        return (
            (write.may_create or row is not None)
            and all(_is_below((row or {}).get(name), limit) for name, limit in write.below.items())
            and not any(name in (row or {}) for name in write.absent)
            and all(name in (row or {}) for name in write.present)
        )
    if write.expected is None or row is None:
        return write.expected is None and row is None
    return all(row.get(name) == value for name, value in write.expected.items())


def _is_below(stored: Attribute | None, limit: int) -> bool:
    """Nothing but a number compares with one."""
    return stored is None or ("N" in stored and Decimal(stored["N"]) < limit)
