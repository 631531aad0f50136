"""The README's first command, as a process: its output, that it leaves nothing behind; `send`; `follow`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.stack import Stack, eventually
from tests.local.aws.local_aws import CREDENTIALS, REGION, ROOT, free_port, is_free
from tests.local.aws.processes import processes_with
from tests.local.clerk.fake_users import broken_users, make_users
from tests.local.commands.send import Sent, send


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.local", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CLERK_"))}
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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


def following(
    stack: Stack, *arguments: str, **environment: str
) -> AbstractContextManager[subprocess.Popen[str]]:
    account = {"AWS_ENDPOINT_URL": stack.aws.endpoint, "AWS_DEFAULT_REGION": REGION, **CREDENTIALS}
    return started("follow", *(arguments or (stack.name,)), **account | environment)


def test_a_run_under_way_is_followed_until_it_is_over(stack: Stack) -> None:
    with stack.clerk(make_users(1_500)), ExitStack() as pause:
        stack.backfill()
        pause.enter_context(stack.workers_paused())
        run_id = stack.backfill({"waitSeconds": 0})["runId"]
        with following(stack) as process:
            assert process.stdout
            assert process.stdout.readline().startswith(f"Run {run_id}, started ")
            assert "  0%  0 of 1,500 users  0 of 3 pages" in process.stdout.readline()
            pause.close()
            said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "100%  1,500 of 1,500 users" in said
    assert "COMPLETED after " in said
    assert said.endswith("1,500 users: 0 created, 0 updated, 1,500 unchanged, 0 skipped, 0 failed\n")


def test_ctrl_c_ends_the_following_and_not_the_run(stack: Stack) -> None:
    with stack.clerk(make_users(10)):
        with stack.workers_paused():
            run_id = stack.backfill({"waitSeconds": 0})["runId"]
            with following(stack) as process:
                assert process.stdout
                process.stdout.readline()
                os.killpg(process.pid, signal.SIGINT)
                said, _ = process.communicate(timeout=10)
        assert process.returncode == 130
        assert said.endswith("\nNo longer watching. The run goes on.\n")
        assert "Traceback" not in said
        assert stack.finished(run_id)["status"] == "COMPLETED"


def test_the_latest_run_of_any_mode_is_followed_or_the_one_that_is_named(stack: Stack) -> None:
    with stack.clerk([*make_users(5), *broken_users()]):
        full = stack.backfill()
        audit = stack.audit()
    with following(stack) as process:
        latest, _ = process.communicate(timeout=30)
    assert latest.startswith(f"Run {audit['runId']}, ")
    with following(stack, stack.name, full["runId"]) as process:
        named, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "COMPLETED_WITH_ERRORS after " in named
    assert f"{full['errorCount']} failed" in named
    assert f": {full['errors'][0]['reason']}" in named


def test_what_cannot_be_followed_is_said_plainly(stack: Stack, tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    nobody = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", **keys}
    for arguments, environment, message in [
        ((stack.name,), {}, "There was no run yet: invoke BackfillFunction"),
        ((stack.name, "full-x"), {}, "There is no run full-x"),
        (("no-stack",), {}, "There is no stack no-stack in us-east-1"),
        ((), nobody, "There are no AWS credentials: sign in"),
        ((), {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}, "Could not connect to the endpoint"),
    ]:
        with following(stack, *arguments, **environment) as process:
            said, _ = process.communicate(timeout=30)
        assert process.returncode == 1
        assert message in said
        assert "Traceback" not in said
