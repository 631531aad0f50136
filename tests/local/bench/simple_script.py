"""The simple script, which the benchmark compares with: Clerk's own SDK, 100 users a request, and for each of
them one GetItem and one UpdateItem. Runs by itself, in the `bench` environment, with nothing of clerk-sync's.

It is at its best here: one boto3 client with low-level calls, no pauses, nothing logged, nothing retried but
by the SDKs.
"""

import argparse
import json
import time
from typing import Any

import boto3
from clerk_backend_api import Clerk

PAGE_SIZE = 100
FIELDS = {
    "firstName": "first_name",
    "lastName": "last_name",
    "username": "username",
    "imageUrl": "image_url",
    "lastSignInAt": "last_sign_in_at",
    "createdAt": "created_at",
    "lastActiveAt": "last_active_at",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clerk_url")
    parser.add_argument("secret_key")
    parser.add_argument("table")
    parser.add_argument("users", type=int, help="how many to read at most")
    options = parser.parse_args()
    dynamodb = boto3.client("dynamodb")
    created = updated = 0
    started = time.monotonic()
    with Clerk(bearer_auth=options.secret_key, server_url=options.clerk_url) as clerk:
        while created + updated < options.users:
            request: Any = {"limit": PAGE_SIZE, "offset": created + updated, "order_by": "created_at"}
            users = clerk.users.list(request=request)
            for user in users:
                key = {"clerkUserId": {"S": user.id}}
                is_there = "Item" in dynamodb.get_item(TableName=options.table, Key=key)
                dynamodb.update_item(TableName=options.table, Key=key, **_expressions(_row(user)))
                created += not is_there
                updated += is_there
            if len(users) < PAGE_SIZE:
                break
    print(json.dumps({"created": created, "updated": updated, "seconds": time.monotonic() - started}))


def _row(user: Any) -> dict[str, Any]:
    """The eight fields; None: Clerk has none."""
    row = {name: getattr(user, field) for name, field in FIELDS.items()}
    primary = user.primary_email_address_id
    row["email"] = next((e.email_address for e in user.email_addresses if e.id == primary), None)
    return row


def _expressions(row: dict[str, Any]) -> dict[str, Any]:
    put = {name: value for name, value in row.items() if value is not None}
    gone = [name for name in row if name not in put]
    change = "SET " + ", ".join(f"#{name} = :{name}" for name in put)
    if gone:
        change += " REMOVE " + ", ".join(f"#{name}" for name in gone)
    return {
        "UpdateExpression": change,
        "ExpressionAttributeNames": {f"#{name}": name for name in row},
        "ExpressionAttributeValues": {
            f":{name}": {"N": str(value)} if isinstance(value, int) else {"S": value}
            for name, value in put.items()
        },
    }


if __name__ == "__main__":
    main()
