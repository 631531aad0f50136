"""The README's first command, as a process: what it prints, and that it leaves nothing behind; and `send`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.stack import Stack, eventually, processes_with
from tests.local.aws import ROOT, free_port, is_free
from tests.local.send import Sent, send


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.local", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("CLERK_")}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a terminal's Ctrl-C goes to the whole group, and to nobody else
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_kept_ends_with_all_it_started(number: signal.Signals, tmp_path: Path) -> None:
    port = free_port()
    arguments = ("run", "--keep", "--users", "20", "--port", str(port))
    with started(*arguments, TMPDIR=str(tmp_path)) as process:
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if "order_by=created_at" in line:
                break
        assert '"status": "COMPLETED"' in said, said
        [widgets] = [line.split()[-1] for line in said.splitlines() if "The dashboard's widgets" in line]
        assert httpx.get(widgets).status_code == 200
        assert len(processes_with(str(tmp_path))) >= 2, "its functions"
        os.killpg(process.pid, number)
        rest, _ = process.communicate(timeout=30)
    assert "Traceback" not in said + rest
    eventually(lambda: not processes_with(str(tmp_path)) and is_free(port), 10)
    assert list(tmp_path.glob("clerk-sync-*")) == []


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("run", "--users", "-5"), {}, "-5 is not a number from 0 to 1000000"),
        (("run", "--port", "99999"), {}, "99999 is not a number from 1 to 65535"),
        (("run",), {"CLERK_SECRET_KEY": "pk_test_x"}, "those begin with sk_test_ or sk_live_"),
        (("ruin",), {}, "usage: python3 -m tests.local COMMAND"),
        (("send", "tests/events/backfill.json"), {}, "backfill.json is no webhook event: it needs a body"),
        (("send", "no.json"), {}, "no.json is no webhook event: "),
        (("token", "a", "b"), {}, "usage: python3 -m tests.local token [USER_ID]"),
    ],
)
def test_what_it_cannot_do_is_said_at_once(
    arguments: tuple[str, ...], environment: dict[str, str], message: str
) -> None:
    with started(*arguments, **environment) as process:
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert message in said


def test_send_needs_a_local_aws_that_is_up() -> None:
    with started("send", "--port", str(free_port())) as process:
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Start 'python3 -m tests.local run --keep' in another terminal" in said
    assert "Traceback" not in said


def test_an_event_that_is_sent_changes_the_row_each_time(stack: Stack) -> None:
    def sent(name: str) -> Sent:
        event = json.loads((ROOT / f"tests/events/webhook-{name}.json").read_text())
        return send(stack.aws, event, stack.name)

    first = sent("user-updated")
    assert (first.status, first.before) == (204, None)
    assert first.after
    assert first.after["firstName"] == "Ada"
    for name in ("session-created", "user-updated"):
        again = sent(name)
        assert again.status == 204
        assert again.before
        assert again.after
        assert again.after["clerkUpdatedAt"] > again.before["clerkUpdatedAt"]
    assert sent("user-created").before is None
    gone = sent("user-deleted").after
    assert gone
    assert gone["clerkDeletedAt"] > gone["clerkUpdatedAt"]
