"""How did the last runs end, and are they as recent as their schedules say? Is the table right?"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from clerk_sync.audit.report import KINDS, report
from clerk_sync.aws.items import Items
from clerk_sync.clock import now_ms
from clerk_sync.dashboard.wording import ago
from clerk_sync.runs.page_ledger import PageLedger
from clerk_sync.runs.run import Mode, Run
from clerk_sync.runs.runs_table import RunsTable
from clerk_sync.text import counted, sentence
from clerk_sync.users.user import UserProblem
from tests.cloud.checks.schedules import SCHEDULES, is_off, schedule_of
from tests.cloud.result import Mark, Result, ok, unknown, wrong
from tests.cloud.schedule_expression import last_two_due
from tests.cloud.stack import Stack

GRACE = timedelta(minutes=15)
"""How late a run may start."""

type Due = tuple[int, int]
"""When a schedule was due last, and the time before (ms)."""


def look(stack: Stack) -> Iterator[Result]:
    dynamodb, table, now = stack.client("dynamodb"), stack.outputs["RunsTable"], now_ms()
    runs, pages = RunsTable(Items(dynamodb, table)), PageLedger(Items(dynamodb, table))
    for mode in get_args(Mode):
        run = last_run(runs, mode)
        if run and run.users_table != stack.outputs["UsersTable"]:
            yield other_table_result(mode, run, now)
            continue
        result = run_result(mode, run, pages.problems(run) if run else [], now)
        if result.mark is Mark.OK:
            result = _overdue(stack, mode, run, now) or result
        if result.mark is Mark.OK and mode == "audit" and run and run.is_over:
            made = report(run, pages.findings(run.run_id), [], runs.webhooks(), now)
            result = audit_result(made, run.deletions.rows if run.deletions else 0, now)
        yield result


def last_run(runs: RunsTable, mode: Mode) -> Run | None:
    """The last run of a mode: dry runs aside, which are no sync, though an audit that only looks is one."""
    recent = sorted(runs.current(mode).recent.items(), key=lambda item: item[1], reverse=True)
    found = (run for run_id, _ in recent if (run := runs.get(run_id)))
    return next((run for run in found if mode == "audit" or not run.dry_run), None)


def run_result(mode: Mode, run: Run | None, problems: list[UserProblem], now: int) -> Result:
    """How the last run of a mode ended."""
    subject, function = _subject(mode), SCHEDULES[mode][2]
    if run is None:
        if mode == "full":
            to_do = f"Invoke {function} with {{}} to fill the table."
            return wrong(subject, "There was none yet.", to_do)
        return ok(subject, "none yet, and none was due")
    since, ask = ago(now - run.started_at), f'invoke {function} with {{"runId": "{run.run_id}"}}'
    if not run.is_over:
        progress = f"{run.run_id} began {since} and has dealt with {counted(run.counts.total, 'user')}"
        if run.is_left_over(now):
            return wrong(subject, f"{progress}. It should be over.", f"Its log says why. {ask.capitalize()}.")
        return ok(subject, f"{progress} so far")
    reasons = run.errors(problems)
    why = sentence(f" The first reason: {reasons[0]['reason']}") if reasons else ""
    if run.status == "FAILED":
        to_do = "Then " if why else "Its log says why. Then "  # a reason says itself what to correct
        return wrong(subject, f"{run.run_id}, {since}, FAILED.{why}", to_do + _again(mode, run))
    if run.counts.errors:
        users = counted(run.total_users, "user")
        found = f"{run.run_id}, {since}, could not sync {run.counts.errors:,} of {users}."
        return wrong(
            subject, f"{found}{why}", f"For the others, {ask}. Correct that, then {_again(mode, run)}"
        )
    return ok(subject, f"{run.status} {since}: {counted(run.total_users, 'user')}")


def other_table_result(mode: Mode, run: Run, now: int) -> Result:
    """What is said if the last run of a mode was for another table, which the stack had before."""
    when = ago(now - run.started_at)
    found = f"None for this table yet: the last one, {when}, was for {run.users_table}"
    if mode == "full":
        to_do = f"Invoke {SCHEDULES[mode][2]} with {{}} to fill this table."
        return wrong(_subject(mode), f"{found}.", to_do)
    return ok(_subject(mode), found)


def overdue_result(mode: Mode, last: int | None, due: Due, enabled_at: int, now: int) -> Result | None:
    """What is said if the schedule did not start a run; None if it did, or was not to.

    `last` is when the last run began or ended, whichever is known to be later, `enabled_at` when the schedule
    was last changed (ms): before that it may have been another. A run that is older than a whole period is
    too old for the one schedule as for the other.
    """
    latest, before = due
    if last is not None and last >= latest:
        return None
    if latest < enabled_at and (last is None or last >= before):
        return None
    found = f"There was no run since the schedule was due {ago(now - latest)}"
    found += f"; the last one was {ago(now - last)}." if last is not None else "."
    to_do = "Look at SchedulesDeadLetterQueue and the function's log; then "
    return wrong(_subject(mode), found, to_do + _again(mode, None))


def audit_result(made: Mapping[str, Any], rows: int, now: int) -> Result:
    """What the last audit said of the table."""
    since = ago(now - (made["timestamp"] or made["startedAt"]))
    said = f"{counted(rows, 'synced row')} for {counted(made['clerkUsers'], 'user')}, {since}"
    if made["verdict"] == "OK":
        return ok("audit", f"OK: {said}")
    counts = ", ".join(f"{kind} {made[kind]['count']:,}" for kind in KINDS if made[kind]["count"])
    found = f"DRIFT: {counts or 'it could not look at everything'}; {said}."
    return wrong("audit", found, " ".join(made["advice"]))


def _overdue(stack: Stack, mode: Mode, run: Run | None, now: int) -> Result | None:
    schedule = schedule_of(stack, mode)
    expression = stack.parameters[SCHEDULES[mode][1]]
    if schedule is None or is_off(expression) or (run and not run.is_over):
        return None
    try:
        latest, before = last_two_due(expression, datetime.fromtimestamp(now / 1000, UTC) - GRACE)
    except ValueError as error:
        return unknown(f"{mode} run", f"Whether one was due: {error}.")
    last = max(run.started_at, run.ended_at or 0) if run else None
    enabled_at = schedule.get("LastModificationDate") or schedule["CreationDate"]
    return overdue_result(mode, last, (_ms(latest), _ms(before)), _ms(enabled_at), now)


def _subject(mode: Mode) -> str:
    return f"{mode} run" if mode != "audit" else mode


def _again(mode: Mode, run: Run | None) -> str:
    """How to start the run once more, or the scheduled one."""
    if run and run.dry_run:
        event = "{}"  # an audit without repair
    else:
        event = {"full": "{}", "incremental": '{"mode": "incremental"}', "audit": '{"repair": true}'}[mode]
    return f"invoke {SCHEDULES[mode][2]} with {event}."


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
