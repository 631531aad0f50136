"""One page of a listing: all users oldest first by cursor, or the changed ones newest first by offset.

A cursor is as fast on the last page as on the first and, unlike an offset, skips no users when one is
deleted. Clerk does not document what it answers when the cursor's own user was deleted, so each possible
answer is handled: a refusal, an empty page, a page from the start, a page from where that user was.
"""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from clerk_sync.clerk.checkpoint import KEPT_USERS, Checkpoint, ListedUser, Window, time_of, user_id
from clerk_sync.clock import now_ms
from clerk_sync.errors import ClerkRefused, ClerkUnavailable, CursorRefused

DEEPEST_OFFSET = 10_000
"""Clerk's lists get slower with the offset until they time out; the limit is not documented."""
_OVERLAPPING_LIMIT = 5 * KEPT_USERS
"""The lowest limit of a page that repeats some of the last users."""
_MAX_CUT_PAGES = 5
"""How many pages in a row may be cut so short that they have no new users."""


class TooManyChanges(Exception):
    """More users changed than an offset can list."""


class Clerk(Protocol):
    """The part of ClerkClient that a listing needs."""

    def users(self, **query: str | int) -> list[Any]: ...

    def count(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ListedUsers:
    """The new user objects of a page that was requested at `requested_at` (ms), and the window and the
    checkpoint before it."""

    users: list[Any]
    requested_at: int
    window: Window
    checkpoint: Checkpoint

    def checkpoint_after(self, users: int) -> Checkpoint:
        """The checkpoint after the first so many of them."""
        after = self.window.after(self.users[:users])
        return self.checkpoint.replacing(self.window, after, listed=users)


@dataclass(frozen=True, slots=True)
class WindowPage:
    """The new user objects of a window's next page, and the window after it.

    `is_last`: the page goes beyond the window's end. `has_ended`: it is shorter than requested, so no users
    should be left. A window with a bound should have more users after it, and one that ended before may have:
    both end with a page without new users.
    """

    users: list[Any]
    requested_at: int
    window: Window
    is_last: bool
    has_ended: bool


def list_page(clerk: Clerk, window: Window, limit: int) -> WindowPage:
    """Request the next page of a window, oldest first.

    Without `created_at_before`, so that a page which goes beyond the window's end shows that the window is
    done. A resumed listing knows only the last few users: if all of them were deleted, users with the same
    created_at as the last one may be listed twice. Raises what ClerkClient raises.
    """
    requested_at = now_ms()
    page, is_short = _next_page(clerk, window, limit)
    dated = [*window.dated(page)]
    after = window.after([user for user, at in dated if not window.ends_before(at)])
    listed = {user.id for user in window.users}
    users = [
        user
        for user, at in dated
        if not (window.starts_after(at) or window.ends_before(at))
        and user_id(user) not in listed
        and user not in window.without_id
    ]
    is_last = bool(dated) and window.ends_before(dated[-1][1])
    if after == window and not (users or is_short or is_last):
        raise ClerkUnavailable("Clerk repeats a page: it has no users after those listed so far")
    has_ended = is_short and (not users or (window.before is None and not window.ended))
    return WindowPage(users, requested_at, after, is_last, has_ended)


def list_changed(
    clerk: Clerk, checkpoint: Checkpoint, *, limit: int, since: int
) -> Generator[list[ListedUsers]]:
    """Yield the users whose `updated_at` is `since` (ms) or later, newest first, a page at a time.

    Clerk has no filter for this, only an order with offsets. A user who changes during the listing moves to
    its front, and the next run lists them. A deletion moves the later users up, so each page must begin with
    a user listed before; otherwise the listing steps back. A resumed listing knows only the last few users
    and may list others twice. Raises TooManyChanges before the first page, and what ClerkClient raises.
    """
    known = {user.id for user in checkpoint.windows[0].users}
    limit = max(limit, _OVERLAPPING_LIMIT)
    offset = max(0, checkpoint.listed - KEPT_USERS)
    cut_pages = 0
    while True:
        requested_at = now_ms()
        page = clerk.users(order_by="-updated_at", limit=limit, offset=offset)
        if offset and not any(user_id(user) in known for user in page):
            offset = max(0, offset - limit + KEPT_USERS)
            continue
        listed_before = checkpoint.windows[0].without_id
        users = [
            user
            for user in page
            if not (user_id(user) in known or user in listed_before or _is_older(user, since))
        ]
        known.update(identifier for user in page if (identifier := user_id(user)))
        is_last = bool(page) and _is_older(page[-1], since)
        if len(page) < limit and not (users or is_last):
            # It is the last, unless Clerk has cut it: then users who changed follow it.
            is_last = not _has_changed(clerk, since, offset + len(page))
            cut_pages += 1
            if not is_last and cut_pages == _MAX_CUT_PAGES:
                raise ClerkUnavailable("Clerk cuts the pages of its list, and has more users who changed")
        if not (is_last or checkpoint.listed) and _has_changed(clerk, since, DEEPEST_OFFSET):
            raise TooManyChanges
        if users:
            cut_pages = 0
            listed = ListedUsers(users, requested_at, checkpoint.windows[0], checkpoint)
            yield [listed]
            checkpoint = listed.checkpoint_after(len(users))
        if is_last:
            return
        offset += max(1, len(page) - KEPT_USERS)


def _has_changed(clerk: Clerk, since: int, offset: int) -> bool:
    """Whether there is a user at this offset, who changed."""
    page = clerk.users(order_by="-updated_at", limit=1, offset=offset)
    return bool(page) and not _is_older(page[0], since)


def _is_older(user: Any, since: int) -> bool:
    at = time_of(user, "updated_at")
    return at is not None and at < since


def _next_page(clerk: Clerk, window: Window, limit: int) -> tuple[list[Any], bool]:
    """The page after the last user listed, and whether it is shorter than requested.

    An empty page may mean that this user was deleted. So the page is requested again after an earlier user:
    unless the last one was deleted, it is on that page.
    """
    in_window = {} if window.since is None else {"created_at_after": window.since - 1}
    # The last user, then earlier ones in case it was deleted.
    candidates = [window.users[-n] for n in (1, 2, KEPT_USERS) if n <= len(window.users)]
    for user in candidates[1 if window.ended else 0 :]:
        if user != candidates[0]:
            limit = max(limit, _OVERLAPPING_LIMIT)
        with suppress(CursorRefused):
            page = clerk.users(limit=limit, starting_after=user.id, **in_window)
            if page and _follows(page, user):
                return page, len(page) < limit
    since = window.since
    if candidates:
        since, limit = candidates[0].created_at, max(limit, _OVERLAPPING_LIMIT)
    page = _users_since(clerk, since, limit)
    return page, len(page) < limit


def _follows(page: list[Any], user: ListedUser) -> bool:
    """Whether no user on the page is older than this one."""
    start = user.created_at
    return start is None or all((at := time_of(other, "created_at")) is None or at >= start for other in page)


def _users_since(clerk: Clerk, since: int | None, limit: int) -> list[Any]:
    """The oldest users created at this time or later. The bound is a millisecond earlier, as Clerk does not
    document whether `created_at_after` includes it."""
    if since is None:
        return clerk.users(limit=limit)
    try:
        return clerk.users(limit=limit, created_at_after=since - 1)
    except ClerkRefused:
        if since > 0:
            raise
        return clerk.users(limit=limit)  # nor whether it takes times before 1970
