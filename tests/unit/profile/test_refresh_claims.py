"""Who asks Clerk for a user: the same facts of the fake, here, and of RunsTable, in the integration tests."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from clerk_sync.aws.dynamodb import from_item
from clerk_sync.errors import AwsError
from clerk_sync.profile.refresh_claims import Refreshes

NOW = 1_800_000_000_000
UNTIL = NOW + 6_000


class FakeRefreshes(Refreshes):
    """The same in memory. `told` is every claim that was asked for, and whether it was had."""

    def __init__(self) -> None:
        self.refreshed: dict[str, int] = {}
        self.claimed: dict[str, int] = {}
        self.told: list[tuple[str, bool]] = []

    def last(self, user_id: str) -> int:
        return self.refreshed.get(user_id, 0)

    def claim(self, user_id: str, now: int, until: int) -> bool:
        is_free = self.claimed.get(user_id, -1) < now
        if is_free:
            self.claimed[user_id] = until
        self.told.append((user_id, is_free))
        return is_free

    def done(self, user_id: str, until: int, at: int) -> None:
        if self.claimed.get(user_id) == until:
            del self.claimed[user_id]
            self.refreshed[user_id] = at

    def release(self, user_id: str, until: int) -> None:
        if self.claimed.get(user_id) == until:
            del self.claimed[user_id]


def nobody_has_been_asked_for_at_first(refreshes: Refreshes) -> None:
    assert refreshes.last("user_1") == 0


def a_claim_is_had_once(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    for now in (NOW, NOW + 1, UNTIL - 1, UNTIL):
        assert not refreshes.claim("user_1", now, now + 6_000)


def a_claim_lapses(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    assert refreshes.claim("user_1", UNTIL + 1, UNTIL + 6_001)
    assert not refreshes.claim("user_1", UNTIL + 2, UNTIL + 6_002), "the next one holds it"


def whoever_is_refused_does_not_prolong_the_claim(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    assert not refreshes.claim("user_1", NOW + 1, UNTIL + 60_000)
    assert refreshes.claim("user_1", UNTIL + 1, UNTIL + 6_001)


def a_refresh_that_is_done_is_known_and_frees_the_claim(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    assert refreshes.last("user_1") == 0, "not before it is done"
    refreshes.done("user_1", UNTIL, NOW + 7)
    assert refreshes.last("user_1") == NOW + 7
    assert refreshes.claim("user_1", NOW + 8, UNTIL + 8)
    assert refreshes.last("user_1") == NOW + 7, "a claim forgets nothing"


def the_last_refresh_is_the_one_that_counts(refreshes: Refreshes) -> None:
    for at in (NOW, NOW + 5):
        assert refreshes.claim("user_1", at, at + 6_000)
        refreshes.done("user_1", at + 6_000, at)
    assert refreshes.last("user_1") == NOW + 5


def a_claim_that_has_lapsed_and_is_anothers_stays_theirs(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    assert refreshes.claim("user_1", UNTIL + 1, UNTIL + 6_001)
    refreshes.done("user_1", UNTIL, NOW)
    assert refreshes.last("user_1") == 0
    assert not refreshes.claim("user_1", UNTIL + 2, UNTIL + 6_002)


def a_claim_that_is_given_back_is_free_at_once_and_no_refresh(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    refreshes.release("user_1", UNTIL)
    assert refreshes.last("user_1") == 0
    assert refreshes.claim("user_1", NOW, UNTIL + 1)
    refreshes.done("user_1", UNTIL + 1, NOW)
    assert refreshes.claim("user_1", NOW + 1, UNTIL + 2)
    refreshes.release("user_1", UNTIL + 2)
    assert refreshes.last("user_1") == NOW, "what was done before stays done"


def only_the_claim_that_one_has_is_given_back(refreshes: Refreshes) -> None:
    refreshes.release("user_1", UNTIL)
    assert refreshes.claim("user_1", NOW, UNTIL), "there was none, and now there is"
    assert refreshes.claim("user_1", UNTIL + 1, UNTIL + 6_001)
    assert refreshes.claim("user_2", NOW, UNTIL)
    refreshes.release("user_1", UNTIL)
    assert not refreshes.claim("user_1", UNTIL + 2, UNTIL + 6_002), "it is another's by now"
    assert not refreshes.claim("user_2", NOW, UNTIL)


def users_are_apart(refreshes: Refreshes) -> None:
    assert refreshes.claim("user_1", NOW, UNTIL)
    assert refreshes.claim("user_2", NOW, UNTIL)
    refreshes.done("user_2", UNTIL, NOW)
    assert refreshes.last("user_1") == 0
    assert not refreshes.claim("user_1", NOW, UNTIL)
    assert refreshes.claim("user_2", NOW, UNTIL)


CONTRACT: list[Callable[[Refreshes], None]] = [
    nobody_has_been_asked_for_at_first,
    a_claim_is_had_once,
    a_claim_lapses,
    whoever_is_refused_does_not_prolong_the_claim,
    a_refresh_that_is_done_is_known_and_frees_the_claim,
    the_last_refresh_is_the_one_that_counts,
    a_claim_that_has_lapsed_and_is_anothers_stays_theirs,
    a_claim_that_is_given_back_is_free_at_once_and_no_refresh,
    only_the_claim_that_one_has_is_given_back,
    users_are_apart,
]


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
