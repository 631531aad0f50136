"""python3 -m tests.local COMMAND: makes the environments that a command needs, then runs it.

Needs nothing but Python and pip, and parses with any recent Python 3, so that a wrong one is told plainly.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
ENVIRONMENTS = {
    "dev": ["functions/requirements.txt", "tests/requirements/dev.txt"],
    "ministack": ["tests/requirements/ministack.txt"],
    "sam": ["tests/requirements/sam.txt"],
    "check": ["tests/requirements/check.txt"],
    "bench": ["tests/requirements/bench.txt"],
}
COMMANDS = {
    "run": "tests.local.commands.run",
    "follow": "tests.local.commands.follow",
    "send": "tests.local.commands.send",
    "sign": "tests.local.commands.sign",
    "token": "tests.local.clerk.session_tokens",
    "load": "tests.local.bench.load",
    "test": "pytest",
    "check": "tests.local.commands.check",
    "bench": "tests.local.bench",
    "paging": "tests.local.bench.paging",
}
# The other commands need what the local AWS takes.
NEEDS = {
    "check": ("dev", "sam", "check"),
    "follow": ("dev",),
    "bench": ("dev", "ministack", "sam", "bench"),
}
USAGE = """usage: python3 -m tests.local COMMAND

  run [--users N] [--keep] [--port N]
              deploy to a local AWS, sync a simulated Clerk instance into its table and show what came of
              it; with --keep, stay up to be explored. With CLERK_SECRET_KEY=sk_... in the environment,
              that real Clerk instance is read instead
  follow [STACK] [RUN_ID]
              show how a run of a deployed stack is getting on, until it is over: the latest, or the one
              named. The stack, clerk-sync unless named, is in the AWS account and region that you are
              signed in to
  send [FILE] [--port N]
              send a webhook event to the local AWS that run --keep keeps up, and show what became of the
              user's row
  token [USER_ID]
              print a session token of the simulated Clerk, good for a minute, for curl
  sign FILE   print the event in FILE with a fresh signature or token, for sam local invoke --event -
  test [...]  run the tests, or those that pytest's own arguments name
  check       lint, types, template, and known vulnerabilities of what is deployed
  bench [--users N]
              compare with the obvious loop, on the same local AWS and simulated Clerk: some minutes
  paging [--users N]
              have many users read from a Clerk that takes its time, and say how fast that was
  load [--users N] [--rate N] [--seconds N] [--pages N]
              send webhooks to a local AWS beside a full run, then have it work off a long queue, and say
              whether anything was lost"""


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in COMMANDS:
        print(USAGE)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    if sys.version_info[:2] != (3, 13):
        return run_with_python_313(arguments)
    install(NEEDS.get(arguments[0], ("dev", "ministack", "sam")))
    return run(arguments)


def run(arguments: list[str]) -> NoReturn:
    os.chdir(ROOT)
    environment = {**os.environ, "PYTHONPATH": "functions", "PYTHONUTF8": "1"}
    python = str(LOCAL / "dev/bin/python")
    sys.stdout.flush()
    # In this process's place, so that Ctrl-C reaches the command alone and it has the time to clean up.
    os.execve(python, [python, "-m", COMMANDS[arguments[0]], *arguments[1:]], environment)


def run_with_python_313(arguments: list[str]) -> int:
    found = shutil.which("python3.13")
    if found is None or subprocess.call([found, "-c", ""], stderr=subprocess.DEVNULL):
        print(
            "This needs Python 3.13, which the functions run on in AWS, and this is Python "
            f"{sys.version.split()[0]}.\nInstall it, from https://www.python.org/downloads or with "
            "'pyenv install 3.13', and try again.",
            file=sys.stderr,
        )
        return 1
    return subprocess.call([found, "-m", "tests.local", *arguments], cwd=ROOT)


def install(names: Iterable[str]) -> None:
    """Make or refresh these virtual environments, side by side. Their pins conflict, hence several."""
    stale = [name for name in names if not is_installed(name)]
    if not stale:
        return
    print("Installing what this needs into .local, once: a minute or two ...", file=sys.stderr, flush=True)
    LOCAL.mkdir(exist_ok=True)
    started = {name: start_install(name) for name in stale}
    for name, process in started.items():
        if process.wait():
            sys.exit(f"Could not install the {name} environment:\n{log_file(name).read_text()[-1500:]}")
        stamp_file(name).write_text(stamp(name))


def start_install(name: str) -> subprocess.Popen[bytes]:
    shutil.rmtree(LOCAL / name, ignore_errors=True)
    pip = '"$1/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes'
    files = " ".join(f"-r {file}" for file in ENVIRONMENTS[name])
    with log_file(name).open("wb") as log:
        return subprocess.Popen(
            ["/bin/sh", "-c", f'"$0" -m venv "$1" && exec {pip} {files}', sys.executable, LOCAL / name],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def is_installed(name: str) -> bool:
    return stamp_file(name).exists() and stamp_file(name).read_text() == stamp(name)


def stamp(name: str) -> str:
    digest = hashlib.sha256(f"{sys.version} {ROOT}".encode())
    for requirements in ENVIRONMENTS[name]:
        digest.update((ROOT / requirements).read_bytes())
    return digest.hexdigest()


def stamp_file(name: str) -> Path:
    return LOCAL / name / "installed"


def log_file(name: str) -> Path:
    return LOCAL / f"install-{name}.log"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
