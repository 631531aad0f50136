"""python3 -m tests.local sign FILE: an API Gateway event with its body signed as Clerk signs, just now."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from standardwebhooks.webhooks import Webhook

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


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print("usage: python3 -m tests.local sign tests/events/webhook-user-updated.json", file=sys.stderr)
        return 2
    event = json.loads(Path(arguments[0]).read_text())
    print(json.dumps(signed(event, os.environ.get("CLERK_WEBHOOK_SECRET") or LOCAL_SECRET)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
