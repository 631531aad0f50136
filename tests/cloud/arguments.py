"""The commands of `python3 -m tests.cloud` and their arguments: standard library only, and any Python 3."""

from __future__ import annotations

from tests.local.launcher.arguments import Command, Parser

WHERE = "It looks for the stack in the AWS account and region that you are signed in to."


def _stack(parser: Parser) -> None:
    parser.add_argument(
        "stack",
        nargs="?",
        default="clerk-sync",
        metavar="STACK",
        help="the stack's name (default: clerk-sync)",
    )


def _check(parser: Parser) -> None:
    _stack(parser)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def _follow(parser: Parser) -> None:
    _stack(parser)
    parser.add_argument("run_id", nargs="?", metavar="RUN_ID", help="the run's id (default: the latest run)")


COMMANDS = {
    "check": Command(
        "tests.cloud.check",
        "is a deployed stack set up right? Says what to do where it is not",
        "Looks at a deployed stack and at Clerk, and prints a line for each thing: ok, wrong or can't tell, "
        f"and what to do. It changes nothing. Exits with 0 if there is nothing to do, else with 1. {WHERE}",
        _check,
        needs=("dev",),
    ),
    "follow": Command(
        "tests.cloud.follow",
        "show the progress of a deployed stack's run until it is over",
        f"Shows a run's progress until it is over. Exits with 0 if it is COMPLETED, else with 1. {WHERE}",
        _follow,
        needs=("dev",),
    ),
}
