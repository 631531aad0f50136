"""python3 -m tests.local run: the main job, on this machine alone."""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import httpx

from clerk_sync.aws.dynamodb import from_item, to_item
from clerk_sync.runs.run import RunResult
from clerk_sync.runs.runs_table import RunsTable
from tests.local.aws import docker
from tests.local.aws.local_aws import (
    CREDENTIALS,
    LOCAL,
    REGION,
    SECRET_KEY,
    WEBHOOK_SECRET,
    FunctionError,
    LocalAws,
    LocalAwsError,
    Outputs,
    build,
    is_free,
)
from tests.local.clerk.fake_users import make_users
from tests.local.clerk.session_tokens import LOCAL_ORIGIN
from tests.local.clerk.simulated_clerk import SimulatedClerk
from tests.local.commands.dashboard import dashboard
from tests.local.commands.progress import Bar
from tests.local.commands.sign import LOCAL_SECRET
from tests.local.commands.terminal import plain

REAL_CLERK = "https://api.clerk.com/v1"
PLACEHOLDER = {"firstName": "Test", "lastName": "User", "email": "user@example.com"}
APPS_OWN = {"plan": "pro", "theme": "dark"}
SHOWN = 3
KEPT_PORT = 4566
"""Where the local AWS is that is kept up."""


def main() -> int:
    options = _options()
    key = os.environ.get("CLERK_SECRET_KEY", "").strip()
    if key and not key.startswith("sk_"):
        print("CLERK_SECRET_KEY is not a secret key: those begin with sk_test_ or sk_live_.", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    url, issuer = REAL_CLERK, ""
    try:
        with ExitStack() as stack:
            if not key:
                with step(f"A simulated Clerk with {options.users:,} users"):
                    people = make_users(options.users)
                    port = 8400 if options.keep and is_free(8400) else 0
                    clerk = SimulatedClerk(users=people, port=port)
                    stack.enter_context(clerk)
                url, issuer, key = clerk.url, clerk.issuer, clerk.secret_key
            else:
                print("Reading the Clerk instance of CLERK_SECRET_KEY. Nothing is ever written to Clerk.")
            with step("Starting the local AWS"):
                aws = stack.enter_context(LocalAws(options.port))
            with step("Building the functions (sam build)"):
                build()
            with step("Deploying template.yaml (sam deploy)"):
                outputs = deploy(aws, url, issuer, key)
            planted = _plant(aws, outputs, url, key)
            result = _backfill(aws, outputs)
            _report(aws, outputs, result, planted)
            if options.keep:
                _write_environment(aws, outputs, url, issuer)
                widgets = stack.enter_context(dashboard(aws, outputs))
                _explore(aws, outputs, url, key, widgets)
            return 0 if result["status"] == "COMPLETED" else 1
    except (LocalAwsError, FunctionError) as error:
        print(f"\n{error}", file=sys.stderr)
        if url == REAL_CLERK:
            print("Check this machine's way to api.clerk.com, and run this again.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m tests.local run", description=__doc__)
    parser.add_argument(
        "--users", type=whole_number(0, 1_000_000), default=2000, metavar="N", help="simulated users (2000)"
    )
    parser.add_argument("--keep", action="store_true", help="stay up to be explored, until Ctrl-C")
    parser.add_argument(
        "--port", type=whole_number(1, 65535), metavar="N", help="the local AWS's port (4566 with --keep)"
    )
    options = parser.parse_args()
    if options.keep and options.port is None:
        options.port = KEPT_PORT
    return options


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """An argument's type."""

    def number(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not a number from {low} to {high}")
        return int(text)

    return number


@contextmanager
def step(what: str) -> Iterator[None]:
    """Tell what is being done, and how long it took."""
    print(f"{what} ...", end=" ", flush=True)
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:.1f} s", flush=True)


def deploy(aws: LocalAws, clerk_url: str, issuer: str, key: str) -> Outputs:
    """Put the secrets in place and deploy the template, for the Clerk at that address."""
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
    """Rows as an app has them that took its users in at log-in: placeholders, and attributes of its own."""
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
        print(f"Planting {len(rows)} rows with placeholder data and the app's own attributes")
    return rows


def _backfill(aws: LocalAws, outputs: Outputs) -> RunResult:
    print("\nInvoking BackfillFunction with {}")
    runs = RunsTable(aws.client("dynamodb"), outputs["RunsTable"])
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
        print(f"    is   {plain(json.dumps(row, ensure_ascii=False))}")


def _rows(aws: LocalAws, table: str, user_ids: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for user_id in user_ids:
        answer = aws.client("dynamodb").get_item(TableName=table, Key=to_item({"clerkUserId": user_id}))
        row = from_item(answer["Item"])
        yield row.pop("clerkUserId"), dict(sorted(row.items()))


def _explore(aws: LocalAws, outputs: Outputs, clerk_url: str, key: str, widgets: str) -> None:
    sam = f"{shutil.which('sam') or '.local/sam/bin/sam'} local invoke --config-env local"
    credentials = " ".join(f"{name}={value}" for name, value in CREDENTIALS.items())
    clerk_key = key if clerk_url != REAL_CLERK else "$CLERK_SECRET_KEY"
    port = "" if aws.endpoint.endswith(f":{KEPT_PORT}") else f" --port {urlsplit(aws.endpoint).port}"
    print("\nIt stays up until Ctrl-C. What is where:\n")
    here = {"Local AWS": aws.endpoint, "Clerk": clerk_url, "The dashboard's widgets": widgets}
    for name, value in {**here, **outputs}.items():
        print(f"  {name:25}{value}")
    print(
        f"""
To try in another terminal:

  export AWS_ENDPOINT_URL={aws.endpoint} AWS_DEFAULT_REGION={REGION} {credentials}
  aws dynamodb scan --table-name {outputs["UsersTable"]} --max-items 3
  aws lambda invoke --function-name {outputs["BackfillFunction"]} \\
    --payload fileb://tests/events/backfill.json /dev/stdout
  aws sqs get-queue-attributes --endpoint-url {aws.endpoint} --attribute-names All \\
    --queue-url {outputs["PagesQueue"]}

  {sam} BackfillFunction --event tests/events/backfill.json
  {sam} AuditFunction --event tests/events/audit.json
  {sam} WorkerFunction --event tests/events/worker.json
  python3 -m tests.local sign tests/events/webhook-user-updated.json \\
    | {sam} WebhookFunction --event -
  python3 -m tests.local send{port} tests/events/webhook-user-updated.json
{_page_load(sam, outputs)}
  curl -H "Authorization: Bearer {clerk_key}" '{clerk_url}/users?limit=1&order_by=created_at'
""",
        flush=True,
    )
    ports = [number for url in (aws.endpoint, clerk_url) if (number := urlsplit(url).port)]
    with docker.reachable_from_containers(*ports):
        signal.pause()


def _write_environment(aws: LocalAws, outputs: Outputs, clerk_url: str, issuer: str) -> None:
    """What `sam local invoke` is to tell the functions, see samconfig.toml."""
    variables = {
        "AWS_ENDPOINT_URL": aws.endpoint.replace("127.0.0.1", docker.HOST),
        "CLERK_API_URL": clerk_url.replace("127.0.0.1", docker.HOST),
        "CLERK_ISSUER": issuer.replace("127.0.0.1", docker.HOST),
        "CLERK_AUTHORIZED_PARTIES": LOCAL_ORIGIN,
        "USERS_TABLE": outputs["UsersTable"],
        "RUNS_TABLE": outputs["RunsTable"],
        "PAGES_QUEUE_URL": outputs["PagesQueue"],
    }
    (LOCAL / "env.json").write_text(json.dumps({"Parameters": variables}, indent=2))


def _page_load(sam: str, outputs: Outputs) -> str:
    if "ProfileFunction" not in outputs:
        return ""
    return f"""
  python3 -m tests.local sign tests/events/profile-put.json \\
    | {sam} ProfileFunction --event -
  curl -i -X PUT -H "Authorization: Bearer $(python3 -m tests.local token)" \\
    {outputs["ApiUrl"]}/users/me
"""


if __name__ == "__main__":
    sys.exit(main())
