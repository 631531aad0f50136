"""python3 -m tests.local run: a backfill on this machine."""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

import httpx

from clerk_sync.aws.items import Items, from_item, to_item
from clerk_sync.clock import now_ms
from clerk_sync.runs.run import RunResult
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.text import counted
from tests.local.aws import docker
from tests.local.aws.build import build
from tests.local.aws.local_aws import (
    CREDENTIALS,
    REGION,
    SECRET_KEY,
    STACK,
    WEBHOOK_SECRET,
    FunctionError,
    LocalAws,
    LocalAwsError,
    Outputs,
    is_free,
)
from tests.local.clerk.fake_users import recent_users
from tests.local.clerk.session_tokens import LOCAL_ORIGIN
from tests.local.clerk.simulated_clerk import SimulatedClerk
from tests.local.commands.dashboard import dashboard
from tests.local.commands.kept import CLERK_PORT, write_environment
from tests.local.commands.progress import Bar
from tests.local.commands.sign import LOCAL_SECRET
from tests.local.commands.terminal import plain, step
from tests.local.launcher.arguments import KEPT_PORT, PROGRAM
from tests.local.launcher.proxies import proxy_variables

REAL_CLERK = "https://api.clerk.com/v1"
PLACEHOLDER = {"firstName": "Test", "lastName": "User", "email": "user@example.com"}
APPS_OWN = {"plan": "pro", "theme": "dark"}
SHOWN = 3
NEXT_STEPS = f"""
Next:
  {PROGRAM} run --keep     keep it up to explore: the dashboard, webhooks, page loads
  README.md, "Deploy it"                deploy it to your AWS account
"""


def main(options: argparse.Namespace) -> int:
    key = os.environ.get("CLERK_SECRET_KEY", "").strip()
    if key and not key.startswith("sk_"):
        print("CLERK_SECRET_KEY is not a secret key: those begin with sk_test_ or sk_live_.", file=sys.stderr)
        return 2
    kept_port = KEPT_PORT if options.keep else None
    url, issuer = REAL_CLERK, ""
    try:
        with ExitStack() as stack:
            if not key:
                with step(f"A simulated Clerk with {counted(options.users, 'user')}"):
                    port = CLERK_PORT if options.keep and is_free(CLERK_PORT) else 0
                    clerk = stack.enter_context(SimulatedClerk(port=port))
                    clerk.add(*recent_users(options.users, now_ms(), clerk.pictures))
                url, issuer, key = clerk.url, clerk.issuer, clerk.secret_key
            else:
                print("Reading the Clerk instance of CLERK_SECRET_KEY. Nothing is ever written to Clerk.")
            with step("Starting the local AWS"):
                aws = stack.enter_context(LocalAws(options.port or kept_port))
            with step("Building the functions (sam build)"):
                build()
            with step("Deploying template.yaml (sam deploy)"):
                outputs = deploy(aws, url, issuer, key)
            planted = _plant(aws, outputs, url, key)
            result = _backfill(aws, outputs)
            _report(aws, outputs, result, planted)
            if options.keep:
                write_environment(aws, outputs, url, issuer)
                widgets = stack.enter_context(dashboard(aws, outputs))
                _explore(aws, outputs, url, key, widgets)
            else:
                print(NEXT_STEPS)
            return 0 if result["status"] == "COMPLETED" else 1
    except LocalAwsError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except FunctionError as error:
        print(f"\n{error}\n{_after_failure(url)}", file=sys.stderr)
        return 1


def _after_failure(clerk_url: str) -> str:
    """What to do after a run that failed; its message speaks of a stack that stays."""
    check = "check this machine's connection to api.clerk.com, and " if clerk_url == REAL_CLERK else ""
    return f"The local AWS has ended, and this run with it: {check}start '{PROGRAM} run' again."


def deploy(aws: LocalAws, clerk_url: str, issuer: str, key: str) -> Outputs:
    """Store the secrets and deploy the template, for the Clerk at that address."""
    aws.put_secret(SECRET_KEY, key)
    aws.put_secret(WEBHOOK_SECRET, LOCAL_SECRET)
    # A development instance answers 10 requests a second, shared with whatever uses it now.
    rate = "5" if clerk_url == REAL_CLERK and key.startswith("sk_test_") else "20"
    # Nobody here can sign in at a real instance, so only a simulated one's users call on page load.
    origins = LOCAL_ORIGIN if issuer else ""
    return aws.deploy(
        {
            "ClerkApiUrl": clerk_url,
            "ClerkRequestsPerSecond": rate,
            "ClerkIssuer": issuer,
            "ClerkAuthorizedParties": origins,
        }
    )


def _plant(aws: LocalAws, outputs: Outputs, clerk_url: str, key: str) -> dict[str, dict[str, Any]]:
    """Plant rows like those of an app that stores users at log-in: placeholders, and its own attributes."""
    try:
        answer = httpx.get(
            f"{clerk_url}/users",
            params={"limit": SHOWN, "order_by": "created_at"},
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )
        payloads = answer.json() if answer.status_code == 200 else []
    except (httpx.HTTPError, ValueError):
        payloads = []  # the backfill will say what is wrong, and better
    rows = {payload["id"]: PLACEHOLDER | APPS_OWN for payload in payloads}
    for user_id, row in rows.items():
        aws.client("dynamodb").put_item(
            TableName=outputs["UsersTable"], Item=to_item({"clerkUserId": user_id, **row})
        )
    if rows:
        print(f"Planting {counted(len(rows), 'row')} with placeholder data and the app's own attributes")
    return rows


def _backfill(aws: LocalAws, outputs: Outputs) -> RunResult:
    print("\nInvoking BackfillFunction with {}")
    runs = RunsTable(Items(aws.client("dynamodb"), outputs["RunsTable"]))
    with ThreadPoolExecutor(1) as pool:
        invocation = pool.submit(aws.invoke, outputs["BackfillFunction"], {})
        _follow(runs, invocation)
        result: RunResult = invocation.result()
    return result


def _follow(runs: RunsTable, invocation: Future[Any]) -> None:
    bar = Bar()
    started = time.monotonic()
    warned = False
    while True:
        is_over = invocation.done()
        run = runs.current("full").run
        if run:
            bar.show(run)
        if is_over:
            break
        if run and run.expected_users is None and time.monotonic() - started > 5 and not warned:
            print("\n  Clerk has not answered yet; it is asked again for about a minute ...", flush=True)
            warned = True
        time.sleep(0.2)
    bar.end()


def _report(
    aws: LocalAws, outputs: Outputs, result: RunResult, planted: Mapping[str, Mapping[str, Any]]
) -> None:
    print("\nThe run's result:")
    print(json.dumps(result, indent=2))
    if result["status"] != "COMPLETED" or not planted:
        return
    print(f"\nRows of {outputs['UsersTable']}:")
    for user_id, row in islice(_rows(aws, outputs["UsersTable"], list(planted)), SHOWN):
        print(f"\n  {plain(user_id)}")
        if user_id in planted:
            print(f"    was  {json.dumps(planted[user_id])}")
        print(f"    is   {plain(json.dumps(row, ensure_ascii=False, default=str))}")


def _rows(aws: LocalAws, table: str, user_ids: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for user_id in user_ids:
        answer = aws.client("dynamodb").get_item(TableName=table, Key=to_item({"clerkUserId": user_id}))
        row = from_item(answer["Item"])
        yield row.pop("clerkUserId"), dict(sorted(row.items()))


def _explore(aws: LocalAws, outputs: Outputs, clerk_url: str, key: str, widgets: str) -> None:
    print(_names(aws, outputs, clerk_url, widgets))
    print(_commands(aws, outputs, clerk_url, key), flush=True)
    ports = [number for url in (aws.endpoint, clerk_url) if (number := urlsplit(url).port)]
    with docker.reachable_from_containers(*ports):
        while True:
            signal.pause()


def _names(aws: LocalAws, outputs: Outputs, clerk_url: str, widgets: str) -> str:
    here = {"Local AWS": aws.endpoint, "Clerk": clerk_url, "The dashboard's widgets": widgets}
    # DashboardUrl leads to the real console, where this stack is not.
    deployed = {name: value for name, value in outputs.items() if name != "DashboardUrl"}
    return "\n".join(
        ["\nThis stays up until Ctrl-C. What is where:\n"]
        + [f"  {name:25}{value}" for name, value in (here | deployed).items()]
    )


def _commands(aws: LocalAws, outputs: Outputs, clerk_url: str, key: str) -> str:
    sam = shutil.which("sam") or ".local/sam/bin/sam"
    locally = f"{sam} local invoke --config-env local"
    variables = {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_DEFAULT_REGION": REGION, **CREDENTIALS}
    if proxy_variables(os.environ):
        variables |= {name: os.environ[name] for name in ("no_proxy", "NO_PROXY")}
    exports = " ".join(f"{name}={quote(value)}" for name, value in variables.items())
    clerk_key = key if clerk_url != REAL_CLERK else "$CLERK_SECRET_KEY"
    port = "" if aws.endpoint.endswith(f":{KEPT_PORT}") else f" --port {urlsplit(aws.endpoint).port}"
    return f"""
To try in another terminal:

  export {exports}
  {sam} remote invoke BackfillFunction --stack-name {STACK} --event '{{}}'
  {sam} remote invoke AuditFunction --stack-name {STACK} --event '{{}}'
  python3 -m tests.cloud check {STACK}
  python3 -m tests.cloud follow {STACK}

  {PROGRAM} send{port} tests/events/webhook-user-updated.json
  curl -i -X PUT -H "Authorization: Bearer $({PROGRAM} token)" \\
    {outputs["ApiUrl"]}/users/me
  curl -H "Authorization: Bearer {clerk_key}" '{clerk_url}/users?limit=1&order_by=created_at'

With the AWS CLI, after the same export:

  aws dynamodb scan --table-name {outputs["UsersTable"]} --max-items 3
  aws sqs get-queue-attributes --endpoint-url {aws.endpoint} --attribute-names All \\
    --queue-url {outputs["PagesQueue"]}

With Docker, which 'sam local invoke' needs:

  {locally} BackfillFunction --event tests/events/backfill.json
  {locally} AuditFunction --event tests/events/audit.json
  {locally} WorkerFunction --event tests/events/worker.json
  {locally} DashboardFunction --event tests/events/dashboard-runs.json
  {PROGRAM} sign tests/events/webhook-user-updated.json \\
    | {locally} WebhookFunction --event -
  {PROGRAM} sign tests/events/profile-put.json \\
    | {locally} ProfileFunction --event -
"""
