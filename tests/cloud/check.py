"""python3 -m tests.cloud check [STACK]: is a deployed stack set up right?"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping

from clerk_sync.aws.clients import client
from tests.cloud.aws_errors import AWS_ERRORS, explained, not_answered
from tests.cloud.checks import (
    alarms,
    clerk,
    deployment,
    extra_fields,
    functions,
    page_loads,
    queues,
    runs,
    schedules,
    users_table,
    webhooks,
)
from tests.cloud.result import Mark, Result, is_well, wrong
from tests.cloud.stack import Stack, StackError, find_stack

CHECKS: Mapping[str, Callable[[Stack], Iterator[Result]]] = {
    "stack": deployment.look,
    "functions": functions.look,
    "extra fields": extra_fields.look,
    "Clerk": clerk.look,
    "users table": users_table.look,
    "webhooks": webhooks.look,
    "page loads": page_loads.look,
    "queues": queues.look,
    "schedules": schedules.look,
    "runs": runs.look,
    "alarms": alarms.look,
}


ANOTHER_VERSION = "It is of another version. Deploy this one: sam build && sam deploy."


def main(options: argparse.Namespace) -> int:
    results: list[Result] = []
    try:
        stack = find_stack(client, options.stack)
        for result in check(stack):
            results.append(result)
            if not options.json:
                print(result.line(), flush=True)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except AWS_ERRORS as error:
        print(*explained(error), file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(dump(stack, results), indent=2))
    else:
        print(f"\n{summary(results)}")
    return 0 if is_well(results) else 1


def check(stack: Stack) -> Iterator[Result]:
    """Look at everything; what AWS does not answer stands in the result of its subject."""
    for subject, look in CHECKS.items():
        try:
            yield from look(stack)
        except AWS_ERRORS as error:
            yield not_answered(subject, error)
        except KeyError as error:
            yield wrong(subject, f"The stack has no {error.args[0]}.", ANOTHER_VERSION)


def dump(stack: Stack, results: list[Result]) -> dict[str, object]:
    """What --json prints."""
    return {
        "stack": stack.name,
        "region": stack.region,
        "isWell": is_well(results),
        "results": [result.dump() for result in results],
    }


def summary(results: list[Result]) -> str:
    """The last line for a person."""
    counts = {mark: sum(result.mark is mark for result in results) for mark in Mark}
    if is_well(results):
        return f"All is well: {counts[Mark.OK]} ok" + (
            f", {counts[Mark.UNKNOWN]} can't tell." if counts[Mark.UNKNOWN] else "."
        )
    return f"{counts[Mark.WRONG]} wrong, {counts[Mark.UNKNOWN]} can't tell, {counts[Mark.OK]} ok."
