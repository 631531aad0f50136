from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clerk_sync.errors import AwsError
from clerk_sync.runs.queue import (
    MAX_BYTES,
    MAX_MESSAGES,
    SOONEST_REDRIVE_MS,
    Delivery,
    PagesQueue,
    backoff,
    batches,
    parse_deliveries,
)


@given(st.lists(st.integers(0, MAX_BYTES), max_size=40))
def test_batches_hold_every_message_in_order_and_fit_in_a_request(sizes: list[int]) -> None:
    messages = ["x" * size for size in sizes]
    found = list(batches(messages, len))
    assert [message for batch in found for message in batch] == messages
    for batch in found:
        assert batch
        assert len(batch) <= MAX_MESSAGES
        assert sum(map(len, batch)) <= MAX_BYTES
    for batch, following in pairwise(found):
        assert len(batch) == MAX_MESSAGES or sum(map(len, [*batch, following[0]])) > MAX_BYTES


class Sqs:
    """Takes so many entries of each request, from the last one on."""

    def __init__(self, *takes: int) -> None:
        self.takes = list(takes)
        self.asked: list[list[str]] = []
        self.taken: list[str] = []

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, str]]) -> Any:  # noqa: ARG002, N803
        self.asked.append([entry["MessageBody"] for entry in Entries])
        failed = len(Entries) - self.takes.pop(0)
        self.taken += [entry["MessageBody"] for entry in Entries[failed:]]
        if not failed:
            return {"Successful": []}
        return {"Failed": [{"Id": entry["Id"], "Code": "InternalError"} for entry in Entries[:failed]]}


def queue_on(sqs: Sqs) -> PagesQueue:
    return PagesQueue(sqs, "https://queue.test", sleep=lambda _: None)  # type: ignore[arg-type]


def test_only_messages_that_sqs_refused_are_sent_again() -> None:
    sqs = Sqs(1, 0, 2)
    queue_on(sqs).send(["a", "b", "c"])
    assert sqs.asked == [["a", "b", "c"], ["a", "b"], ["a", "b"]]
    assert sorted(sqs.taken) == ["a", "b", "c"]


def test_messages_that_sqs_keeps_refusing_are_an_error_that_says_how_many() -> None:
    with pytest.raises(AwsError, match=r"1 of 3 pages.*InternalError"):
        queue_on(Sqs(2, 0, 0, 0, 0)).send(["a", "b", "c"])


@pytest.mark.parametrize("name", ["", "NotVisible", "Delayed"])
def test_queue_is_drained_only_without_waiting_invisible_and_delayed_messages(name: str) -> None:
    counted = f"ApproximateNumberOfMessages{name}"

    class Counts(Sqs):
        def __init__(self, count: str) -> None:
            super().__init__()
            self.count = count

        def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> Any:  # noqa: ARG002, N803
            return {"Attributes": {one: self.count if one == counted else "0" for one in AttributeNames}}

    assert queue_on(Counts("0")).is_drained()
    assert not queue_on(Counts("1")).is_drained()


# Deliveries


def delivery(number: int, sent_at: int) -> Delivery:
    attributes = {"ApproximateReceiveCount": str(number), "SentTimestamp": str(sent_at)}
    record = {"messageId": "m", "receiptHandle": "r", "body": "b", "attributes": attributes}
    [parsed] = parse_deliveries({"Records": [record]})
    return parsed


@pytest.mark.parametrize(
    ("number", "age", "is_first"),
    [
        (1, 0, True),
        (1, -5_000, True),
        (1, SOONEST_REDRIVE_MS - 1, True),
        (1, SOONEST_REDRIVE_MS, False),
        (2, 0, False),
    ],
)
def test_message_that_was_sent_long_after_its_page_was_read_may_be_redriven(
    number: int, age: int, is_first: bool
) -> None:
    read_at = 1_800_000_000_000
    assert delivery(number, read_at + age).is_first_of(read_at) is is_first


def test_no_page_is_in_the_dead_letter_queue_before_the_soonest_redrive() -> None:
    deliveries, visibility_seconds = 5, 360
    # A worker that is killed leaves its message to the visibility timeout.
    seconds = sum(min(backoff(number), visibility_seconds) for number in range(1, deliveries))
    assert seconds * 1000 > SOONEST_REDRIVE_MS
