import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import HANDED_OVER
from tests.integration.permissions import Permissions, merged, permissions_of
from tests.integration.stack import Stack
from tests.local.aws.local_aws import LocalAws

STACK = "clerk-sync-test"
PRIVATE = re.compile(
    r"sk_test_[a-z]|whsec_[A-Za-z0-9]|eyJ[\w-]{20,}\.|v1,[\w+/]{43}="  # secrets, tokens, signatures
    r"|@(?:mail\.test|post\.invalid|example\.com)|//img\.test/"  # addresses, pictures
    r"|\b(?:Ada|Bram|Chioma|Elif|Farid|Grete|Hana|Jonas|Kofi|Brandt|Castro|Dumas|Fujita|Horvat|Ibarra)\b"
    r"|Marked-"  # whatever a test marked as private
)


HERE = Path(__file__).parent
IS_WHOLE = pytest.StashKey[bool]()
"""Whether all integration tests run, so that a permission that none uses is one too many."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of what all others did come last. A worker process leaves them to the one that started it."""
    if handed_over := config.stash.get(HANDED_OVER, []):
        config.stash[IS_WHOLE] = any(one.get("is_whole") for one in handed_over)
        return
    files = {item.path for item in items}
    is_picked = any("::" in argument for argument in config.args)
    is_whole = config.stash.setdefault(IS_WHOLE, not is_picked and files.issuperset(HERE.glob("test_*.py")))
    last = [item for item in items if "permissions" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in last]
    if hasattr(config, "workeroutput"):
        config.workeroutput |= {"last": [item.nodeid for item in last], "is_whole": is_whole}
    else:
        items += last


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        items[0].config.stash[IS_WHOLE] = False


@pytest.fixture(scope="session")
def aws(request: pytest.FixtureRequest) -> Iterator[LocalAws]:
    with LocalAws(records_calls=True) as aws:
        yield aws
        if hasattr(request.config, "workeroutput"):
            request.config.workeroutput["permissions"] = permissions_of(aws)


@pytest.fixture(scope="session")
def permissions(request: pytest.FixtureRequest) -> dict[str, Permissions]:
    """What each function's role allows, and what the functions have done in all tests."""
    handed_over = request.config.stash.get(HANDED_OVER, [])
    if found := merged(one["permissions"] for one in handed_over if "permissions" in one):
        return found
    request.getfixturevalue("deployed")
    return permissions_of(request.getfixturevalue("aws"))


@pytest.fixture(scope="session")
def deployed(aws: LocalAws) -> Iterator[Stack]:
    # DEBUG logs everything that can be logged.
    stack = Stack(aws, STACK, {"LogLevel": "DEBUG"})
    yield stack
    logged = [line for line in (*stack.function_log(), *stack.dashboards()) if PRIVATE.search(line)]
    assert not logged, f"{len(logged)} private lines: {logged[:5]}"


@pytest.fixture
def stack(deployed: Stack) -> Iterator[Stack]:
    deployed.reset()
    yield deployed
    recorded = [text for text in deployed.recorded() if PRIVATE.search(text)]
    assert not recorded, f"private, in RunsTable: {recorded[:5]}"
