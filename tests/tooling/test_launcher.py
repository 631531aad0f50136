"""The launcher as a process in a clean clone: what it prints before and while it installs anything."""

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.cloud.arguments import COMMANDS as CLOUD_COMMANDS
from tests.local.aws.local_aws import free_port
from tests.local.launcher import arguments, environments, start
from tests.local.launcher.arguments import COMMANDS, Command
from tests.local.paths import LOCAL, ROOT
from tests.support.clones import clean_clone
from tests.support.launched import launched

PACKAGES: dict[str, Mapping[str, Command]] = {"tests.local": COMMANDS, "tests.cloud": CLOUD_COMMANDS}


def run(
    *command: str, package: str = "tests.local", python: str = sys.executable, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", package, *command], cwd=cwd, capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clean_clone(tmp_path_factory.mktemp("clone"))


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package, commands in PACKAGES.items() for name in commands]
)
def test_help_describes_every_option_and_installs_nothing(package: str, name: str, clone: Path) -> None:
    said = run(name, "--help", package=package, cwd=clone)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith(f"usage: python3 -m {package} {name} ")
    parser = arguments.Parser(prog="x")
    PACKAGES[package][name].add_arguments(parser)
    assert all(action.help for action in parser._actions)
    assert not (clone / ".local").exists()


@pytest.mark.parametrize("package", PACKAGES)
def test_help_lists_every_command(package: str, clone: Path) -> None:
    said = run("--help", package=package, cwd=clone)
    assert said.returncode == 0
    assert all(f"\n  {name} " in said.stdout for name in PACKAGES[package])
    assert run(package=package, cwd=clone).returncode == 2


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("follow", "unknown command 'follow'; 'python3 -m tests.local --help' lists the commands"),
        ("ruin", "unknown command 'ruin'; 'python3 -m tests.local --help' lists the commands"),
        ("run --users -5", "argument --users: -5 is not a whole number from 0 to 1000000; see --help"),
        ("run --users", "argument --users: expected one argument; see --help"),
        ("run --port 99999", "argument --port: 99999 is not a whole number from 1 to 65535; see --help"),
        ("run --kept", "unrecognized arguments: --kept; see --help"),
        ("send no.json", "argument FILE: there is no file no.json; see --help"),
        ("sign", "the following arguments are required: FILE; see --help"),
        ("token a b", "unrecognized arguments: b; see --help"),
        ("check tests", "unrecognized arguments: tests; see --help"),
        (
            "bench speed",
            "argument MEASURE: speed is not one of sync, imports, paging, writes, metadata, load; see --help",
        ),
    ],
)
def test_wrong_arguments_are_named_in_one_line_and_install_nothing(
    command: str, message: str, clone: Path
) -> None:
    assert_refused(command, message, "tests.local", clone)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run", "unknown command 'run'; 'python3 -m tests.cloud --help' lists the commands"),
        ("check --jso", "unrecognized arguments: --jso; see --help"),
        ("check one two", "unrecognized arguments: two; see --help"),
        ("follow stack run more", "unrecognized arguments: more; see --help"),
    ],
)
def test_wrong_arguments_for_a_deployed_stack_are_named_in_one_line(
    command: str, message: str, clone: Path
) -> None:
    assert_refused(command, message, "tests.cloud", clone)


def assert_refused(command: str, message: str, package: str, clone: Path) -> None:
    said = run(*command.split(), package=package, cwd=clone)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.count("\n") == 1
    assert message in said.stderr
    assert not (clone / ".local").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("send tests/events/backfill.json", "backfill.json is not a webhook event: it needs a body"),
        ("sign tests/events/backfill.json", "backfill.json is not a request of API Gateway"),
    ],
)
def test_file_that_is_not_a_request_is_named(command: str, message: str) -> None:
    said = run(*command.split())
    assert said.returncode == 2
    assert message in said.stderr


def test_publishable_key_is_rejected_as_secret_key(tmp_path: Path) -> None:
    with launched("run", folder=tmp_path, environment={"CLERK_SECRET_KEY": "pk_test_x"}) as command:
        assert command.finish() == 2
    assert "those begin with sk_test_ or sk_live_" in command.said


def test_send_says_what_to_start_if_no_local_aws_is_running(tmp_path: Path) -> None:
    with launched("send", "--port", str(free_port()), folder=tmp_path) as command:
        assert command.finish() == 1
    assert "Start 'python3 -m tests.local run --keep' in another terminal" in command.said
    assert "Traceback" not in command.said


def test_unreachable_package_index_is_reported_in_two_lines(tmp_path: Path) -> None:
    clone = clean_clone(tmp_path / "clone")
    settings = {"PIP_INDEX_URL": f"http://127.0.0.1:{free_port()}/", "PIP_RETRIES": "1"}
    (tmp_path / "temporary").mkdir()
    with launched(
        "follow",
        package="tests.cloud",
        folder=tmp_path / "temporary",
        clone=clone,
        environment=settings,
    ) as command:
        assert command.finish(seconds=120) == 1
        reason, log = command.said.splitlines()[-2:]
        assert (
            "environment can't be installed: the package index can't be reached. Check the network" in reason
        )
        assert Path(log.removeprefix("The log is ")).is_relative_to(clone / ".local")
        assert "Traceback" not in command.said
        assert command.leftovers() == []
    assert not list(clone.glob(".local/*/installed"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder where nobody can write")
def test_folder_that_is_not_writable_is_named_with_what_to_do(tmp_path: Path) -> None:
    clone = clean_clone(tmp_path / "clone")
    (clone / ".local").symlink_to("/sys")
    said = run("token", cwd=clone)
    assert (said.returncode, said.stdout, said.stderr.count("\n")) == (1, "", 1)
    assert said.stderr.startswith(f"{clone}/.local/installation.lock can't be written: ")
    assert said.stderr.endswith(
        "Clone the repository to a folder that you can write to, and try again there.\n"
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_named_with_what_to_do(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_with_error(OSError(number, os.strerror(number)), monkeypatch) == 1
    assert capsys.readouterr().err == (
        f"{LOCAL} can't be written: {os.strerror(number)}. Free some disk space (.local needs 1.5 GB), and "
        "try again.\n"
    )


def test_error_elsewhere_is_not_taken_for_one_in_local(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PermissionError, match="/elsewhere"):
        main_with_error(PermissionError(errno.EACCES, "Permission denied", "/elsewhere"), monkeypatch)


def main_with_error(error: OSError, monkeypatch: pytest.MonkeyPatch) -> int:
    """The launcher's exit status where installing fails with this error."""
    monkeypatch.setattr(start, "stop_on_signals", lambda: None)
    monkeypatch.setattr(start, "missing", Mock(side_effect=error))
    return start.main("tests.local", COMMANDS, ["token"])


def test_full_disk_in_pip_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "LOCAL", tmp_path)
    (tmp_path / "install-dev.log").write_text(
        "Collecting x\nERROR: Could not install packages: [Errno 28] No space left on device\n"
    )
    assert "the disk is full. Free some disk space" in environments._reason("dev")


def test_disk_too_full_for_the_log_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "LOCAL", tmp_path)
    (tmp_path / "install-dev.log").touch()
    assert "pip said nothing" in environments._reason("dev")
    monkeypatch.setattr("shutil.disk_usage", lambda _: Mock(free=0))
    assert "the disk is full. Free some disk space" in environments._reason("dev")


def test_python_without_venv_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "LOCAL", tmp_path)
    (tmp_path / "install-dev.log").write_text(
        "The virtual environment was not created successfully because ensurepip is not\n"
        "available.  On Debian/Ubuntu systems, you need to install the python3-venv\n"
        "package using the following command.\n\n    apt install python3.13-venv\n\n"
        "Failing command: /usr/bin/python3.13\n"
    )
    assert "'apt install python3.13-venv'" in environments._reason("dev")


def test_installation_fits_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environments, "LOCAL", tmp_path)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    progress = environments._Progress(["sam"])
    (tmp_path / "install-sam.log").write_text("Collecting x\nCollecting y\n")
    progress.show({"sam": Mock()})
    shown = capsys.readouterr().err
    assert re.fullmatch(r"\r  2 of \d+ packages downloaded, 0 s, ins?\033\[K", shown)
    assert len(shown.removeprefix("\r").removesuffix("\033[K")) == 39


@pytest.mark.parametrize("command", [["--help"], ["token"]])
def test_output_that_is_no_longer_read_ends_the_command_quietly(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        said = subprocess.run(
            [sys.executable, "-m", "tests.local", *command],
            cwd=ROOT,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (said.returncode, said.stderr) == (128 + signal.SIGPIPE, "")
