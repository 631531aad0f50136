"""How the tests are run: samples or all, and files side by side in several processes (pytest-xdist)."""

import os
import signal
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import pytest

SLOWEST_FIRST = (
    "test_backfill.py",
    "test_deployment.py",
    "test_page_loads.py",
    "test_audit.py",
    "test_faults.py",
    "test_ctrl_c.py",
    "test_interruptions.py",
    "test_check.py",
    "test_run.py",
    "test_webhooks.py",
    "test_dashboard.py",
    "test_dashboard_page.py",
    "test_attacks.py",
    "test_alarms.py",
    "test_odd_rows.py",
    "test_lint_transformed.py",
    "test_follow.py",
)
"""The files that take longest. Side by side they begin first, so that none is left alone at the end."""
HANDED_OVER = pytest.StashKey[list[dict[str, Any]]]()
"""What each process that ran tests handed over at its end, in `workeroutput`."""
_workers: list[int] = []
"""The ids of the processes that run tests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="search every state there is, not a seeded sample",
    )


@pytest.fixture(scope="session")
def thorough(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--thorough"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many processes as processors, or more for the integration tests, which mostly wait."""
    processors = os.cpu_count() or 1
    only_compute = all("tests/unit" in folder or "tests/simulation" in folder for folder in config.args)
    return processors if only_compute else 2 * processors + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        ranks = {name: rank for rank, name in enumerate(SLOWEST_FIRST)}
        items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_newgateway(gateway: Any) -> None:
    _workers.append(gateway._rinfo().pid)


def pytest_keyboard_interrupt() -> None:
    """End the processes that run tests at once. What they have started ends with them."""
    for worker in _workers:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash.setdefault(HANDED_OVER, []).append(getattr(node, "workeroutput", {}))


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Tests of what all processes did come last, and in this one."""
    result = yield
    last = {test for one in session.config.stash.get(HANDED_OVER, []) for test in one.get("last", [])}
    if last:
        collected = session.testscollected
        session.config.get_terminal_writer().line()
        items = session.perform_collect(sorted(last))
        session.testscollected = collected + len(items)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return result
