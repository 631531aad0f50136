"""UsersTable in memory: the same answers to the same conditions, and races on demand."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from clerk_sync.attributes import Attribute, Item, attribute
from clerk_sync.users_table import Lost, Refused, Result, UsersTable, Written
from clerk_sync.write_rule import OWNED, Write

Rows = dict[str, dict[str, Attribute]]


class FakeUsersTable(UsersTable):
    """`rivals` are called one by one, each just before a write is carried out. Reads that need not be
    consistent don't see the rows of `unseen` yet.
    """

    def __init__(self, rows: Mapping[str, Item] | None = None, *, refused: Iterable[str] = ()) -> None:
        self.rows: Rows = {user_id: dict(row) for user_id, row in (rows or {}).items()}
        self.refused = frozenset(refused)
        self.unseen: set[str] = set()
        self.rivals: list[Callable[[], None]] = []
        self.written: list[Write] = []
        self.reads: list[list[str]] = []

    def read(self, user_ids: Iterable[str], *, consistent: bool = False) -> dict[str, Item]:
        wanted = list(user_ids)
        if wanted:
            self.reads.append(wanted)
        seen = self.rows.keys() - (set() if consistent else self.unseen)
        return {user_id: self._visible(user_id) for user_id in wanted if user_id in seen}

    def write(self, writes: Sequence[Write]) -> list[Result]:
        if self.rivals:
            self.rivals.pop(0)()
        assert len({write.user_id for write in writes}) == len(writes), "a user twice in one call"
        return [self._write(write) for write in writes]

    def _write(self, write: Write) -> Result:
        assert write.put or write.remove, "a write of nothing"
        assert not write.put.keys() & set(write.remove), "an attribute both put and removed"
        row = self.rows.get(write.user_id)
        if write.user_id in self.refused:
            return Refused("no")
        if write.expected is None:
            if row is not None:
                return Lost(None)  # an INSERT doesn't hand over what it found
            row = {"clerkUserId": attribute(write.user_id)}
        elif row is None:
            return Lost(None)
        elif any(row.get(name) != value for name, value in write.expected.items()):
            return Lost(self._visible(write.user_id))
        self.written.append(write)
        kept = {name: value for name, value in row.items() if name not in write.remove}
        self.rows[write.user_id] = kept | dict(write.put)
        return Written()

    def _visible(self, user_id: str) -> Item:
        row = self.rows[user_id]
        return {name: value for name, value in row.items() if name in (*OWNED, "clerkUserId")}
