"""What `run` prints: commands to try, and what to do after a run that failed."""

import os

import pytest

from tests.local.aws.local_aws import LocalAws
from tests.local.commands import run
from tests.local.launcher.proxies import proxy_variables, reach_this_machine_directly

CLERK = "http://127.0.0.1:8400/v1"
OUTPUTS = {
    "UsersTable": "Users",
    "PagesQueue": "http://127.0.0.1:4566/0/pages",
    "ApiUrl": "http://127.0.0.1:4566/x",
}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*proxy_variables(os.environ), "no_proxy", "NO_PROXY"]:
        monkeypatch.delenv(name, raising=False)


def printed() -> str:
    return run._commands(LocalAws(4566), OUTPUTS, CLERK, "sk_test_x")


def test_only_what_needs_the_aws_cli_is_printed_for_it() -> None:
    for_everybody, after = printed().split("With the AWS CLI")
    for_aws_cli, with_docker = after.split("With Docker")
    assert "\n  aws " not in for_everybody + with_docker
    assert for_aws_cli.count("\n  aws ") == 2
    assert "sam remote invoke BackfillFunction --stack-name clerk-sync-local --event '{}'" in for_everybody


def test_printed_commands_reach_the_local_aws_past_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no_proxy" not in printed()
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    reach_this_machine_directly(os.environ)
    [export] = [line for line in printed().splitlines() if "export " in line]
    assert export.endswith(" no_proxy=127.0.0.1,localhost NO_PROXY=127.0.0.1,localhost")


def test_after_a_run_that_failed_the_local_aws_is_gone() -> None:
    again = "start 'python3 -m tests.local run' again."
    assert run._after_failure(CLERK) == f"The local AWS has ended, and this run with it: {again}"
    said = run._after_failure(run.REAL_CLERK)
    assert said.endswith(f"check this machine's connection to api.clerk.com, and {again}")
