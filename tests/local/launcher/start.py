"""python3 -m tests.local COMMAND, or tests.cloud: installs what a command needs, then runs it.

Three programs take turns in one process: any recent Python 3 reads the arguments, Python 3.13 makes the
environments in .local, and the Python of .local/dev, which has the packages, runs the command.
"""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests.local.launcher.arguments import Command, parse
from tests.local.launcher.environments import InstallationError, install, missing, python_of
from tests.local.launcher.proxies import reach_this_machine_directly
from tests.local.paths import LOCAL
from tests.local.processes.children import become, stop_on_signals

NEEDS_PYTHON = (
    "This needs Python 3.13, which the functions run on in AWS; this is Python {}.\n"
    "Install it from https://www.python.org/downloads or with 'pyenv install 3.13', and try again."
)
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
ENVIRONMENT = {"PYTHONPATH": "functions", "PYTHONUTF8": "1"}
"""What the Python of .local/dev is started with."""


def main(package: str, commands: Mapping[str, Command], arguments: Sequence[str]) -> int:
    stop_on_signals()
    command, options = parse(package, commands, arguments)
    reach_this_machine_directly(os.environ)
    itself = ["-m", package, *arguments]
    if sys.version_info[:2] != (3, 13):
        python = shutil.which("python3.13")
        if not python or subprocess.call([python, "-c", ""], stderr=subprocess.DEVNULL):
            print(NEEDS_PYTHON.format(sys.version.split()[0]), file=sys.stderr)
            return 1
        become([python, *itself], os.environ)
    try:
        if missing(command.needs) or not _has_packages():
            install(command.needs)
            become([str(python_of("dev")), *itself], {**os.environ, **ENVIRONMENT})
        status: int = importlib.import_module(command.module).main(options)
    except InstallationError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if not (to_do := _to_do_in_local(error)):
            raise
        print(f"{error.filename or LOCAL} can't be written: {error.strerror}. {to_do}", file=sys.stderr)
        return 1
    return status


def _to_do_in_local(error: OSError) -> str:
    """What to do about an error of writing to .local; empty for other errors."""
    if error.errno in DISK_FULL:
        return "Free some disk space (.local needs 1.5 GB), and try again."
    if error.errno in NOT_WRITABLE and str(error.filename).startswith(str(LOCAL)):
        return "Clone the repository to a folder that you can write to, and try again there."
    return ""


def _has_packages() -> bool:
    """Whether this is the Python of .local/dev, as it was started here."""
    return sys.prefix == str(LOCAL / "dev") and ENVIRONMENT.items() <= os.environ.items()
