"""`run` as a process: what it prints, and that it leaves nothing behind."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.local.aws.build import build
from tests.local.aws.local_aws import free_port, is_free
from tests.local.paths import LOCAL, ROOT
from tests.local.processes.listing import processes_with
from tests.support.dead_proxies import dead_proxies
from tests.support.launched import launched


@pytest.mark.parametrize(
    "send",
    [
        lambda pid: os.killpg(pid, signal.SIGINT),  # as a terminal does
        lambda pid: os.kill(pid, signal.SIGTERM),
    ],
    ids=["Ctrl-C", "SIGTERM to the launcher alone"],
)
def test_run_keep_stays_up_until_it_is_stopped(send: Callable[[int], None], tmp_path: Path) -> None:
    port = free_port()
    with launched("run", "--keep", "--users", "20", "--port", str(port), folder=tmp_path) as command:
        command.wait_for("ProfileFunction --event -\n")
        said = command.said
        assert '"status": "COMPLETED"' in said, said
        [widgets] = [line.split()[-1] for line in said.splitlines() if "The dashboard's widgets" in line]
        assert httpx.get(widgets).status_code == 200
        assert len(processes_with(str(tmp_path))) >= 2, "its functions"
        for expected in (
            "needs:\n",
            "Docker",
            "tests.cloud check",
            "tests.cloud follow",
            "tests.local send",
            "tests.local token",
        ):
            assert expected in said
        assert "console.aws" not in said
        run_printed(said, "remote invoke AuditFunction")
        send(command.process.pid)
        assert command.finish(seconds=5) == 130
        assert command.said.endswith("Stopping\n")
        assert "Traceback" not in command.said
        assert command.leftovers() == []
    assert is_free(port)
    assert not (LOCAL / f"ministack-{port}.log").exists()


def run_printed(said: str, command: str) -> None:
    """Run a command as `run --keep` prints it, after its export. Raises CalledProcessError."""
    [export] = [line for line in said.splitlines() if line.startswith("  export ")]
    [line] = [line for line in said.splitlines() if command in line]
    answer = subprocess.check_output(["/bin/sh", "-c", f"{export}\n{line}"], cwd=ROOT, text=True)
    assert '"status"' in answer


def test_run_with_dead_proxies_ends_with_the_next_steps(tmp_path: Path) -> None:
    build()  # here, as pip may need the real proxy
    with launched("run", "--users", "20", folder=tmp_path, environment=dead_proxies()) as command:
        assert command.finish(seconds=300) == 0
        assert '"status": "COMPLETED"' in command.said
        assert "python3 -m tests.local run --keep" in command.said.rpartition("\nNext:\n")[2]
        assert command.leftovers() == []
