"""The commands of `python3 -m tests.local`, and how a launcher reads commands and their arguments.

Read before anything is installed, so that --help and a wrong argument are answered at once: standard library
only, and any recent Python 3.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

PROGRAM = "python3 -m tests.local"
KEPT_PORT = 4566
"""The port of a local AWS that stays up."""
EVENT = Path("tests/events/webhook-user-updated.json")
PICTURE = Path("docs/dashboard.png")
MEASURES = ("sync", "imports", "paging", "writes", "metadata", "load")
MEASURED = ("sync", "imports")


class Parser(argparse.ArgumentParser):
    """Reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see --help", file=sys.stderr)
        sys.exit(2)


class Command(NamedTuple):
    """A module with `main(options) -> int`, and the environments that it needs."""

    module: str
    summary: str
    description: str
    add_arguments: Callable[[Parser], None]
    needs: Sequence[str] = ("dev", "ministack", "sam")


def parse(
    package: str, commands: Mapping[str, Command], arguments: Sequence[str]
) -> tuple[Command, argparse.Namespace]:
    """The command of `python3 -m PACKAGE` and its options. Prints help and exits with 0, or what is wrong and
    exits with 2."""
    program = f"python3 -m {package}"
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(program, commands))
        sys.exit(0 if arguments else 2)
    name, *rest = arguments
    if name not in commands:
        print(f"unknown command {name!r}; '{program} --help' lists the commands", file=sys.stderr)
        sys.exit(2)
    command = commands[name]
    parser = Parser(prog=f"{program} {name}", description=command.description, allow_abbrev=False)
    command.add_arguments(parser)
    if name != "test":
        return command, parser.parse_args(rest)
    if rest in (["-h"], ["--help"]):
        parser.print_help()
        sys.exit(0)
    return command, argparse.Namespace(pytest=rest)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """An argument's type."""

    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {low} to {high}")
        return int(text)

    return number


def existing_file(text: str) -> Path:
    """An argument's type."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def _measure(text: str) -> str:
    if text not in MEASURES:
        raise argparse.ArgumentTypeError(f"{text} is not one of {', '.join(MEASURES)}")
    return text


def _usage(program: str, commands: Mapping[str, Command]) -> str:
    width = max(map(len, commands))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in commands.items()]
    return "\n".join(
        [
            f"usage: {program} COMMAND [ARGUMENTS]",
            "",
            *lines,
            "",
            f"'{program} COMMAND --help' describes one.",
        ]
    )


def _number(parser: Parser, name: str, low: int, high: int, text: str, default: int | None = None) -> None:
    shown = f"{text} (default: {default})" if default is not None else text
    kind: Any = whole_number(low, high)
    parser.add_argument(f"--{name}", type=kind, default=default, metavar="N", help=shown)


def _port(parser: Parser, text: str, default: int | None = None) -> None:
    _number(parser, "port", 1, 65535, text, default)


def _run(parser: Parser) -> None:
    _number(parser, "users", 0, 1_000_000, "how many users the simulated Clerk has", 2000)
    parser.add_argument("--keep", action="store_true", help="stay up to be explored, until Ctrl-C")
    _port(parser, f"the local AWS's port (default: a free one; {KEPT_PORT} with --keep)")


def _send(parser: Parser) -> None:
    parser.add_argument(
        "file",
        nargs="?",
        type=existing_file,
        default=EVENT,
        metavar="FILE",
        help=f"an API Gateway event as in tests/events (default: {EVENT})",
    )
    _port(parser, "the local AWS's port", KEPT_PORT)


def _token(parser: Parser) -> None:
    parser.add_argument(
        "user_id",
        nargs="?",
        metavar="USER_ID",
        help="the signed-in user (default: the simulated Clerk's first)",
    )


def _sign(parser: Parser) -> None:
    parser.add_argument(
        "file", type=existing_file, metavar="FILE", help="an API Gateway event as in tests/events"
    )


def _test(parser: Parser) -> None:
    parser.add_argument(
        "pytest",
        nargs="*",
        metavar="PYTEST_ARGUMENT",
        help="pytest's own arguments, such as tests/unit, -k NAME or -x (default: all tests)",
    )


def _check(_: Parser) -> None:
    """It has no arguments."""


def _bench(parser: Parser) -> None:
    parser.add_argument(
        "measures",
        nargs="*",
        type=_measure,
        default=MEASURED,
        metavar="MEASURE",
        help=f"any of {', '.join(MEASURES)} (default: {' and '.join(MEASURED)})",
    )
    _number(parser, "users", 10, 5_000_000, "users: sync 20000, paging 1000000, load 50000 unless given")
    _number(parser, "rate", 1, 2_000, "load: webhooks a second", 200)
    _number(parser, "seconds", 1, 3_600, "load: how long webhooks are sent", 60)
    _number(parser, "pages", 1, 50_000, "load: how long the queue gets", 2000)
    _number(parser, "memory", 128, 10_240, "imports: MB of the functions in containers", 512)
    parser.add_argument(
        "--image", metavar="TAG", help="imports: the containers' image (default: SAM CLI's for Python 3.13)"
    )


def _picture(parser: Parser) -> None:
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=PICTURE,
        metavar="FILE",
        help=f"where to write it (default: {PICTURE})",
    )
    parser.add_argument("--dark", action="store_true", help="in the console's dark theme")
    _number(parser, "width", 300, 3_000, "its width, in CSS pixels", 1200)


COMMANDS = {
    "run": Command(
        "tests.local.commands.run",
        "deploy to a local AWS, sync a simulated Clerk into its table, show the result",
        "Deploys template.yaml to a local AWS, plants some rows, syncs a simulated Clerk's users into the "
        "table and shows the result. With CLERK_SECRET_KEY=sk_... in the environment it reads that Clerk "
        "instance instead. It never writes to Clerk.",
        _run,
    ),
    "send": Command(
        "tests.local.commands.send",
        "send a webhook to the local AWS of 'run --keep', show what became of the user's row",
        "Signs the webhook in an event as if it had happened just now, with the secret in the local AWS's "
        "SSM. Sends it to the local AWS of 'run --keep', and shows the user's row before and after.",
        _send,
    ),
    "token": Command(
        "tests.local.commands.token",
        "print a session token of the simulated Clerk, valid for a minute, for curl",
        "Prints a session token of the simulated Clerk, valid for a minute.",
        _token,
    ),
    "sign": Command(
        "tests.local.commands.sign",
        "print an event with a fresh signature or token, for 'sam local invoke --event -'",
        "Prints an API Gateway event with a fresh webhook signature or session token, for 'sam local invoke "
        "--event -'. A webhook is signed with CLERK_WEBHOOK_SECRET where that is set.",
        _sign,
    ),
    "test": Command(
        "tests.local.commands.test",
        "run the tests, or those that pytest's own arguments name",
        "Runs the tests, with pytest's own arguments.",
        _test,
    ),
    "check": Command(
        "tests.local.commands.check",
        "lint, types, imports, template, and known vulnerabilities of what is deployed",
        "Runs the linters, the type checker, the import rules, the template's checks and the audit of the "
        "deployed packages.",
        _check,
        needs=("dev", "sam", "check"),
    ),
    "bench": Command(
        "tests.local.commands.bench",
        "measure speed and cost on a local AWS, against a simple script: minutes",
        "Measures, on a local AWS. sync: speed and cost against a simple script. imports: how long each "
        "handler takes to import. paging: how fast a large instance is read. writes: ways to write to "
        "DynamoDB. metadata: what 8 KB of metadata a user costs. load: webhooks beside a full run, then a "
        "long queue, and whether anything is lost.",
        _bench,
        needs=("dev", "ministack", "sam", "bench"),
    ),
    "picture": Command(
        "tests.local.commands.picture",
        "draw the README's picture of the dashboard, with Chromium",
        "Draws the dashboard's widgets with made-up runs and users in Chromium, and writes a PNG.",
        _picture,
        needs=("dev",),
    ),
}
