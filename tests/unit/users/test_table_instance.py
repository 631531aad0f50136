from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from clerk_sync.aws.items import Items
from clerk_sync.errors import AwsError
from clerk_sync.users.table import TableInstance
from tests.support.fake_dynamodb import peaceful_dynamodb


def test_first_instance_is_remembered() -> None:
    instance = TableInstance(Items(peaceful_dynamodb(), "Runs"), "Users")
    assert instance.read() is None
    assert [instance.remember(one) for one in ("ins_1", "ins_2", "ins_1")] == ["ins_1"] * 3
    assert instance.read() == "ins_1"


def test_each_users_table_has_its_own_instance() -> None:
    dynamodb = peaceful_dynamodb()
    tables = [TableInstance(Items(dynamodb, "Runs"), name) for name in ("Users", "Users2")]
    assert [table.remember(f"ins_{n}") for n, table in enumerate(tables)] == ["ins_0", "ins_1"]
    assert set(dynamodb.items) == {("instance", "Users"), ("instance", "Users2")}


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "GetItem"),
        EndpointConnectionError(endpoint_url="https://dynamodb.test"),
    ],
)
def test_table_that_fails_is_named(error: Exception) -> None:
    class Failing:
        def get_item(self, **_: Any) -> Any:
            raise error

        transact_write_items = get_item

    dynamodb: Any = Failing()
    instance = TableInstance(Items(dynamodb, "Runs"), "Users")
    with pytest.raises(AwsError, match=r"\bRuns\b"):
        instance.read()
    with pytest.raises(AwsError, match=r"\bRuns\b"):
        instance.remember("ins_1")
