"""python3 -m tests.cloud follow [STACK] [RUN_ID]: how a run of a deployed stack is getting on."""

import argparse
import math
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

from clerk_sync.aws.clients import client
from clerk_sync.aws.items import Items
from clerk_sync.clock import now_ms
from clerk_sync.dashboard.wording import outcome
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.run import Mode, Run
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.text import counted
from clerk_sync.users.user import UserProblem
from tests.cloud.aws_errors import AWS_ERRORS, explained
from tests.cloud.checks.schedules import SCHEDULES
from tests.cloud.stack import StackError, find_stack
from tests.local.commands.progress import Bar, duration
from tests.local.commands.terminal import plain
from tests.local.processes.children import stop_on_signals

POLL_SECONDS = 1.0
QUIET_SECONDS = 300.0
"""After so long without progress, the run's function may have been cut off."""


class NothingToFollowError(Exception):
    """There is no such run. The message says what to do."""


def main(options: argparse.Namespace) -> int:
    stop_on_signals("No longer watching. The run goes on.")
    try:
        table = find_stack(client, options.stack).outputs["RunsTable"]
        runs = RunsTable(Items(client("dynamodb"), table))
        run = follow(runs, find(runs, options.run_id).run_id)
        print(summary(run, PageLedger(Items(client("dynamodb"), table)).problems(run)))
    except (NothingToFollowError, StackError) as error:
        print(error, file=sys.stderr)
        return 1
    except AWS_ERRORS as error:
        print(*explained(error), file=sys.stderr)
        return 1
    return 0 if run.status == "COMPLETED" else 1


def find(runs: RunsTable, run_id: str | None) -> Run:
    """The run of that id, or the one that was started last. Raises NothingToFollowError, AwsError."""
    if run_id:
        named = runs.get(run_id)
        if named is None:
            raise NothingToFollowError(f"There is no run {run_id}; runs are kept for 90 days.")
        return named
    current = [run for mode in get_args(Mode) if (run := runs.current(mode).run)]
    if not current:
        raise NothingToFollowError("There was no run yet: invoke BackfillFunction with {} to start one.")
    return max(current, key=lambda run: run.started_at)


def follow(runs: RunsTable, run_id: str) -> Run:
    """Show how the run is getting on until it is over, and return it as it is then. Raises AwsError."""
    bar = Bar()
    is_new = True
    before, changed_at = None, time.monotonic()
    while run := runs.get(run_id):
        # A worker that died right after it had counted the last page has not said so in the status.
        run = replace(run, status=run.verdict())
        if is_new:
            print(f"Run {run_id}, started {_utc(run.started_at)}", flush=True)
            is_new = False
        bar.show(run)
        if run.is_over:
            bar.end()
            return run
        if run != before:
            before, changed_at = run, time.monotonic()
        elif time.monotonic() - changed_at > QUIET_SECONDS:
            bar.end()
            print(_how_to_continue(run), flush=True)
            changed_at = math.inf  # once, until there is progress again
        time.sleep(POLL_SECONDS)
    raise NothingToFollowError(f"Run {run_id} is no longer in RunsTable.")


def _how_to_continue(run: Run) -> str:
    _, _, function = SCHEDULES[run.mode]
    return (
        f"  No progress for {QUIET_SECONDS / 60:.0f} minutes. To continue the run if its function was "
        f'cut off, invoke {function} with {{"runId": "{run.run_id}"}}.'
    )


def summary(run: Run, problems: list[UserProblem]) -> str:
    """What came of the run, for a person."""
    took = duration(((run.ended_at or now_ms()) - run.started_at) / 1000)
    kind = "an audit without repair" if run.mode == "audit" else "a dry run"
    lines = [f"{run.status} after {took}" + (f", {kind}: nothing was written" if run.dry_run else "")]
    if run.total_users or run.status != "FAILED":
        lines.append(f"  {counted(run.total_users, 'user')}: {', '.join(outcome(run)) or 'nothing to do'}")
    lines += [
        plain(f"  {error['clerkUserId'] or 'error'}: {error['reason']}") for error in run.errors(problems)
    ]
    if run.mode == "audit" and run.status != "FAILED":
        lines.append(f'  What it found: invoke AuditFunction with {{"runId": "{run.run_id}"}}.')
    return "\n".join(lines)


def _utc(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
