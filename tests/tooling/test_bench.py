from dataclasses import replace
from typing import Any

import pytest

from clerk_sync.users.table_writes import to_attribute
from clerk_sync.users.user import User, parse_user
from tests.local.bench.capacity import NO_UNITS, WRITE_BYTES, Units, item_size, read_units, units, write_units
from tests.local.bench.costs import COSTS_HEADINGS, cost_rows
from tests.local.bench.counter import Counts
from tests.local.bench.figures import (
    HEADINGS,
    SPEEDS_HEADINGS,
    Bar,
    Counted,
    Figures,
    Timed,
    bound,
    job_rows,
    speed_rows,
    table,
)
from tests.local.clerk.fake_users import make_users
from tests.support.strategies import NOW

SMALL = {"id": {"S": "a"}}
BIG = {"id": {"S": "b"}, "note": {"S": "x" * 5000}}


def test_an_items_size_is_its_names_and_values() -> None:
    assert item_size({}) == 0
    assert item_size({"id": {"S": "é"}}) == 2 + 2
    assert item_size({"n": {"N": "1700000001234"}}) == 1 + 8
    assert item_size({"n": {"N": "-1000"}}) == 1 + 2  # its zeros at the end are free
    assert item_size({"a": {"BOOL": True}, "b": {"NULL": True}}) == 4
    assert item_size({"b": {"B": "AAAA"}}) == 1 + 3
    assert item_size({"m": {"M": {"ab": {"S": "cd"}}}, "l": {"L": [{"S": "e"}]}}) == 1 + 8 + 1 + 5


@pytest.mark.parametrize(("size", "read", "write"), [(0, 1, 1), (1024, 1, 1), (1025, 1, 2), (4097, 2, 5)])
def test_units_are_rounded_up(size: int, read: float, write: float) -> None:
    assert read_units([size], {"ConsistentRead": True}) == read
    assert read_units([size], {}) == read / 2
    assert write_units(size) == write


@pytest.mark.parametrize(
    ("operation", "request_", "answer", "expected"),
    [
        ("GetItem", {"ConsistentRead": True}, {"Item": BIG}, Units(read=2)),
        ("GetItem", {}, {}, Units(read=0.5)),
        ("Query", {}, {"Items": [SMALL] * 1000}, Units(read=0.5)),
        ("Query", {"ConsistentRead": True}, {"Items": [BIG] * 2}, Units(read=3)),
        ("UpdateItem", {}, {"ConsumedCapacity": {"TableName": "t", "CapacityUnits": 2.0}}, Units(write=2)),
        ("UpdateItem", {}, {"__type": "x#ConditionalCheckFailedException", "Item": BIG}, Units(write=5)),
        ("UpdateItem", {}, {"__type": "x#ConditionalCheckFailedException"}, Units(write=1)),
    ],
)
def test_request_costs_the_units_that_dynamodb_bills(
    operation: str, request_: dict[str, Any], answer: dict[str, Any], expected: Units
) -> None:
    assert units(operation, {"TableName": "t", **request_}, answer) == {"t": expected}


def test_each_item_of_a_batch_is_rounded_by_itself_and_those_not_read_cost_nothing() -> None:
    request = {"RequestItems": {"t": {"Keys": [SMALL] * 100}}}
    answer = {"Responses": {"t": [BIG] * 10 + [SMALL] * 50}, "UnprocessedKeys": {"t": {"Keys": [SMALL] * 20}}}
    assert units("BatchGetItem", request, answer) == {"t": Units(read=(10 * 2 + 50 + 20) / 2)}
    assert units("BatchGetItem", request, {"__type": "ValidationException"}) == {"t": NO_UNITS}


def test_a_transaction_costs_double_even_if_it_is_cancelled() -> None:
    request = {"TransactItems": [{"Put": {"TableName": "t"}}, {"Update": {"TableName": "u"}}] * 3}
    cancelled = {"__type": "x#TransactionCanceledException"}
    assert units("TransactWriteItems", request, cancelled) == {"t": Units(write=6), "u": Units(write=6)}


def test_refused_request_or_one_without_rows_costs_nothing() -> None:
    assert units("UpdateItem", {"TableName": "t"}, {"__type": "x#ValidationException"}) == {}
    assert units("DescribeTable", {"TableName": "t"}, {"Table": {}}) == {}


def test_a_message_is_billed_by_its_parts_of_64_kib() -> None:
    counts = Counts()
    entries = [{"Id": "0", "MessageBody": "x" * 65536}, {"Id": "1", "MessageBody": "x" * 65537}]
    counts.note("AmazonSQS", "SendMessageBatch", {"Entries": entries}, {})
    counts.note("AmazonSQS", "ReceiveMessage", {}, {})
    assert (counts.messages, counts.message_parts) == (2, 3)


def test_every_row_of_the_benchmark_is_one_write_unit() -> None:
    for payload in make_users(400):
        user = parse_user(payload, NOW)
        assert isinstance(user, User)
        values = {"clerkUserId": user.id, **user.fields, "clerkUpdatedAt": user.updated_at}
        row = {name: to_attribute(value) for name, value in values.items()}
        assert item_size(row) <= WRITE_BYTES


def figures(seconds: float = 1, write: float = 0, **timed: Any) -> Figures:
    """A thousand users in so many seconds cold, half of that warm, twice that with latency."""
    took = {"clerk_requests": 10, "windows": 1, "client_cpu": None, "aws_cpu": None, "peak_bytes": None}
    cold = Timed(seconds=seconds, **took | timed)
    counted = Counted(2 * seconds, 50, Units(500, write), 6, Units(20, 30), 100, 10, 100)
    return Figures(1000, cold, replace(cold, seconds=seconds / 2), counted)


def test_dollars_are_for_a_million_users() -> None:
    millions = 520 * 0.125 + 1030 * 0.625 + 10 * 0.2 + 100 * 0.4 + 100 * 16.6667
    assert figures(write=1000).dollars_per_million == pytest.approx(millions / 1000)


def test_table_marks_each_goal_that_is_missed() -> None:
    bar = Bar(25, 0.05, 0.006, 0.5, 1.0)
    job = job_rows("first sync", figures(30, 1000), figures(1, 1001, clerk_requests=7, windows=2), bar)
    assert {len(row) for row in job} == {len(HEADINGS)}
    assert job[1][5:7] == ("500 + 20", "1,001 + 30")
    assert job[2][2:4] == ("30.0 x", "0.70 x")
    assert job[3][2:7] == ("", "<= 7", "<= 54 + 6", "<= 500", "MISSED <= 1,000")
    assert job_rows("first sync", figures(), figures(clerk_requests=7), bar)[3][3] == "MISSED <= 6"


def test_speed_rows_are_cold_warm_and_with_latency() -> None:
    script, ours, ratio, bar = speed_rows("first sync", figures(25), figures(1), Bar(25, 0, 0, None, 0))
    assert {len(row) for row in (script, ours, ratio, bar)} == {len(SPEEDS_HEADINGS)}
    assert ours == ("", "clerk-sync", "1,000", "2,000", "500")
    assert (ratio[2:], bar[2:]) == (("25.0 x",) * 3, ("", "", ">= 25 x"))
    assert speed_rows("first sync", figures(24), figures(1), Bar(25, 0, 0, None, 0))[3][4] == "MISSED >= 25 x"


def test_costs_grow_with_the_users_and_requests_to_clerk_with_the_pages() -> None:
    weekly = replace(figures(clerk_requests=7), users=1000)  # two pages, and five requests more
    rows = cost_rows(weekly, first=figures(write=1000))
    assert {len(row) for row in rows} == {len(COSTS_HEADINGS)}
    assert [row[:2] for row in rows] == [
        ("1,000", "7"),
        ("100,000", "205"),
        ("1,000,000", "2,005"),
        ("10,000,000", "20,005"),
    ]
    functions, queue, tables, run, month, first = rows[2][2:]
    assert (functions, queue, tables) == ("1.67", "0.0400", "0.0838")
    assert (run, month, first) == ("1.79", "7.77", "2.42")


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert table(["what", "who", "n"], [["a", "loop", "1,000"], ["", "we", "2"]]) == "\n".join(
        [
            "what  who       n",
            "----  ----  -----",
            "a     loop  1,000",
            "      we        2",
        ]
    )


def test_bound_is_set_by_the_local_aws_or_by_our_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    told = bound("first sync", figures(20), figures(4, aws_cpu=2.0, client_cpu=1.6))
    assert "local AWS could reach 500 users/s, 10.0 x the script; and clerk-sync at 1,250, 25.0 x" in told
    assert bound("first sync", figures(20), figures(4)) == ""
