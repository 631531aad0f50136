"""The virtual environments in .local, made when a command first needs them. Some pins conflict.

Imported before anything is installed: standard library only.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.local.paths import LOCAL, ROOT
from tests.local.processes.children import Child
from tests.local.processes.locks import locked

REQUIREMENTS = {
    "dev": ["functions/requirements.txt", "tests/requirements/dev.txt"],
    "ministack": ["tests/requirements/ministack.txt"],
    "sam": ["tests/requirements/sam.txt"],
    "check": ["tests/requirements/check.txt"],
    "bench": ["tests/requirements/bench.txt"],
}
PIP = "-m pip install --disable-pip-version-check --no-input --progress-bar off --require-hashes"
NO_NETWORK = re.compile(
    r"connection broken by|NewConnectionError|ProxyError|ConnectTimeout|ReadTimeout|\(from versions: none"
)
"""What pip says where it can't reach its index."""
SPACE_FOR_A_LOG = 1_000_000
"""Bytes. On a disk with less, pip can't say that it is full."""
SECONDS_BETWEEN_LINES = 10


class InstallationError(Exception):
    """pip failed. The message says what to do, and where the log is."""


def python_of(name: str) -> Path:
    """The Python of an environment."""
    return LOCAL / name / "bin/python"


def missing(names: Sequence[str]) -> list[str]:
    """Those that are not installed as their locks say."""
    return [name for name in names if not _is_installed(name)]


def install(names: Sequence[str]) -> None:
    """Make or renew what is missing, side by side. Raises InstallationError."""
    if not missing(names):
        return
    with locked("installation"):
        todo = missing(names)  # another process may just have done it
        if todo:
            print("Installing into .local, once. This takes a minute or two.", file=sys.stderr)
            _install(todo)


def _install(names: list[str]) -> None:
    progress = _Progress(names)
    running = {name: _start(name) for name in names}
    try:
        while running:
            time.sleep(0.2)
            for name, child in list(running.items()):
                status = child.process.poll()
                if status is None:
                    continue
                del running[name]
                child.end()
                if status:
                    raise InstallationError(_reason(name))
                _stamp_file(name).write_text(_stamp(name))
            progress.show(running)
    finally:
        progress.end()
        for child in running.values():
            child.end()


def _start(name: str) -> Child:
    # The stamp first: without it, what is half made or half deleted never counts as installed.
    _stamp_file(name).unlink(missing_ok=True)
    files = " ".join(f"-r {file}" for file in REQUIREMENTS[name])
    script = f'rm -rf "$1" && "$0" -m venv "$1" && exec "$1/bin/python" {PIP} {files}'
    # Not from inside an environment that may be replaced here.
    python = getattr(sys, "_base_executable", sys.executable)
    return Child(["/bin/sh", "-c", script, python, LOCAL / name], log=_log(name))


def _reason(name: str) -> str:
    said = _log(name).read_text(errors="replace")
    if NO_NETWORK.search(said):
        what = "the package index can't be reached. Check the network, and pip's proxy and index settings."
    elif "No space left on device" in said or shutil.disk_usage(LOCAL).free < SPACE_FOR_A_LOG:
        what = "the disk is full. Free some disk space (.local needs 1.5 GB), and try again."
    elif "ensurepip is not" in said:
        what = "this Python lacks venv. Install it ('apt install python3.13-venv'), and try again."
    else:
        errors = [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines()[-1:]
        what = errors[0] if errors else "pip said nothing."
    return f"The {name} environment can't be installed: {what}\nThe log is {_log(name)}"


class _Progress:
    """How many packages pip has collected: redrawn in a terminal, otherwise a line every few seconds."""

    def __init__(self, names: list[str]) -> None:
        self._totals = {name: len(set(_pinned(name))) for name in names}
        self._is_live = sys.stderr.isatty()
        self._started = self._shown_at = time.monotonic()

    def show(self, running: dict[str, Child]) -> None:
        now = time.monotonic()
        if not self._is_live and now - self._shown_at < SECONDS_BETWEEN_LINES and running:
            return
        self._shown_at = now
        done = sum(total if n not in running else _collected(n, total) for n, total in self._totals.items())
        line = f"  {done} of {sum(self._totals.values())} packages downloaded, {now - self._started:.0f} s"
        if running:
            line += f", installing {', '.join(running)}"
        if self._is_live:
            # A line that wraps could not be drawn over.
            line = f"\r{line[: shutil.get_terminal_size().columns - 1]}\033[K"
        print(line, end="" if self._is_live else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_live:
            print(file=sys.stderr)


def _pinned(name: str) -> Iterator[str]:
    for file in REQUIREMENTS[name]:
        yield from re.findall(r"^([\w.-]+)==", (ROOT / file).read_text(), re.MULTILINE)


def _collected(name: str, most: int) -> int:
    said = _log(name).read_text(errors="replace")
    return min(most, len(re.findall(r"^(?:Collecting|Ignoring) ", said, re.MULTILINE)))


def _is_installed(name: str) -> bool:
    return _stamp_file(name).exists() and _stamp_file(name).read_text() == _stamp(name)


def _stamp(name: str) -> str:
    digest = hashlib.sha256(f"{sys.version} {ROOT}".encode())
    for requirements in REQUIREMENTS[name]:
        digest.update((ROOT / requirements).read_bytes())
    return digest.hexdigest()


def _stamp_file(name: str) -> Path:
    return LOCAL / name / "installed"


def _log(name: str) -> Path:
    return LOCAL / f"install-{name}.log"
