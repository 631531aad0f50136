"""The edge to PagesQueue: messages that are sent, and their deliveries to WorkerFunction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import AliasPath, BaseModel, Field, ValidationError

from clerk_sync.aws.clients import attempts, translated
from clerk_sync.errors import AwsError, EventError
from clerk_sync.log import logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_MESSAGES = 10
MAX_BYTES = 1024 * 1024
"""The most that SQS takes in one request."""
SOONEST_REDRIVE_MS = 10 * 60 * 1000
"""A page is at least so old when it is redriven: see `backoff`, and the queue's visibility timeout."""


def backoff(tries: int) -> int:
    """The seconds until the next try after so many: 15, then four times as many each time, up to 900."""
    seconds: int = 15 * 4 ** min(tries - 1, 5)
    return min(900, seconds)


def batches[T](
    items: Iterable[T], size: Callable[[T], int], max_size: int = MAX_BYTES, max_items: int = MAX_MESSAGES
) -> Iterator[list[T]]:
    """Split items, in order, into as few batches as possible, by default those that fit in one request. An
    item that is larger than `max_size` has a batch of its own."""
    batch: list[T] = []
    left = max_size
    for item in items:
        added = size(item)
        if batch and (len(batch) == max_items or added > left):
            yield batch
            batch, left = [], max_size
        batch.append(item)
        left -= added
    if batch:
        yield batch


class PagesQueue:
    """Sends pages, and delays messages that could not be handled."""

    def __init__(self, sqs: SQSClient, url: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sqs = sqs
        self._url = url
        self._sleep = sleep

    def send(self, messages: Sequence[str]) -> None:
        """Put one batch on the queue. Raises AwsError; any of its messages may be on the queue then."""
        left: Mapping[str, str] = {str(n): message for n, message in enumerate(messages)}
        for _ in attempts(5, first=0.2, longest=2.0, sleep=self._sleep):
            with translated("sending pages to PagesQueue"):
                answer = self._sqs.send_message_batch(
                    QueueUrl=self._url,
                    Entries=[{"Id": n, "MessageBody": message} for n, message in left.items()],
                )
            failed = answer.get("Failed", [])
            if not failed:
                return
            left = {failure["Id"]: left[failure["Id"]] for failure in failed}
        raise AwsError(f"PagesQueue did not take {len(left)} of {len(messages)} pages: {failed[0]['Code']}")

    def send_later(self, message: str, seconds: int) -> None:
        """Put a message on the queue, to be delivered after so many seconds, at most 900. Raises AwsError."""
        with translated("sending a page to PagesQueue"):
            self._sqs.send_message(QueueUrl=self._url, MessageBody=message, DelaySeconds=seconds)

    def is_drained(self) -> bool:
        """Whether no message is waiting or being handled, as far as SQS knows: its counts lag by up to a
        minute. Raises AwsError."""
        with translated("counting the messages in PagesQueue"):
            counts = self._sqs.get_queue_attributes(
                QueueUrl=self._url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )["Attributes"]
        return all(count == "0" for count in counts.values())

    def deliver_again(self, receipt_handle: str, seconds: int) -> None:
        """Have a message delivered again after so many seconds, or when its visibility timeout ends if SQS
        does not take that."""
        try:
            with translated("delaying a message in PagesQueue"):
                self._sqs.change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
                )
        except AwsError as error:
            logger.warning("message_not_delayed", reason=str(error))


class Delivery(BaseModel):
    """An SQS record that brings a message, which was sent at `sent_at` (ms); `number` counts its deliveries
    from 1."""

    message_id: str = Field(alias="messageId")
    receipt_handle: str = Field(alias="receiptHandle")
    body: str
    number: int = Field(ge=1, validation_alias=AliasPath("attributes", "ApproximateReceiveCount"))
    sent_at: int = Field(0, validation_alias=AliasPath("attributes", "SentTimestamp"))

    def is_first_of(self, read_at: int) -> bool:
        """Whether the message of a page, which was read at `read_at` (ms), was not delivered before. For SQS,
        a redriven message is a new one, whose deliveries count from 1 again."""
        return self.number == 1 and self.sent_at - read_at < SOONEST_REDRIVE_MS


class _Deliveries(BaseModel):
    Records: list[Delivery]


def parse_deliveries(event: Any) -> list[Delivery]:
    """`{"Records": […]}` as SQS sends it. Raises EventError for anything else."""
    try:
        return _Deliveries.model_validate(event).Records
    except ValidationError:
        raise EventError(
            'This function takes only SQS records, {"Records": […]}, from PagesQueue. Invoke '
            "BackfillFunction to start a run."
        ) from None
