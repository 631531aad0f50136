"""Deliveries: SQS records that bring a page to WorkerFunction."""

from dataclasses import dataclass
from typing import Any

from clerk_sync.errors import EventError

_MAX_PAUSE = 900


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a message; `number` counts them from 1."""

    message_id: str
    receipt_handle: str
    body: str
    number: int

    @property
    def pause(self) -> int:
        """After how many seconds a message that could not be handled is delivered again."""
        seconds: int = 15 * 4 ** (self.number - 1)
        return min(_MAX_PAUSE, seconds)


def parse_deliveries(event: Any) -> list[Delivery]:
    """`{"Records": […]}` as SQS sends it. Raises EventError for anything else."""
    match event:
        case {"Records": list(records)} if all(parsed := [_parse(record) for record in records]):
            return [delivery for delivery in parsed if delivery]
    raise EventError(
        'This function takes only SQS records, {"Records": […]}, from PagesQueue. Invoke BackfillFunction to '
        "start a run."
    )


def _parse(record: Any) -> Delivery | None:
    match record:
        case {
            "messageId": str(message_id),
            "receiptHandle": str(receipt_handle),
            "body": str(body),
            "attributes": {"ApproximateReceiveCount": str(count)},
        } if count.isdecimal():
            return Delivery(message_id, receipt_handle, body, int(count))
    return None
