"""A run as RunsTable has it: the attributes of its record."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from clerk_sync.aws.dynamodb import Value
from clerk_sync.clerk.checkpoint import Checkpoint
from clerk_sync.runs.run import Counts, MissedDeletions, Run
from clerk_sync.users.fields import DEFAULT_NAMES, FIELDS

RUN = "run"
"""The part of a run's record."""
KEPT_SECONDS = 90 * 24 * 3600

COUNT_NAMES = {
    "created": "createdCount",
    "updated": "updatedCount",
    "unchanged": "unchangedCount",
    "skipped": "skippedCount",
    "errors": "errorCount",
    "missed_by_webhooks": "missedByWebhooks",
    "findings": "findingsCount",
}


def new_record(run: Run) -> dict[str, Value | None]:
    """The record of a run that starts."""
    return {
        "runId": run.run_id,
        "part": RUN,
        "mode": run.mode,
        "status": run.status,
        "createMissing": run.create_missing,
        "dryRun": run.dry_run,
        "startedAt": run.started_at,
        "usersTable": run.users_table,
        "instanceId": run.instance_id,
        "since": run.since,
        **progress(run),
        "settledPages": 0,
        "givenUpPages": 0,
        **count_values(run.counts),
        "leaseUntil": 0,
        "webhooksSince": run.webhooks_since,
        "fullRunAt": run.full_run_at,
        "fields": ",".join(run.names),
        "expiresAt": expires_at(run),
    }


def load_run(item: Mapping[str, Any]) -> Run:
    """The run that a record holds."""
    counts, unlisted = load_counts(item), item.get("unlistedUsers", 0)
    fields = item["fields"].split(",") if "fields" in item else DEFAULT_NAMES
    return Run(
        run_id=item["runId"],
        mode=item["mode"],
        create_missing=item["createMissing"],
        dry_run=item["dryRun"],
        started_at=item["startedAt"],
        users_table=item["usersTable"],
        instance_id=item.get("instanceId"),
        since=item.get("since"),
        status=item["status"],
        expected_users=item.get("expectedUsers"),
        pages=item["pages"],
        total_users=item["totalClerkUsers"] + unlisted,
        settled_pages=item["settledPages"],
        given_up_pages=item["givenUpPages"],
        unlisted_users=unlisted,
        counts=replace(counts, errors=counts.errors + unlisted),
        checkpoint=Checkpoint.load(item["checkpoint"]),
        paged_at=item.get("pagedAt"),
        ended_at=item.get("timestamp"),
        failure=item.get("failure"),
        webhooks_since=item.get("webhooksSince"),
        full_run_at=item.get("fullRunAt"),
        deletions=load_deletions(item),
        names=tuple(name for name in FIELDS if name in fields),
    )


def progress(run: Run) -> dict[str, Value]:
    """The attributes that say how far a run was read."""
    # Set, not added up: the SDK repeats a call whose answer was lost.
    values: dict[str, Value] = {
        "pages": run.pages,
        "totalClerkUsers": run.total_users,
        "checkpoint": run.checkpoint.dump(),
    }
    if run.deletions:
        values["deletions"] = dump_deletions(run.deletions)
    return values


def expires_at(run: Run) -> int:
    """When RunsTable deletes what it has of a run (s since 1970)."""
    return run.started_at // 1000 + KEPT_SECONDS


def count_values(counts: Counts) -> dict[str, int]:
    """The attributes that hold the counts of a run or of a page."""
    return {COUNT_NAMES[name]: count for name, count in asdict(counts).items()}


def load_counts(item: Mapping[str, Any]) -> Counts:
    """The counts of a run or of a page; a page has none before its outcome is recorded."""
    return Counts(**{name: item.get(attribute, 0) for name, attribute in COUNT_NAMES.items()})


def dump_deletions(deletions: MissedDeletions) -> str:
    """The `deletions` of a run or of a page."""
    return json.dumps(asdict(deletions))


def load_deletions(item: Mapping[str, Any]) -> MissedDeletions | None:
    """The reverse of `dump_deletions`; None where there are none."""
    if "deletions" not in item:
        return None
    values = json.loads(item["deletions"])
    return MissedDeletions(**{**values, "first": tuple(values["first"])})
