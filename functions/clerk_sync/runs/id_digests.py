"""Digests of the user ids that a run read from Clerk: millions of them in eight bytes each."""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

_DIGEST_BYTES = 8


def digests(payloads: Iterable[Any]) -> bytes:
    """Eight bytes for each user that has an id; that two of millions share them is most unlikely, and would
    only hide one deletion."""
    ids = (payload.get("id") for payload in payloads if isinstance(payload, dict))
    return b"".join(_digest(user_id) for user_id in ids if isinstance(user_id, str))


class Ids:
    """Millions of ids in 8 bytes each, to ask whether one was among them."""

    def __init__(self, pages_of_digests: Iterable[bytes]) -> None:
        met = array("Q")
        for digests_of_page in pages_of_digests:
            met.frombytes(digests_of_page)
        self._met = array("Q", sorted(met))

    def __contains__(self, user_id: str) -> bool:
        wanted = int.from_bytes(_digest(user_id), sys.byteorder)
        place = bisect_left(self._met, wanted)
        return place < len(self._met) and self._met[place] == wanted


def _digest(user_id: str) -> bytes:
    return blake2b(user_id.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
