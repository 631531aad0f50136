"""The audit's report: what is wrong with the table. docs/reference.md has its shape."""

from collections.abc import Iterator, Mapping
from typing import Any

from clerk_sync.runs.run import MissedDeletions, Run
from clerk_sync.text import counted
from clerk_sync.users.drift import Findings
from clerk_sync.users.user import UserProblem
from clerk_sync.webhook.arrivals import Webhooks

KINDS = ("missing", "drifted", "placeholders", "notInClerk", "markedButAlive")


def report(
    run: Run, found: Findings, problems: list[UserProblem], webhooks: Webhooks | None, now: int
) -> dict[str, Any]:
    """What AuditFunction answers about a run, as of `now` (ms)."""
    gone = run.deletions or MissedDeletions()
    gone_users = [{"clerkUserId": user_id, "fields": []} for user_id in gone.first]
    groups = {**found, "notInClerk": {"count": gone.found, "users": gone_users}}
    missed = run.counts.missed_by_webhooks + gone.listed_before
    verdict = "DRIFT" if run.has_drift else "OK"
    made = {
        "runId": run.run_id,
        "status": run.status,
        "verdict": verdict if run.is_over and run.status != "FAILED" else None,
        "repair": not run.dry_run,
        "clerkUsers": run.total_users - gone.sent,
        **{kind: groups[kind] for kind in KINDS},
        "deletionsHeldBack": gone.held_back,
        "skippedCount": run.counts.skipped,
        "errorCount": run.counts.errors,
        "missedByWebhooks": missed if webhooks else None,
        "hoursSinceLastWebhook": webhooks.hours_silent(now) if webhooks else None,
        "startedAt": run.started_at,
        "timestamp": run.ended_at,
        "errors": run.errors(problems),
    }
    return {**made, "advice": list(_advice(made, gone.unasked))}


def _advice(report: Mapping[str, Any], unasked: int) -> Iterator[str]:
    """What to do, in order."""
    if report["status"] == "RUNNING":
        yield f'Invoke AuditFunction with {{"runId": "{report["runId"]}"}} to see how it ended.'
    if held_back := report["deletionsHeldBack"]:
        yield f"No row was marked as deleted. {held_back}"
    if report["errorCount"]:
        yield f"{counted(report['errorCount'], 'user')} could not be compared: see errors."
    if unasked:
        yield f"{counted(unasked, 'more row')} may be of deleted users, too many to confirm. Audit again."
    if any(report[kind]["count"] for kind in KINDS if not (held_back and kind == "notInClerk")):
        yield (
            "Audit again to confirm that the rows are now correct."
            if report["repair"]
            else 'Invoke AuditFunction with {"repair": true} to fix the rows.'
        )
    if report["missedByWebhooks"]:
        yield (
            f"Webhooks should have delivered {report['missedByWebhooks']:,} of these changes. Check the "
            "endpoint in Clerk's dashboard: it is enabled, sends all four events and is answered 204."
        )
