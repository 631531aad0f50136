"""python3 -m tests.local sign FILE: an API Gateway event, signed just now.

A webhook gets a signature as Clerk makes it, a user's request a session token.
"""

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.local.clerk.session_tokens import session_token
from tests.local.commands.kept import container_issuer

LOCAL_SECRET = "whsec_bG9jYWwtY2xlcmstc3luYy13ZWJob29rLXNlY3JldA=="
"""What the local AWS's webhooks are signed with; it protects nothing."""


def signature_headers(body: str, secret: str, message_id: str = "msg_local") -> dict[str, str]:
    """The headers of a webhook with that body."""
    now = datetime.now(UTC)
    return {
        "svix-id": message_id,
        "svix-timestamp": str(int(now.timestamp())),
        "svix-signature": Webhook(secret).sign(message_id, now, body),
    }


def signed(event: dict[str, Any], secret: str) -> dict[str, Any]:
    """The event with fresh signature headers."""
    return event | {"headers": event["headers"] | signature_headers(event["body"], secret)}


def signed_in(event: dict[str, Any], issuer: str) -> dict[str, Any]:
    """The event with a fresh session token of the user whose id is in place of the token."""
    user_id = event["headers"]["Authorization"].removeprefix("Bearer ")
    token = {"Authorization": f"Bearer {session_token(user_id, issuer)}"}
    return event | {"headers": event["headers"] | token}


def main(options: argparse.Namespace) -> int:
    try:
        event = json.loads(options.file.read_text())
        is_page_load = event["path"].startswith("/users/")
    except (ValueError, TypeError, KeyError):
        print(
            f"{options.file} is not a request of API Gateway, so there is nothing to sign.", file=sys.stderr
        )
        return 2
    if is_page_load:
        event = signed_in(event, container_issuer())
    else:
        event = signed(event, os.environ.get("CLERK_WEBHOOK_SECRET") or LOCAL_SECRET)
    print(json.dumps(event))
    return 0
