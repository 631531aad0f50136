"""The command `test` as a process: what it shows, and how it is stopped."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.launched import launched

FAILS_THEN_HANGS = """
import time

def test_fails():
    assert "this" == "that"

def test_hangs():
    print("it hangs", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_tests_with_the_failures_so_far(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    file = tmp_path / "test_hang.py"
    file.write_text(FAILS_THEN_HANGS)
    arguments = ("test", str(file), "-s", "-p", "no:cacheprovider")
    with launched(*arguments, folder=tmp_path / "temporary") as running:
        running.wait_for("it hangs")
        os.kill(running.process.pid, number)
        assert running.finish() == 130
    assert running.said.count("Stopping") == 1
    assert "assert 'this' == 'that'" in running.said
    assert "stopped by a signal" in running.said
    for trace in ("KeyboardInterrupt", "Traceback", "full-trace"):
        assert trace not in running.said


def test_tests_side_by_side_show_their_number(tmp_path: Path) -> None:
    for name in ("temporary", "tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "tests/pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '-q'")
    (tmp_path / "tests/test_two.py").write_text("def test_one(): pass\ndef test_two(): pass")
    with launched("test", str(tmp_path / "tests"), "-n", "1", folder=tmp_path / "temporary") as running:
        assert running.finish() == 0
    assert "1 worker [2 items]" in running.said
    assert "100%" in running.said
