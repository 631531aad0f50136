"""Who asks Clerk for a user: the same facts of the fake, here, and of RunsTable, in the integration tests."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from clerk_sync.aws.dynamodb import from_item
from clerk_sync.errors import AwsError
from clerk_sync.profile.refresh_claims import Refreshes
from tests.support.refreshes import CONTRACT, NOW, UNTIL, FakeRefreshes


@pytest.mark.parametrize("fact", CONTRACT, ids=lambda fact: fact.__name__)
def test_the_fake_refreshes(fact: Callable[[Refreshes], None]) -> None:
    fact(FakeRefreshes())


class Refused(ClientError):
    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem")


class DynamoDb:
    """Raises `error`, if there is one; `asked` is every request."""

    class exceptions:  # noqa: N801 - the SDK's own name
        ConditionalCheckFailedException = Refused

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[dict[str, Any]] = []

    def get_item(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        if self.error:
            raise self.error
        return {}

    update_item = get_item


def refreshes_on(dynamodb: Any) -> Refreshes:
    return Refreshes(dynamodb, "Runs")


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "GetItem"),
        EndpointConnectionError(endpoint_url="https://dynamodb.test"),
    ],
)
def test_a_table_that_does_not_answer_is_named(error: Exception) -> None:
    refreshes = refreshes_on(DynamoDb(error))
    calls: list[Callable[[], object]] = [
        lambda: refreshes.last("user_1"),
        lambda: refreshes.claim("user_1", NOW, UNTIL),
        lambda: refreshes.done("user_1", UNTIL, NOW),
        lambda: refreshes.release("user_1", UNTIL),
    ]
    for call in calls:
        with pytest.raises(AwsError, match=r"\bRuns\b"):
            call()


def test_a_refused_condition_is_a_claim_that_another_has() -> None:
    assert refreshes_on(DynamoDb(Refused())).claim("user_1", NOW, UNTIL) is False


def test_a_refused_condition_leaves_a_claim_to_whoever_has_it_by_now() -> None:
    dynamodb = DynamoDb(Refused())
    refreshes_on(dynamodb).done("user_1", UNTIL, NOW)
    refreshes_on(dynamodb).release("user_1", UNTIL)
    for request in dynamodb.asked:
        assert request["ConditionExpression"] == "claimedUntil = :until"
        assert from_item(request["ExpressionAttributeValues"])[":until"] == UNTIL


def test_what_is_decided_upon_is_read_consistently() -> None:
    dynamodb = DynamoDb()
    refreshes_on(dynamodb).last("user_1")
    assert dynamodb.asked[0]["ConsistentRead"] is True


def test_a_claim_is_kept_for_a_day_and_no_run_has_its_key() -> None:
    dynamodb = DynamoDb()
    refreshes_on(dynamodb).claim("user_1", NOW, UNTIL)
    [request] = dynamodb.asked
    assert from_item(request["Key"]) == {"runId": "user#user_1", "part": "refresh"}
    assert from_item(request["ExpressionAttributeValues"])[":expires"] == NOW // 1000 + 24 * 60 * 60
