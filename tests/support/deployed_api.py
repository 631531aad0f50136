"""Requests to a deployed stack's API: webhooks as Clerk sends them, and page loads as an app sends them."""

import json
import time
from typing import Any

import httpx

from tests.integration.stack import ORIGINS, Stack
from tests.local.commands.sign import LOCAL_SECRET, signature_headers

MS = 1000


def event(user: dict[str, Any], kind: str = "user.updated", at: float | None = None) -> str:
    timestamp = int((time.time() if at is None else at) * MS)
    return json.dumps({"object": "event", "type": kind, "timestamp": timestamp, "data": user})


def post(stack: Stack, body: str | bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    text = body if isinstance(body, str) else body.decode()
    signed = signature_headers(text, LOCAL_SECRET) if headers is None else headers
    return httpx.post(stack.outputs["WebhookUrl"], content=body, headers=signed, timeout=30)


def changed(user: dict[str, Any], seconds: int, name: str) -> dict[str, Any]:
    return {**user, "updated_at": user["updated_at"] + seconds * MS, "first_name": name}


def load(
    stack: Stack,
    token: str | None,
    method: str = "PUT",
    path: str = "me",
    *,
    body: Any = None,
    origin: str = ORIGINS[0],
) -> httpx.Response:
    """What the app's page asks when it is opened."""
    headers = {"Origin": origin} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    return httpx.request(
        method,
        f"{stack.outputs['ApiUrl']}/users/{path}",
        headers=headers,
        content=None if body is None else json.dumps(body),
        timeout=40,
    )
