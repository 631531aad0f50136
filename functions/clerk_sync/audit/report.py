"""The audit's report: what is wrong with the table."""

from collections.abc import Iterator
from typing import Literal, TypedDict, get_args

from clerk_sync.runs.run import ProblemResult, Run, Status
from clerk_sync.text import counted
from clerk_sync.users.drift import AffectedUser, FindingGroup, FindingKind, Findings
from clerk_sync.users.user import UserProblem
from clerk_sync.webhook.arrivals import Webhooks

Kind = Literal["missing", "drifted", "placeholders", "notInClerk", "markedButAlive"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Report(TypedDict):
    """The result of AuditFunction. Times in ms.

    `verdict` is null while the run is under way, and if it failed. `skippedCount` counts users without a row
    if rows are not created. `deletionsHeldBack` says why the rows of deleted users were not marked.
    """

    runId: str
    status: Status
    verdict: Literal["OK", "DRIFT"] | None
    repair: bool
    clerkUsers: int
    missing: FindingGroup
    drifted: FindingGroup
    placeholders: FindingGroup
    notInClerk: FindingGroup
    markedButAlive: FindingGroup
    deletionsHeldBack: str | None
    skippedCount: int
    errorCount: int
    missedByWebhooks: int | None
    hoursSinceLastWebhook: float | None
    startedAt: int
    timestamp: int | None
    errors: list[ProblemResult]
    advice: list[str]


def report(
    run: Run, found: Findings, problems: list[UserProblem], webhooks: Webhooks | None, now: int
) -> Report:
    """The report of a run, as of `now` (ms)."""
    gone = run.deletions
    not_in_clerk: FindingGroup = {"count": 0, "users": []}
    if gone:
        users: list[AffectedUser] = [{"clerkUserId": user_id, "fields": []} for user_id in gone.first]
        not_in_clerk = {"count": gone.found, "users": users}
    held_back = gone.held_back if gone else None
    verdict: Literal["OK", "DRIFT"] | None = None
    if run.is_over and run.status != "FAILED":
        verdict = "DRIFT" if run.has_drift else "OK"
    missed = run.counts.missed_by_webhooks + (gone.listed_before if gone else 0)
    one: Report = {
        "runId": run.run_id,
        "status": run.status,
        "verdict": verdict,
        "repair": not run.dry_run,
        "clerkUsers": run.total_users - (gone.sent if gone else 0),
        "missing": found[FindingKind.MISSING],
        "drifted": found[FindingKind.DRIFTED],
        "placeholders": found[FindingKind.PLACEHOLDER],
        "notInClerk": not_in_clerk,
        "markedButAlive": found[FindingKind.MARKED_BUT_ALIVE],
        "deletionsHeldBack": held_back,
        "skippedCount": run.counts.skipped,
        "errorCount": run.counts.errors,
        "missedByWebhooks": missed if webhooks else None,
        "hoursSinceLastWebhook": webhooks.hours_silent(now) if webhooks else None,
        "startedAt": run.started_at,
        "timestamp": run.ended_at,
        "errors": run.errors(problems),
        "advice": [],
    }
    return {**one, "advice": list(_advice(one, gone.unasked if gone else 0))}


def _advice(report: Report, unasked: int) -> Iterator[str]:
    """What to do, in order."""
    if report["status"] == "RUNNING":
        yield f'Invoke AuditFunction with {{"runId": "{report["runId"]}"}} to see how it ended.'
    if report["deletionsHeldBack"]:
        yield f"No row was marked as deleted. {report['deletionsHeldBack']}"
    if report["errorCount"]:
        yield f"{counted(report['errorCount'], 'user')} could not be compared: see errors."
    if unasked:
        yield f"{counted(unasked, 'more row')} may be of deleted users, too many to confirm. Audit again."
    held_back = ("notInClerk",) if report["deletionsHeldBack"] else ()
    if any(report[kind]["count"] for kind in KINDS if kind not in held_back):
        yield (
            "Audit again to see that the rows are right now."
            if report["repair"]
            else ('Invoke AuditFunction with {"repair": true} to fix the rows.')
        )
    if report["missedByWebhooks"]:
        yield (
            f"Webhooks should have delivered {report['missedByWebhooks']:,} of these changes. Check the "
            "endpoint in Clerk's dashboard: it is enabled, sends all four events and is answered 204."
        )
