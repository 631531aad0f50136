"""python3 -m tests.local send [FILE]: sends a freshly signed webhook event to a running local AWS."""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import httpx
from botocore.exceptions import ClientError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from clerk_sync.aws.items import from_item, to_item
from tests.local.aws.local_aws import STACK, WEBHOOK_SECRET, LocalAws, LocalAwsError
from tests.local.commands.sign import LOCAL_SECRET, signature_headers
from tests.local.commands.terminal import plain

type Row = dict[str, Any]

MEANINGS = {
    204: "stored, or ignored on purpose",
    400: "not an event with type, timestamp and data",
    401: "not signed with WebhookFunction's secret. It reads a changed secret within a minute: send the "
    "webhook again then. If that does not help, set this machine's clock right",
    413: "more than 1 MiB",
    500: "not set up as it should be; WebhookFunction's log says what is wrong",
    503: "the table or SSM did not answer; Clerk would try again",
}


class NotAWebhookError(Exception):
    """The file is not a webhook event."""


@dataclass(frozen=True)
class Sent:
    """The result of an event: the answer's status, and the user's row before and after (None: no row)."""

    status: int
    before: Row | None
    after: Row | None


def main(options: argparse.Namespace) -> int:
    try:
        event = json.loads(options.file.read_text())
        sent = send(LocalAws(options.port), event)
    except (OSError, ValueError, NotAWebhookError) as error:
        print(f"{options.file} is not a webhook event: {error}", file=sys.stderr)
        return 2
    except (LocalAwsError, httpx.HTTPError) as error:
        hint = "Start 'python3 -m tests.local run --keep' in another terminal, and wait until it is up."
        print(f"{error}\n{hint}", file=sys.stderr)
        return 1
    print(f"{sent.status}: {MEANINGS.get(sent.status, 'not an answer of WebhookFunction')}\n")
    print(f"  was  {_shown(sent.before)}")
    print(f"  is   {'the same' if sent.after == sent.before else _shown(sent.after)}")
    return 0 if sent.status == 204 else 1


def send(aws: LocalAws, event: Any, stack: str = STACK) -> Sent:
    """Post the webhook in an API Gateway event to that stack, as if it had happened just now."""
    kind, user_id, body = _happening_now(event)
    outputs = aws.outputs(stack)
    before = _row(aws, outputs["UsersTable"], user_id)
    print(plain(f"{kind} of {user_id} to {outputs['WebhookUrl']}"))
    headers = {"Content-Type": "application/json", **signature_headers(body, _secret(aws))}
    answer = httpx.post(outputs["WebhookUrl"], content=body, headers=headers, timeout=30)
    return Sent(answer.status_code, before, _row(aws, outputs["UsersTable"], user_id))


def _happening_now(event: Any) -> tuple[str, str, str]:
    """The event's type, its user's id, and the body to post."""
    try:
        envelope = json.loads(event["body"])
        kind, data = envelope["type"], envelope["data"]
        user_id = data.get("user_id") or data["id"]
    except (TypeError, ValueError, LookupError, AttributeError):
        raise NotAWebhookError(
            "it needs a body with type and data, as the files in tests/events have"
        ) from None
    now = time.time_ns() // 1_000_000
    # The newest each time, or it would change nothing when it is sent again.
    envelope["timestamp"] = now
    user = data.get("user") or data
    user |= {name: now for name in ("updated_at", "last_sign_in_at") if user.get(name)}
    return kind, user_id, json.dumps(envelope)


def _secret(aws: LocalAws) -> str:
    """The signing secret in the local AWS's SSM. Where there is none, another one, which WebhookFunction
    rejects with the reason."""
    try:
        found = aws.client("ssm").get_parameter(Name=WEBHOOK_SECRET, WithDecryption=True)["Parameter"][
            "Value"
        ]
        secret: str = found.replace(",", " ").split()[0]
        signature_headers("", secret)
    except (ClientError, LookupError, ValueError, EmptyWebhookSecretError):
        return LOCAL_SECRET
    return secret


def _row(aws: LocalAws, table: str, user_id: str) -> Row | None:
    answer = aws.client("dynamodb").get_item(TableName=table, Key=to_item({"clerkUserId": user_id}))
    return dict(sorted(from_item(answer["Item"]).items())) if "Item" in answer else None


def _shown(row: Row | None) -> str:
    return plain(json.dumps(row, ensure_ascii=False, default=str)) if row is not None else "not there"
