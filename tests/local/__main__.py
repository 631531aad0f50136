"""python3 -m tests.local COMMAND: makes the environments that a command needs, then runs it.

Needs nothing but Python and pip, and parses with any Python 3, so that a wrong one is told plainly.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / ".local"
ENVIRONMENTS = {
    "dev": ["functions/requirements.txt", "tests/requirements/dev.txt"],
    "ministack": ["tests/requirements/ministack.txt"],
    "sam": ["tests/requirements/sam.txt"],
}
USAGE = """usage: python3 -m tests.local COMMAND

  run [--users N] [--keep] [--port N]
             deploy to a local AWS, sync a simulated Clerk instance into it and show the result;
             with --keep, stay up to be explored until Ctrl-C. CLERK_SECRET_KEY=sk_... in the
             environment reads that real Clerk instance instead
  test [...] run the tests, or those that pytest's own arguments name
  check      lint, types and template
  env        only install what the other commands need"""


def main():
    # type: () -> int
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in ("run", "test", "check", "env"):
        print(USAGE)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    if sys.version_info[:2] != (3, 13):
        return run_with_python_313(arguments)
    install()
    command = {
        "run": [["-m", "tests.local.run", *arguments[1:]]],
        "test": [["-m", "pytest", *arguments[1:]]],
        "check": [
            ["-m", "ruff", "check"],
            ["-m", "ruff", "format", "--check", "--quiet"],
            ["-m", "mypy"],
            ["-m", "tests.local.check_template"],
        ],
        "env": [],
    }[arguments[0]]
    for module in command:
        status = subprocess.call([str(python("dev")), *module], cwd=str(ROOT))
        if status:
            return status
    return 0


def run_with_python_313(arguments):
    # type: (list[str]) -> int
    found = shutil.which("python3.13")
    if found is None or subprocess.call([found, "-c", ""]):
        print(
            "This needs Python 3.13, the version the functions run on in AWS; this is Python "
            + sys.version.split()[0]
            + ".\nInstall it (https://www.python.org/downloads, or: pyenv install 3.13) and try again.",
            file=sys.stderr,
        )
        return 1
    return subprocess.call([found, "-m", "tests.local", *arguments], cwd=str(ROOT))


def python(environment):
    # type: (str) -> Path
    return LOCAL / environment / "bin" / "python"


def install():
    # type: () -> None
    """Make or refresh the virtual environments, side by side. Their pins conflict, hence three."""
    stale = [
        name
        for name in ENVIRONMENTS
        if stamp_file(name).exists() is False or stamp_file(name).read_text() != stamp(name)
    ]
    if not stale:
        return
    print("Installing what is needed into .local (once; a minute or two) ...", flush=True)
    started = [(name, start_install(name)) for name in stale]
    for name, process in started:
        if process.wait():
            sys.exit("Could not install the environment '%s': see %s" % (name, log_file(name)))
        stamp_file(name).write_text(stamp(name))


def start_install(name):
    # type: (str) -> subprocess.Popen[bytes]
    LOCAL.mkdir(exist_ok=True)
    shutil.rmtree(str(LOCAL / name), ignore_errors=True)
    script = '"$0" -m venv "$1" && exec "$1/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes'
    for requirements in ENVIRONMENTS[name]:
        script += ' -r "%s"' % requirements
    with log_file(name).open("wb") as log:
        return subprocess.Popen(
            ["/bin/sh", "-c", script, sys.executable, str(LOCAL / name)],
            cwd=str(ROOT),
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def stamp(name):
    # type: (str) -> str
    digest = hashlib.sha256(sys.version.encode())
    for requirements in ENVIRONMENTS[name]:
        digest.update((ROOT / requirements).read_bytes())
    return digest.hexdigest()


def stamp_file(name):
    # type: (str) -> Path
    return LOCAL / name / "installed"


def log_file(name):
    # type: (str) -> Path
    return LOCAL / ("install-%s.log" % name)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUTF8", "1")
    sys.exit(main())
