import random
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.runs.id_digests import IdSet, digests, not_listed
from tests.support.strategies import any_text, json_values

ids = st.text("ab_ü\ud800", max_size=4)


def page_of(user_ids: Sequence[str]) -> bytes:
    return digests({"id": user_id} for user_id in user_ids)


@given(st.lists(st.lists(ids, max_size=8), max_size=5), st.lists(ids, max_size=8))
def test_an_id_set_has_the_ids_of_every_page_and_no_other(pages: list[list[str]], others: list[str]) -> None:
    everybody = {user_id for page in pages for user_id in page}
    known = IdSet(map(page_of, pages))
    asked = {*everybody, *others}
    assert {user_id for user_id in asked if user_id in known} == everybody


def test_an_id_set_of_no_pages_is_empty() -> None:
    assert "a" not in IdSet([])
    assert "a" not in IdSet([b"", b""])


def test_many_ids_take_little_memory() -> None:
    count = 200_000
    everybody = random.Random(1).randbytes(8 * count)
    pages = [everybody[start : start + 4_000] for start in range(0, len(everybody), 4_000)]
    pages.append(page_of(["user_1"]))
    tracemalloc.start()
    try:
        known = IdSet(iter(pages))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "user_1" in known
    assert "user_2" not in known
    assert kept < 10 * count
    assert peak < 70 * count


@pytest.mark.parametrize(
    ("payloads", "expected"),
    [
        ([], []),
        ([{"id": "a"}, {"id": "b", "updated_at": "odd"}], ["a", "b"]),
        ([None, 7, "a", [], [["id", "a"]], {}, {"id": None}, {"id": 7}, {"id": ["a"]}, {"id": {}}], []),
        ([{"id": ""}, {"id": "\ud800"}, {"id": "é" * 999}], ["", "\ud800", "é" * 999]),
        ([{"id": "a"}, {"id": "a"}], ["a", "a"]),
    ],
)
def test_each_user_with_an_id_has_a_digest_of_eight_bytes(payloads: list[Any], expected: list[str]) -> None:
    assert digests(payloads) == page_of(expected)
    assert len(digests(payloads)) == 8 * len(expected)


@given(st.lists(st.lists(ids, max_size=8), max_size=5), st.lists(ids, max_size=8))
def test_ids_on_no_page_are_not_listed(pages: list[list[str]], wanted: list[str]) -> None:
    listed = {user_id for page in pages for user_id in page}
    assert not_listed(wanted, map(page_of, pages)) == set(wanted) - listed


def test_no_more_pages_are_read_than_needed_to_find_every_id() -> None:
    pages = iter([page_of(["a", "x"]), page_of(["b"]), page_of(["c"])])
    assert not_listed(["a", "b"], pages) == set()
    assert [*pages] == [page_of(["c"])]


@given(st.lists(json_values | st.dictionaries(st.just("id"), json_values), max_size=8))
def test_any_payloads_have_digests(payloads: list[Any]) -> None:
    found = digests(iter(payloads))
    named = [one["id"] for one in payloads if isinstance(one, dict) and isinstance(one.get("id"), str)]
    assert len(found) == 8 * len(named)
    assert all(user_id in IdSet([found]) for user_id in named)


@given(st.sets(any_text, max_size=20))
def test_different_ids_have_different_digests(user_ids: set[str]) -> None:
    found = [page_of([user_id]) for user_id in user_ids]
    assert len(set(found)) == len(user_ids)


def test_a_digest_is_the_same_in_every_version() -> None:
    assert page_of(["user_1"]).hex() == "d0da4a6cab4699df", "pages of an older version are still there"
