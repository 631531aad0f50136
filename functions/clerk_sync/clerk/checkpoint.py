"""How far a listing of Clerk's users has got, as it is stored with each page of a run."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import starmap, takewhile
from typing import Any, NamedTuple

from clerk_sync.users.user import is_id

KEPT_USERS = 10
"""How many of the last users are stored."""
KEPT_USERS_OF_EACH_WINDOW = 3
"""The same where there are several windows: DynamoDB charges by the KB."""


class ListedUser(NamedTuple):
    """A user that was listed: id and created_at (ms), None if it is not known."""

    id: str
    created_at: int | None


@dataclass(frozen=True, slots=True)
class Window:
    """The users created from `since` to just before `before` (ms, None: no bound).

    `users` are the last ones listed, oldest first, and `without_id` the last page's entries without an id
    (not stored). `ended`: no users should be left, but as Clerk may have cut the last page, the window is
    kept until as many users were listed as Clerk counts.
    """

    since: int | None = None
    before: int | None = None
    users: tuple[ListedUser, ...] = ()
    ended: bool = False
    without_id: tuple[Any, ...] = ()

    def after(self, users: list[Any]) -> "Window":
        """The window once these user objects were listed. Those that it has already move to the end."""
        dated = self.dated(users)
        added = [ListedUser(identifier, at) for user, at in dated if (identifier := user_id(user))]
        repeated = {user.id for user in added}
        listed = (*(user for user in self.users if user.id not in repeated), *added)
        # All with the last created_at are kept: a request by time returns every one of them again.
        ties = takewhile(lambda user: user.created_at == listed[-1].created_at, reversed(listed))
        kept = max(len(added), len([*ties]), KEPT_USERS)
        without_id = tuple(user for user in users if user_id(user) is None)
        return replace(self, users=listed[-kept:], without_id=without_id)

    def dated(self, users: list[Any]) -> Iterator[tuple[Any, int | None]]:
        """Each user object with its created_at (ms); if it has none, with that of the one before."""
        at = self.users[-1].created_at if self.users else None
        for user in users:
            own = time_of(user, "created_at")
            at = at if own is None else own
            yield user, at

    def starts_after(self, at: int | None) -> bool:
        """Whether a user created then (ms) is older than the window's."""
        return at is not None and self.since is not None and at < self.since

    def ends_before(self, at: int | None) -> bool:
        """Whether a user created then (ms) is younger than the window's."""
        return at is not None and self.before is not None and at >= self.before


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How many users were listed, and the windows where more may be."""

    listed: int = 0
    windows: tuple[Window, ...] = (Window(),)

    def replacing(self, window: Window, *windows: Window, listed: int) -> "Checkpoint":
        """The checkpoint with these in place of a window, and so many users more."""
        others = (other for other in self.windows if other.since != window.since)
        return Checkpoint(self.listed + listed, (*others, *windows))

    def dump(self) -> str:
        kept = KEPT_USERS if len(self.windows) == 1 else KEPT_USERS_OF_EACH_WINDOW
        windows = [[w.since, w.before, int(w.ended), w.users[-kept:]] for w in self.windows]
        return json.dumps([self.listed, windows], separators=(",", ":"))

    @classmethod
    def load(cls, dumped: str) -> "Checkpoint":
        """The reverse of `dump`."""
        listed, windows = json.loads(dumped)
        loaded = [
            Window(since, before, tuple(starmap(ListedUser, users)), bool(ended))
            for since, before, ended, users in windows
        ]
        return cls(listed, tuple(loaded))


def time_of(user: Any, name: str) -> int | None:
    """A user object's time of this name (ms), which may be 0 or negative; None if that is no whole number."""
    found = user.get(name) if isinstance(user, dict) else None
    return found if type(found) is int else None


def user_id(user: Any) -> str | None:
    """A user object's id; None if it has none that is usable."""
    found = user.get("id") if isinstance(user, dict) else None
    return found if is_id(found) else None
