"""Digests of the user ids that a run read from Clerk: millions of them in eight bytes each."""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

_DIGEST_BYTES = 8


def digests(payloads: Iterable[Any]) -> bytes:
    """Eight bytes for each user that has an id. Two of millions of users are very unlikely to share them; if
    they do, one deletion is not found."""
    ids = (payload.get("id") for payload in payloads if isinstance(payload, dict))
    return b"".join(_digest(user_id) for user_id in ids if isinstance(user_id, str))


class IdSet:
    """Millions of ids in 8 bytes each, for membership tests."""

    def __init__(self, pages_of_digests: Iterable[bytes]) -> None:
        listed = array("Q")
        for digests_of_page in pages_of_digests:
            listed.frombytes(digests_of_page)
        self._sorted = array("Q", sorted(listed))

    def __contains__(self, user_id: str) -> bool:
        wanted = int.from_bytes(_digest(user_id), sys.byteorder)
        place = bisect_left(self._sorted, wanted)
        return place < len(self._sorted) and self._sorted[place] == wanted


def not_listed(user_ids: Iterable[str], pages_of_digests: Iterable[bytes]) -> set[str]:
    """The ids that are on none of these pages. Reads no more pages than it needs, one at a time."""
    left = {_digest(user_id): user_id for user_id in user_ids}
    for page in pages_of_digests:
        for start in range(0, len(page), _DIGEST_BYTES):
            left.pop(page[start : start + _DIGEST_BYTES], None)
        if not left:
            break
    return {*left.values()}


def _digest(user_id: str) -> bytes:
    return blake2b(user_id.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
