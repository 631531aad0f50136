"""ExtraFields on the deployed stack: runs, webhooks, page loads and audits keep further fields."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import Any

from clerk_sync.users.fields import synced
from clerk_sync.users.table_writes import to_attribute
from clerk_sync.users.user import User as SyncedUser
from clerk_sync.users.user import parse_user
from tests.integration.stack import Stack
from tests.local.clerk.fake_users import User, make_user
from tests.support.deployed_api import event, load, post

FIELDS = "phoneNumber,banned,publicMetadata"
READERS = ("BackfillFunction", "AuditFunction", "WebhookFunction", "ProfileFunction")
METADATA = {"plan": "pro", "seats": 5, "share": 0.1, "flags": [True, None, {}], "none": {}, "long": 2**63}


def user_with_fields(number: int) -> User:
    phone = {"id": "idn_1", "phone_number": f"+1555{number:07}"}
    return make_user(number) | {
        "primary_phone_number_id": "idn_1",
        "phone_numbers": [{"id": "idn_0", "phone_number": "+1"}, phone],
        "banned": number % 2 == 0,
        "public_metadata": METADATA | {"number": number},
    }


@contextmanager
def fields_on(stack: Stack, names: str = FIELDS) -> Iterator[None]:
    """The functions as if they were deployed with these extra fields."""
    with ExitStack() as configured:
        for function in READERS:
            configured.enter_context(stack.configured(function, EXTRA_FIELDS=names))
        yield


def items(stack: Stack) -> dict[str, Mapping[str, Any]]:
    """The rows as DynamoDB has them, by user id."""
    pages = stack.aws.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs["UsersTable"])
    return {item["clerkUserId"]["S"]: item for page in pages for item in page["Items"]}


def wanted_item(payload: User, names: str = FIELDS) -> dict[str, Any]:
    user = parse_user(payload, int(time.time() * 1000), synced(names.split(",") if names else ()))
    assert isinstance(user, SyncedUser)
    values = {"clerkUserId": user.id, **user.fields, "clerkUpdatedAt": user.updated_at}
    return {name: to_attribute(value) for name, value in values.items()}


def test_second_run_over_5000_users_with_metadata_writes_nothing(stack: Stack) -> None:
    users = [user_with_fields(number) for number in range(5000)]
    with fields_on(stack), stack.clerk(users):
        first = stack.backfill({"waitSeconds": 120})
        assert (first["status"], first["createdCount"]) == ("COMPLETED", 5000)
        assert items(stack) == {user["id"]: wanted_item(user) for user in users}
        started = time.time()
        second = stack.backfill({"waitSeconds": 120})
        assert (second["status"], second["unchangedCount"]) == ("COMPLETED", 5000)
        assert stack.user_writes_since(started) == set()


def test_field_that_is_turned_on_is_read_once_for_everybody(stack: Stack) -> None:
    users = [user_with_fields(number) for number in range(20)]
    with stack.clerk(users) as clerk:
        stack.backfill()
        assert stack.backfill({"mode": "incremental"})["totalClerkUsers"] < 20
        with fields_on(stack):
            report = stack.audit()
            assert report["verdict"] == "DRIFT"
            assert report["drifted"]["count"] == 20
            assert {tuple(user["fields"]) for user in report["drifted"]["users"]} == {
                tuple(FIELDS.split(","))
            }
            assert stack.backfill({"dryRun": True})["updatedCount"] == 20
            assert stack.backfill({"mode": "incremental"})["updatedCount"] == 20
            assert items(stack) == {user["id"]: wanted_item(user) for user in users}
            assert stack.audit()["verdict"] == "OK"
            assert stack.backfill({"mode": "incremental"})["totalClerkUsers"] < 20
        # A field that is turned off stays as it is.
        clerk.update(users[0]["id"], phone_numbers=[], updated_at=int(time.time() * 1000))
        stack.backfill()
        assert items(stack)[users[0]["id"]]["phoneNumber"] == {"S": "+15550000000"}


def test_webhook_and_page_load_store_what_a_run_stores(stack: Stack) -> None:
    user = user_with_fields(4)
    with fields_on(stack), stack.clerk([user]) as clerk:
        stack.put_row(user["id"], plan="pro", phoneNumber=5, banned="yes", publicMetadata="{}")
        assert post(stack, event(user)).status_code == 204
        assert items(stack)[user["id"]] == {**wanted_item(user), "plan": {"S": "pro"}}
        assert stack.backfill()["unchangedCount"] == 1
        stack.delete_row(user["id"])
        answer = load(stack, clerk.token(user["id"]))
        assert items(stack)[user["id"]] == wanted_item(user)
    shown = json.loads(answer.content, parse_float=Decimal)
    assert shown["phoneNumber"] == "+15550000004"
    assert shown["publicMetadata"] == json.loads(json.dumps(user["public_metadata"]), parse_float=Decimal)
    assert "banned" not in shown


def test_value_that_dynamodb_cannot_hold_costs_only_its_field(stack: Stack) -> None:
    user = user_with_fields(6) | {"public_metadata": {"digits": int("1" * 39)}}
    with fields_on(stack), stack.clerk([user]):
        result = stack.backfill()
        assert (result["status"], result["errorCount"]) == ("COMPLETED_WITH_ERRORS", 1)
        [error] = result["errors"]
        assert error["clerkUserId"] == user["id"]
        assert "public_metadata" in error["reason"]
        assert "1111" not in error["reason"]
        assert items(stack)[user["id"]] == wanted_item(user)
        assert "publicMetadata" not in items(stack)[user["id"]]
        assert post(stack, event(user)).status_code == 204


def test_unknown_field_fails_the_first_invocation_and_names_the_right_ones(stack: Stack) -> None:
    with stack.clerk([]), fields_on(stack, "phoneNumber,password"):
        try:
            stack.backfill()
        except Exception as error:
            message = str(error)
    assert "EXTRA_FIELDS" in message
    assert "can't name password" in message
    assert "phoneNumber, web3Wallet" in message
