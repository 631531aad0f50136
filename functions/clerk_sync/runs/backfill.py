"""The backfill: reads users from Clerk and sends them to the workers, and reports what became of them."""

from clerk_sync.clock import now_ms
from clerk_sync.runs.events import Request
from clerk_sync.runs.invocation import Invocation
from clerk_sync.runs.paging import read_users
from clerk_sync.runs.resources import Resources
from clerk_sync.runs.run import RunResult


def backfill(resources: Resources, request: Request) -> RunResult:
    """Start a run or continue the one under way, wait for the workers, and report.

    Raises EventError if the request does not fit a run under way; ClerkUnavailable or AwsError if the run
    could not be continued now: it stays open for another invocation.
    """
    invocation = Invocation(resources, request)
    for lease in invocation.leases():
        with lease, lease.open_clerk() as clerk:
            lease.end_paging(read_users(lease, clerk))
    run = invocation.run
    return run.result(resources.pages.problems(run), resources.runs.webhooks(), now_ms())
