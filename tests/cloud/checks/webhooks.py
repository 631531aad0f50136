"""Are webhooks taken when they are signed, refused when they are not, and does Clerk send any?"""

import base64
import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx

from clerk_sync.aws.items import Items
from clerk_sync.clock import now_ms
from clerk_sync.dashboard.wording import ago
from clerk_sync.runs.run import Run
from clerk_sync.runs.runs_table import SILENT_HOURS, RunsTable
from clerk_sync.text import counted
from clerk_sync.webhook.arrivals import Webhooks
from tests.cloud.checks.secrets import each, read, webhook_secret_result
from tests.cloud.result import Mark, Result, ok, unknown, wrong
from tests.cloud.stack import Stack
from tests.local.commands.sign import signature_headers

EVENT_TYPE = "clerk_sync.check"
"""No type of Clerk's: it changes nothing, and does not count as a webhook from Clerk."""

LOG = "Read WebhookFunction's log (webhook_failed): it says why."


def look(stack: Stack) -> Iterator[Result]:
    parameter = stack.parameters["ClerkWebhookSecretParameter"]
    stored = read(stack.client("ssm"), parameter)
    secret = webhook_secret_result(parameter, stored)
    yield secret
    url, is_restricted = stack.url("WebhookUrl"), bool(stack.parameters.get("WebhookIpRanges"))
    if secret.mark is Mark.OK and stored:
        answer = post(url, each(stored)[0])
        yield answer if isinstance(answer, Result) else signed_result(answer, is_restricted)
    else:
        yield unknown("webhook endpoint", "Nothing was sent, as there is no secret to sign it with.")
    answer = post(url, f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}")
    yield answer if isinstance(answer, Result) else forged_result(answer, is_restricted)
    runs = RunsTable(Items(stack.client("dynamodb"), stack.outputs["RunsTable"]))
    arrived = runs.webhooks()
    rejected = _rejected_in_a_day(stack) if arrived is None else 0
    yield arrivals_result(arrived, runs.current("incremental").run, rejected, now_ms())


def post(url: str, secret: str) -> int | Result:
    """Post an event that is signed with this secret; the answer's status."""
    body = json.dumps({"object": "event", "type": EVENT_TYPE, "timestamp": now_ms(), "data": {}})
    headers = {"Content-Type": "application/json"} | signature_headers(body, secret, "msg_clerk_sync_check")
    try:
        return httpx.post(url, content=body, headers=headers, timeout=20).status_code
    except httpx.HTTPError as error:
        return unknown(
            "webhook endpoint", f"{url} does not answer: {type(error).__name__}.", "Check the network."
        )


def signed_result(status: int, is_restricted: bool) -> Result:
    """Whether a signed event was taken."""
    subject = "webhook endpoint"
    match status:
        case 204:
            return ok(subject, "accepts a signed event")
        case 401:
            return wrong(
                subject,
                "It refuses what is signed with the secret in SSM.",
                "If that secret was just changed, check again in 5 minutes. Set this machine's clock right. "
                "If it lasts, WebhookFunction reads another secret: look at its environment variables.",
            )
        case _:
            return _unexpected(subject, status, is_restricted)


def forged_result(status: int, is_restricted: bool) -> Result:
    """Whether an event with a wrong signature was refused."""
    subject = "webhook signatures"
    if status == 401:
        return ok(subject, "an event with a wrong signature is refused")
    if 200 <= status < 300:
        found = f"An event with a wrong signature is answered {status}: anybody can write to the table."
        return wrong(subject, found, "Deploy this version again: sam build && sam deploy.")
    return _unexpected(subject, status, is_restricted)


def _unexpected(subject: str, status: int, is_restricted: bool) -> Result:
    answered = f"The event was answered {status}"
    match status:
        case 403 if is_restricted:
            return unknown(subject, "It can't be tested from here: WebhookIpRanges keeps this machine out.")
        case 403 | 404:
            found = f"{answered}: there is no such route, or something in front of it refuses."
            to_do = "If the Api has a firewall (WAF), let POST /webhooks/clerk in; otherwise deploy again."
            return wrong(subject, found, to_do)
        case 429:
            return unknown(subject, f"{answered}: the Api is throttled.", "Try again later.")
        case 503:
            return wrong(subject, f"{answered}: WebhookFunction can't reach SSM or a table.", LOG)
        case _:
            found = f"{answered}: WebhookFunction is not set up right, or the Api can't invoke it."
            return wrong(subject, found, f"{LOG} If it says nothing, deploy again.")


def arrivals_result(webhooks: Webhooks | None, run: Run | None, rejected: int, now: int) -> Result:
    """Whether Clerk sends webhooks. `run` is the last incremental one: what it had to write changed in Clerk
    lately, so a webhook should have delivered it. `rejected` is how many were rejected in the last day."""
    subject = "webhooks from Clerk"
    if webhooks is None:
        changed = run.counts.created + run.counts.updated if run and run.since is not None else 0
        hint = ""
        if rejected > 1:  # one is this check's own
            hint = f" {rejected:,} were rejected in the last day: is the secret in SSM that of the endpoint?"
        if not changed:
            found = f"None has arrived yet. One does when a user signs in or changes.{hint}"
            return unknown(subject, found)
        found = f"None has ever arrived, though {counted(changed, 'user')} changed.{hint}"
        to_do = "Add the endpoint in Clerk's dashboard, Webhooks, with WebhookUrl and the four events."
        return wrong(subject, found, to_do)
    last = f"the last one arrived {ago(now - webhooks.last_at)}"
    missed = run.counts.missed_by_webhooks if run else 0
    if missed and webhooks.hours_silent(now) >= SILENT_HOURS:
        changes = counted(missed, "change")
        found = f"{last.capitalize()}, and the last incremental run found {changes} without one."
        to_do = (
            "Enable the endpoint in Clerk's dashboard, Webhooks: Clerk disables one that fails for 5 days."
        )
        return wrong(subject, found, to_do)
    return ok(subject, last)


def _rejected_in_a_day(stack: Stack) -> int:
    now = datetime.now(UTC)
    answer = stack.client("cloudwatch").get_metric_statistics(
        Namespace="clerk-sync",
        MetricName="WebhooksRejected",
        Dimensions=[{"Name": "service", "Value": stack.name}],
        StartTime=now - timedelta(days=1),
        EndTime=now,
        Period=86400,
        Statistics=["Sum"],
    )
    return int(sum(point["Sum"] for point in answer["Datapoints"]))
