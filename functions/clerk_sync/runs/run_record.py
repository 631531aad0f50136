"""A run as RunsTable has it: the attributes of its record."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from pydantic import TypeAdapter
from pydantic.alias_generators import to_camel

from clerk_sync.aws.items import Value
from clerk_sync.runs.counts import Counts
from clerk_sync.runs.run import MissedDeletions, Run

RUN = "run"
"""The part of a run's record."""
KEPT_SECONDS = 90 * 24 * 3600

_STORED_OTHERWISE = {"counts", "checkpoint"}
_NAMES = {
    **{field.name: to_camel(field.name) for field in fields(Run) if field.name not in _STORED_OTHERWISE},
    "total_users": "totalClerkUsers",
    "ended_at": "timestamp",
}
_SET_WHILE_PAGING = (
    "instance_id",
    "expected_users",
    "pages",
    "total_users",
    "unlisted_users",
    "deletions",
    "paged_at",
    "failure",
)
_DELETIONS = TypeAdapter(MissedDeletions)


def new_record(run: Run) -> dict[str, Value]:
    """The record of a run that starts."""
    return {
        "part": RUN,
        **_values(run, _NAMES),
        **run.counts.dump(),
        "leaseUntil": 0,
        "expiresAt": expires_at(run),
    }


def load_run(item: Mapping[str, Any]) -> Run:
    """The run that a record holds, without its checkpoint: that is with its last page."""
    values = {name: item[attribute] for name, attribute in _NAMES.items() if attribute in item}
    run = Run(**{**values, "deletions": load_deletions(item)}, counts=Counts.load(item))
    # The record has the users that were listed; the total and the errors include the others.
    return replace(
        run,
        total_users=run.total_users + run.unlisted_users,
        counts=run.counts + Counts(errors=run.unlisted_users),
    )


def progress(run: Run) -> dict[str, Value]:
    """The attributes that the invocation that pages the run sets."""
    # Set, not added up: the SDK repeats a call whose answer was lost.
    return {**_values(run, _SET_WHILE_PAGING), "pagesButOne": run.pages - 1}


def _values(run: Run, names: Iterable[str]) -> dict[str, Value]:
    values = {
        **{name: getattr(run, name) for name in names},
        "deletions": dump_deletions(run.deletions) if run.deletions else None,
    }
    return {_NAMES[name]: value for name, value in values.items() if value is not None}


def expires_at(run: Run) -> int:
    """When RunsTable deletes what it has of a run (s since 1970)."""
    return run.started_at // 1000 + KEPT_SECONDS


def dump_deletions(deletions: MissedDeletions) -> str:
    """The `deletions` of a run or of a page."""
    return _DELETIONS.dump_json(deletions).decode()


def load_deletions(item: Mapping[str, Any]) -> MissedDeletions | None:
    """The reverse of `dump_deletions`; None where there are none."""
    return _DELETIONS.validate_json(item["deletions"]) if "deletions" in item else None
