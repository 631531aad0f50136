"""The edge to PagesQueue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clerk_sync.aws import translated

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from clerk_sync.page import Page


class PagesQueue:
    """Sends pages and looks after the messages that could not be handled."""

    def __init__(self, sqs: SQSClient, url: str) -> None:
        self._sqs = sqs
        self._url = url

    def send(self, page: Page) -> None:
        """Put one page on the queue. Raises AwsError."""
        with translated("sending a page to PagesQueue"):
            self._sqs.send_message(QueueUrl=self._url, MessageBody=page.dump())

    def is_drained(self) -> bool:
        """Whether no message is waiting or being worked on, as far as SQS knows: its counts lag by up
        to a minute. Raises AwsError."""
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

    def show_again(self, receipt_handle: str, seconds: int) -> None:
        """Have a message delivered again after so long, not after the whole visibility timeout.
        Raises AwsError."""
        with translated("delaying a message in PagesQueue"):
            self._sqs.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
            )
