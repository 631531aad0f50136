"""Ctrl-C and SIGTERM at each step of a command: everything ends within 5 s, and nothing is left."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.local.aws.local_aws import free_port, is_free
from tests.support.clones import clean_clone, installed_clone
from tests.support.launched import Launched, launched
from tests.support.polling import eventually

END_SECONDS = 5

type Send = Callable[[Launched], None]


def to_group(number: signal.Signals) -> Send:
    """As a terminal does."""
    return lambda command: os.killpg(command.process.pid, number)


def to_launcher(number: signal.Signals) -> Send:
    """As `kill` does."""
    return lambda command: os.kill(command.process.pid, number)


SENDS = {
    "Ctrl-C": to_group(signal.SIGINT),
    "SIGINT to the launcher alone": to_launcher(signal.SIGINT),
    "SIGTERM to the launcher alone": to_launcher(signal.SIGTERM),
}
each_send = pytest.mark.parametrize("send", SENDS.values(), ids=SENDS.keys())


def assert_ends(command: Launched, send: Send) -> None:
    send(command)
    sent = time.monotonic()
    status = command.finish(seconds=END_SECONDS)
    while left := command.leftovers():
        assert time.monotonic() - sent < END_SECONDS, left
        time.sleep(0.05)
    assert status == 130
    assert command.said.count("Stopping") == 1
    assert "Traceback" not in command.said


@contextmanager
def silent_index() -> Iterator[tuple[str, socket.socket]]:
    """A package index that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", server


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


@each_send
def test_ctrl_c_while_environments_are_created(send: Send, tmp_path: Path, temporary: Path) -> None:
    clone = clean_clone(tmp_path / "clone")
    with launched("token", folder=temporary, clone=clone) as command:
        command.wait_for("Installing")
        assert_ends(command, send)
    assert not list(clone.glob(".local/*/installed"))


def test_ctrl_c_while_packages_are_downloaded(tmp_path: Path, temporary: Path) -> None:
    clone = clean_clone(tmp_path / "clone")
    with silent_index() as (url, server):
        with launched("check", folder=temporary, clone=clone, environment={"PIP_INDEX_URL": url}) as command:
            connection, _ = server.accept()
            with connection:
                assert_ends(command, to_group(signal.SIGINT))
        assert not list(clone.glob(".local/*/installed"))
        with launched("check", folder=temporary, clone=clone, environment={"PIP_INDEX_URL": url}) as again:
            again.wait_for("Installing")
            assert_ends(again, to_group(signal.SIGINT))


@each_send
def test_ctrl_c_while_the_local_aws_starts(send: Send, temporary: Path) -> None:
    port = free_port()
    with launched("run", "--keep", "--port", str(port), folder=temporary) as command:
        command.wait_for("Starting the local AWS")
        assert_ends(command, send)
    assert is_free(port)


def another_python() -> str:
    """A Python 3 that is not 3.13: of the system, or of pyenv."""
    beside = sorted(Path(sys.base_prefix).parent.glob("3.1[0-24]*/bin/python3"))
    for found in ["/usr/bin/python3", *map(str, beside)]:
        with suppress(OSError, subprocess.CalledProcessError):
            version = subprocess.check_output([found, "-c", "import sys; print(*sys.version_info[:2])"])
            if version.split() != [b"3", b"13"]:
                return found
    pytest.skip("there is no other Python here")


@each_send
def test_ctrl_c_under_another_python(send: Send, temporary: Path) -> None:
    with launched("run", folder=temporary, python=another_python()) as command:
        command.wait_for("Starting the local AWS")
        assert_ends(command, send)


def test_ctrl_c_in_the_first_moments(temporary: Path) -> None:
    for milliseconds in range(50, 800, 75):
        with launched("run", folder=temporary) as command:
            time.sleep(milliseconds / 1000)
            to_group(signal.SIGINT)(command)
            status = command.finish(seconds=END_SECONDS)
            # Python itself prints a traceback if it is interrupted before the first line of ours.
            assert status in (130, -signal.SIGINT) or "runpy" in command.said
            assert "launcher" not in command.said
            assert command.leftovers() == []


def test_ctrl_c_while_the_functions_are_built(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = installed_clone(tmp_path / "clone", monkeypatch)
    with launched("run", folder=temporary, clone=clone, python=sys.executable) as command:
        command.wait_for("Building the functions")
        eventually(lambda: list((clone / ".aws-sam").glob("deps/*")), 180)  # pip runs
        assert_ends(command, to_launcher(signal.SIGTERM))
    assert not (clone / ".local/built").exists()


@each_send
def test_ctrl_c_while_tests_run(send: Send, temporary: Path) -> None:
    files = ("tests/integration/test_odd_rows.py", "tests/integration/test_alarms.py")
    with launched("test", *files, "-n", "2", "--dist", "loadfile", folder=temporary) as command:
        eventually(lambda: sum("ministack" in one for one in command.leftovers()) >= 2)
        send(command)
        assert command.finish(seconds=4 * END_SECONDS) == 130
        assert command.said.count("Stopping") == 1
        assert "KeyboardInterrupt" not in command.said
        eventually(lambda: not [one for one in command.leftovers() if one.startswith("process")], END_SECONDS)


def test_ctrl_c_while_the_template_is_deployed(temporary: Path) -> None:
    with launched("run", folder=temporary) as command:
        command.wait_for("Deploying template.yaml")
        assert_ends(command, to_group(signal.SIGINT))


def test_ctrl_c_while_the_backfill_is_invoked(temporary: Path) -> None:
    with launched("run", folder=temporary) as command:
        command.wait_for("Invoking BackfillFunction")
        assert_ends(command, to_launcher(signal.SIGINT))
