"""`python3 -m tests.cloud follow`, as a process, against a deployed stack."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.integration.stack import Stack
from tests.local.aws.local_aws import CREDENTIALS, REGION, free_port
from tests.local.clerk.fake_users import broken_users, make_users
from tests.support.launched import Launched, launched

type Follow = Callable[..., AbstractContextManager[Launched]]


@pytest.fixture
def following(stack: Stack, tmp_path: Path) -> Follow:
    account = {"AWS_ENDPOINT_URL": stack.aws.endpoint, "AWS_DEFAULT_REGION": REGION, **CREDENTIALS}

    def follow(*arguments: str, **environment: str) -> AbstractContextManager[Launched]:
        return launched(
            "follow",
            *(arguments or (stack.name,)),
            package="tests.cloud",
            folder=tmp_path,
            environment=account | environment,
        )

    return follow


def test_follow_shows_a_run_until_it_is_over(stack: Stack, following: Follow) -> None:
    with stack.clerk(make_users(1_500)), ExitStack() as pause:
        stack.backfill()
        pause.enter_context(stack.workers_paused())
        run_id = stack.backfill({"waitSeconds": 0})["runId"]
        with following() as command:
            command.wait_for("  0%  0 of 1,500 users  0 of 3 pages")
            assert command.said.startswith(f"Run {run_id}, started ")
            pause.close()
            assert command.finish() == 0, command.said
    assert "100%  1,500 of 1,500 users" in command.said
    assert "COMPLETED after " in command.said
    assert command.said.endswith("1,500 users: 1,500 unchanged\n")


def test_ctrl_c_ends_follow_but_not_the_run(stack: Stack, following: Follow) -> None:
    with stack.clerk(make_users(10)):
        with stack.workers_paused():
            run_id = stack.backfill({"waitSeconds": 0})["runId"]
            with following() as command:
                command.wait_for(f"Run {run_id}")
                os.killpg(command.process.pid, signal.SIGINT)
                assert command.finish(seconds=5) == 130
        assert command.said.endswith("\nNo longer watching. The run goes on.\n")
        assert "Traceback" not in command.said
        assert stack.finished(run_id)["status"] == "COMPLETED"


def test_follow_shows_the_latest_run_of_any_mode_by_default(stack: Stack, following: Follow) -> None:
    with stack.clerk([*make_users(5), *broken_users()]):
        full = stack.backfill()
        audit = stack.audit()
    with following() as latest:
        latest.finish()
    assert latest.said.startswith(f"Run {audit['runId']}, ")
    with following(stack.name, full["runId"]) as named:
        assert named.finish() == 1
    assert "COMPLETED_WITH_ERRORS after " in named.said
    assert f"{full['errorCount']} failed" in named.said
    assert f": {full['errors'][0]['reason']}" in named.said


def test_follow_says_why_it_cannot(stack: Stack, following: Follow, tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    nobody = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", **keys}
    for arguments, environment, message in [
        ((stack.name,), {}, "There was no run yet: invoke BackfillFunction"),
        ((stack.name, "full-x"), {}, "There is no run full-x"),
        (("no-stack",), {}, "There is no stack no-stack in us-east-1"),
        ((), nobody, "There are no AWS credentials. Sign in"),
        (
            (),
            {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"},
            "AWS can't be reached: ",
        ),
    ]:
        with following(*arguments, **environment) as command:
            assert command.finish() == 1
        assert message in command.said
        assert "Traceback" not in command.said
