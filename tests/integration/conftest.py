from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack import Stack
from tests.local.aws import LocalAws

HERE = Path(__file__).parent
LAST = "test_least_privilege.py"
IS_WHOLE = pytest.StashKey[bool]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What looks at all that the functions did comes last, and is told whether that is all they ever do."""
    items.sort(key=lambda item: item.path.name == LAST)
    files = {item.path for item in items}
    is_picked = any("::" in argument for argument in config.args)
    config.stash.setdefault(IS_WHOLE, not is_picked and files.issuperset(HERE.glob("test_*.py")))


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        items[0].config.stash[IS_WHOLE] = False


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    with LocalAws(records_calls=True) as aws:
        yield aws


@pytest.fixture(scope="session")
def deployed(aws: LocalAws) -> Stack:
    # DEBUG, so that whatever could be logged is.
    return Stack(aws, "clerk-sync-test", {"LogLevel": "DEBUG"})


@pytest.fixture
def stack(deployed: Stack) -> Stack:
    deployed.reset()
    return deployed
