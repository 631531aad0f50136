"""With a proxy set, this machine's own addresses are still reached directly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local.launcher.proxies import reach_this_machine_directly
from tests.local.paths import ROOT
from tests.support.clones import clean_clone
from tests.support.dead_proxies import dead_proxies
from tests.support.launched import launched
from tests.support.one_answer import one_answer

PROXY = "http://proxy.test:3128"
NO_STACK = "<ErrorResponse><Error><Code>ValidationError</Code><Message>None</Message></Error></ErrorResponse>"
CLIENTS = {
    "urllib": "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=10)",
    "httpx": "import sys, httpx; httpx.get(sys.argv[1], timeout=10).raise_for_status()",
    "requests": "import sys, requests; requests.get(sys.argv[1], timeout=10).raise_for_status()",
}
PYTHONS = {"requests": ".local/sam/bin/python"}
"""requests is in SAM CLI's environment."""


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_this_machine_is_excluded_from_a_proxy(name: str) -> None:
    environment = {name: PROXY}
    reach_this_machine_directly(environment)
    hosts = "127.0.0.1,localhost"
    assert environment == {name: PROXY, "no_proxy": hosts, "NO_PROXY": hosts}


@pytest.mark.parametrize(
    ("excluded", "then"), [("corp.test", "corp.test,127.0.0.1,localhost"), ("*", "*"), (" * ", " * ")]
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_hosts_that_were_excluded_stay_excluded(name: str, excluded: str, then: str) -> None:
    environment = {"http_proxy": PROXY, name: excluded}
    reach_this_machine_directly(environment)
    assert environment["no_proxy"] == environment["NO_PROXY"] == then


def test_environment_without_a_proxy_is_left_alone() -> None:
    environment = {"PATH": "/bin", "no_proxy": "corp.test"}
    reach_this_machine_directly(environment)
    assert environment == {"PATH": "/bin", "no_proxy": "corp.test"}


def test_socks_proxy_is_ignored_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    environment = {"all_proxy": "socks5h://127.0.0.1:1080", "https_proxy": PROXY}
    reach_this_machine_directly(environment)
    assert "all_proxy" not in environment
    assert environment["https_proxy"] == PROXY
    assert capsys.readouterr().err == "all_proxy is ignored: SOCKS proxies are not supported here.\n"


@pytest.mark.parametrize("client", CLIENTS)
def test_http_clients_reach_this_machine_with_dead_proxies(client: str) -> None:
    environment = {**os.environ, **dead_proxies()}
    reach_this_machine_directly(environment)
    with one_answer(200, "ok") as (url, asked):
        command = [str(ROOT / PYTHONS.get(client, sys.executable)), "-c", CLIENTS[client], url]
        subprocess.run(command, env=environment, check=True, timeout=60)
        assert asked == ["GET /"]


def test_cloud_check_reaches_the_local_aws_with_dead_proxies(tmp_path: Path) -> None:
    with one_answer(400, NO_STACK) as (url, asked):
        settings = {
            "AWS_ENDPOINT_URL": url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        with launched(
            "check", package="tests.cloud", folder=tmp_path, environment=settings | dead_proxies()
        ) as command:
            assert command.finish() == 1
        assert "There is no stack clerk-sync" in command.said
        assert asked == ["POST /"]


def test_pip_still_uses_the_proxy(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    with one_answer(404, "none") as (proxy, asked):
        index = {"PIP_INDEX_URL": "http://index.test/simple", "PIP_TRUSTED_HOST": "index.test"}
        with launched(
            "follow",
            package="tests.cloud",
            folder=tmp_path / "temporary",
            clone=clean_clone(tmp_path / "clone"),
            environment={"http_proxy": proxy, "PIP_RETRIES": "0", **index},
        ) as command:
            assert command.finish(seconds=120) == 1
        assert any(request.startswith("GET http://index.test/simple/") for request in asked)
