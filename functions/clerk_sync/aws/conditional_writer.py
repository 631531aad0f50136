"""Carries out conditional writes, one by one or in batches, and says what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from clerk_sync.aws.clients import attempts, translated
from clerk_sync.aws.conditional_write import ConditionalWrite, partiql_statement, update_item_request
from clerk_sync.aws.dynamodb import Item
from clerk_sync.errors import AwsError, RowRefused, Throttled

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WRITES_PER_REQUEST = 25
"""BatchExecuteStatement's limit."""

_THROTTLED = {
    "InternalServerError",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingError",
    "TransactionConflict",
}
_REFUSED = {
    *("ValidationError", "ItemCollectionSizeLimitExceeded"),  # of a statement
    *("ValidationException", "ItemCollectionSizeLimitExceededException"),  # of a request
}
"""What can be the fault of one item alone."""


@dataclass(frozen=True, slots=True)
class ConditionFailed:
    """The item was not as expected. `item` is what it is, or None if that is unknown or there is none."""

    item: Item | None


type WriteResult = ConditionFailed | RowRefused | Throttled | None
"""What became of one write; None: it took effect."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on while DynamoDB throttles."""

    is_out_of_time: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep

    def attempts(self, number: int = 8) -> Iterator[None]:
        """Attempts with pauses of up to 5 s, while there is time."""
        for _ in attempts(number, first=0.1, longest=5.0, sleep=self.sleep):
            if self.is_out_of_time():
                return
            yield


class ConditionalWriter:
    """Writes to one table. Errors that are not one item's are raised as AwsError."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, patience: Patience) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._patience = patience

    # Batches of PartiQL, as `python3 -m tests.local bench` compares the ways there are: 5,000 conditional
    # updates were 200 requests and 0.4 s of CPU from one thread, 2,800 a second on the local AWS. UpdateItem
    # from 16 threads was 5,000 requests and 5.8 s, 840 a second, for the same units and results.
    # Transactions of 25 or 100 rows were slower (1,800 a second at best) and cost two units a row, and one
    # failed condition fails the whole transaction. BatchWriteItem has no conditions.
    def write_all(self, writes: Sequence[ConditionalWrite]) -> list[WriteResult]:
        """Carry out writes of different items. One result for each, in order."""
        results: list[WriteResult] = []
        for batch in batched(writes, WRITES_PER_REQUEST, strict=False):
            results += self._write_batch(batch)
            if isinstance(results[-1], Throttled):
                break
        return results + [throttled(self._table)] * (len(writes) - len(results))

    def write(self, write: ConditionalWrite) -> ConditionFailed | None:
        """Carry out one write. Raises RowRefused if DynamoDB will never take the item."""
        errors = self._dynamodb.exceptions
        for _ in self._patience.attempts():
            with translated(f"writing to table {self._table!r}"):
                try:
                    self._dynamodb.update_item(**update_item_request(write))
                except errors.ConditionalCheckFailedException as error:
                    return ConditionFailed(cast("Item | None", error.response.get("Item")))
                except errors.TransactionConflictException:
                    continue  # a transaction of the app's; the SDK doesn't try again by itself
                except ClientError as error:
                    if not _is_refusal(error):
                        raise
                    reason = error.response["Error"]["Message"]
                    raise RowRefused(f"DynamoDB refuses the row: {reason}") from error
            return None
        raise throttled(self._table)

    def _write_batch(self, writes: Sequence[ConditionalWrite]) -> list[WriteResult]:
        results: dict[str, WriteResult] = {}
        todo = list(writes)
        for _ in self._patience.attempts(30):  # the rows were read for these writes: better late than again
            for write, response in zip(todo, self._responses(todo), strict=True):
                error = response.get("Error")
                if error is None or error["Code"] not in _THROTTLED:
                    results[write.key_value] = self._result(write, error)
            todo = [write for write in todo if write.key_value not in results]
            if not todo:
                break
        return [results.get(write.key_value, throttled(self._table)) for write in writes]

    def _responses(self, writes: Sequence[ConditionalWrite]) -> Sequence[Mapping[str, Any]]:
        statements: Any = [partiql_statement(write) for write in writes]
        with translated(f"writing to table {self._table!r}"):
            try:
                return self._dynamodb.batch_execute_statement(Statements=statements)["Responses"]
            except ClientError as error:
                if is_throttling(error):
                    return [{"Error": {"Code": "ThrottlingError"}}] * len(writes)
                if not _is_refusal(error):
                    raise
        return [{"Error": {"Code": "ValidationError"}}] * len(writes)

    def _result(self, write: ConditionalWrite, error: Mapping[str, Any] | None) -> WriteResult:
        if error is None:
            return None
        if error["Code"] in ("ConditionalCheckFailed", "DuplicateItem"):
            return ConditionFailed(error.get("Item"))
        if error["Code"] not in _REFUSED:
            raise AwsError(f"DynamoDB refuses writes: {error['Code']}: {error.get('Message', '')}")
        # PartiQL may refuse what UpdateItem takes: a difference in grammar must not cost a user.
        try:
            return self.write(write)
        except (RowRefused, Throttled) as failure:
            return failure


def throttled(table: str) -> Throttled:
    """The error for a table that has been throttled for too long."""
    return Throttled(
        f"DynamoDB kept throttling table {table!r}. If this goes on, raise the table's capacity or lower "
        "WorkerConcurrency."
    )


def is_throttling(error: ClientError) -> bool:
    """Whether DynamoDB throttled the whole request."""
    return error.response["Error"]["Code"].removesuffix("Exception") in _THROTTLED


def _is_refusal(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in _REFUSED
