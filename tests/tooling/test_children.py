"""Child processes end with the process that started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local.paths import ROOT
from tests.local.processes.children import Child
from tests.local.processes.listing import processes_with
from tests.support.polling import eventually

FAMILY = "touch $TMPDIR/up; sleep 1000 & (sleep 1000 & wait) & wait"


def running(group: int) -> bool:
    """Whether a process of the group runs. One that was killed stays a zombie until init reads its status."""
    listing = subprocess.check_output(["ps", "-A", "-o", "pgid=,stat="], text=True)
    return any(int(pgid) == group and "Z" not in stat for pgid, stat in map(str.split, listing.splitlines()))


def test_end_kills_the_command_with_its_children_and_deletes_its_folder() -> None:
    child = Child(["/bin/sh", "-c", FAMILY])
    eventually((child.folder / "up").exists)
    assert child.process.poll() is None
    child.end()
    child.end()
    assert child.process.returncode == -signal.SIGKILL
    assert not child.folder.exists()
    eventually(lambda: not running(child.process.pid))  # a killed process needs a moment to be gone


def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    child = Child(["/bin/sh", "-c", "sleep 1000 & echo $$; exit 3"], log=tmp_path / "log")
    assert child.wait() == 3
    assert (tmp_path / "log").read_text() == f"{child.process.pid}\n"
    assert not child.folder.exists()
    eventually(lambda: not running(child.process.pid))  # a killed process needs a moment to be gone


def test_a_command_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    assert Child(["/no/such/command"], log=tmp_path / "log").wait() == 1
    assert (tmp_path / "log").read_text() == "/no/such/command: No such file or directory\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_end_with_a_parent_that_is_killed(number: signal.Signals, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, "/bin/sh", "-c", FAMILY],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    try:
        eventually(lambda: list(tmp_path.glob("*/up")))
        group = processes_with(FAMILY)
    finally:
        parent.send_signal(number)
        parent.wait()
    eventually(lambda: not list(tmp_path.iterdir()) and not set(processes_with(FAMILY)) & set(group))


PARENT = """
import sys
from tests.local.processes.children import Child
Child(sys.argv[1:]).wait()
"""


@pytest.mark.parametrize("handle", ["stop_on_signals()", "raise_on_signals(KeyboardInterrupt())"])
def test_hangup_stays_ignored_under_nohup(handle: str) -> None:
    script = (
        "import signal; from tests.local.processes.children import *\n"
        f"signal.signal(signal.SIGHUP, signal.SIG_IGN); {handle}\n"
        "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    )
    assert subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True) == "True\n"
