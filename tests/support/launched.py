"""Commands of `python3 -m tests.local` and `tests.cloud` as processes, and what they leave behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from tests.local.paths import ROOT

MARK = "LAUNCHED_BY_TEST"


class Launched:
    """A command whose processes are known by an environment variable, and its files by a temporary folder."""

    def __init__(
        self, command: Sequence[str], folder: Path, clone: Path, environment: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self._mark = uuid4().hex
        own = {"TMPDIR": str(folder), MARK: self._mark, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command,
            cwd=clone,
            env={**_clean_environment(), **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C goes to the whole group, and nowhere else
        )
        self.said = ""

    def wait_for(self, text: str) -> None:
        """Read its output until the text comes. Raises AssertionError if it ends before."""
        assert self.process.stdout
        while text not in self.said:
            some = os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
            assert some, f"it ended without saying {text!r}: {self.said}"
            self.said += some

    def finish(self, seconds: float = 60) -> int:
        """Wait until it ends, and read the rest of its output. Returns its status."""
        rest, _ = self.process.communicate(timeout=seconds)
        self.said += rest
        return self.process.returncode

    def leftovers(self) -> list[str]:
        """The processes that it has started, and their folders, as far as they still exist."""
        processes = [f"process {pid}: {command}" for pid, command in _marked(f"{MARK}={self._mark}")]
        return processes + [str(path) for path in self.folder.iterdir()]

    def kill(self) -> None:
        for pid, _ in _marked(f"{MARK}={self._mark}"):
            os.kill(pid, signal.SIGKILL)
        self.process.communicate()


@contextmanager
def launched(
    *arguments: str,
    folder: Path,
    package: str = "tests.local",
    python: str = sys.executable,
    clone: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Launched]:
    """`python3 -m PACKAGE` with these arguments. Whatever is left of it is killed at the end."""
    command = Launched([python, "-m", package, *arguments], folder, clone, environment or {})
    try:
        yield command
    finally:
        command.kill()


def _clean_environment() -> dict[str, str]:
    """This process's environment without what would change the commands."""
    prefixes = ("AWS_", "CLERK_", "PYTHON", "PIP_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def _marked(mark: str) -> list[tuple[int, str]]:
    """The processes that have this in their environment, with their commands."""
    listing = subprocess.run(
        ["ps", "axeww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    lines = (line.strip().partition(" ") for line in listing.stdout.splitlines() if mark in line)
    return [(int(pid), command[:120]) for pid, _, command in lines]
