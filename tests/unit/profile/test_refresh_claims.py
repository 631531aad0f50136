import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from clerk_sync.aws.items import Items, from_item
from clerk_sync.profile.refresh_claims import RefreshClaims
from tests.support.fake_dynamodb import ConditionalCheckFailed
from tests.support.fake_refresh_claims import CONTRACT, NOW, UNTIL, FakeRefreshClaims


@pytest.mark.parametrize("fact", CONTRACT, ids=lambda fact: fact.__name__)
def test_fake_refresh_claims(fact: Callable[[RefreshClaims], None]) -> None:
    fact(FakeRefreshClaims())


class DynamoDb:
    """Raises `error`, if there is one; `asked` holds every request."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[dict[str, Any]] = []

    def get_item(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        if self.error:
            raise self.error
        return {}

    def update_item(self, **request: Any) -> dict[str, Any]:
        return {"Attributes": self.get_item(**request)}


def claims_on(dynamodb: Any) -> RefreshClaims:
    return RefreshClaims(Items(dynamodb, "Runs"))


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "GetItem"),
        EndpointConnectionError(endpoint_url="https://dynamodb.test"),
    ],
)
def test_table_that_fails_is_logged_and_leaves_page_loads_without_claims(
    error: Exception, log: io.StringIO
) -> None:
    claims = claims_on(DynamoDb(error))
    calls: list[Callable[[], object]] = [
        lambda: claims.refreshed_at("user_1"),
        lambda: claims.claim("user_1", NOW, UNTIL),
        lambda: claims.end("user_1", UNTIL, NOW),
        lambda: claims.end("user_1", UNTIL),
    ]
    for call in calls:
        assert call() is None
    for line in map(json.loads, log.getvalue().splitlines()):
        assert (line["level"], line["message"]) == ("WARNING", "claims_unavailable")
        assert " Runs" in line["reason"]
    assert len(log.getvalue().splitlines()) == len(calls)


def test_failed_condition_is_a_claim_of_another_page_load() -> None:
    assert claims_on(DynamoDb(ConditionalCheckFailed())).claim("user_1", NOW, UNTIL) is False


def test_failed_condition_leaves_the_claim_of_another_page_load() -> None:
    dynamodb = DynamoDb(ConditionalCheckFailed())
    claims_on(dynamodb).end("user_1", UNTIL, NOW)
    claims_on(dynamodb).end("user_1", UNTIL)
    for request in dynamodb.asked:
        assert request["ConditionExpression"] == "claimedUntil = :until"
        assert from_item(request["ExpressionAttributeValues"])[":until"] == UNTIL


def test_refreshed_at_is_read_consistently() -> None:
    dynamodb = DynamoDb()
    claims_on(dynamodb).refreshed_at("user_1")
    assert dynamodb.asked[0]["ConsistentRead"] is True


def test_claim_is_kept_for_a_day_under_a_key_of_its_own() -> None:
    dynamodb = DynamoDb()
    claims_on(dynamodb).claim("user_1", NOW, UNTIL)
    [request] = dynamodb.asked
    assert from_item(request["Key"]) == {"runId": "user#user_1", "part": "refresh"}
    assert from_item(request["ExpressionAttributeValues"])[":expiresAt"] == NOW // 1000 + 24 * 60 * 60
