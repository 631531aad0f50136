import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack import Stack
from tests.local.aws.local_aws import LocalAws

PRIVATE = re.compile(
    r"sk_test_[a-z]|whsec_[A-Za-z0-9]|eyJ[\w-]{20,}\.|v1,[\w+/]{43}="  # secrets, tokens, signatures
    r"|@(?:mail\.test|post\.invalid|example\.com)|//img\.test/"  # addresses, pictures
    r"|\b(?:Ada|Bram|Chioma|Elif|Farid|Grete|Hana|Jonas|Kofi|Brandt|Castro|Dumas|Fujita|Horvat|Ibarra)\b"
    r"|Marked-"  # whatever a test marked as private
)


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
def deployed(aws: LocalAws) -> Iterator[Stack]:
    # DEBUG, so that whatever could be logged is.
    stack = Stack(aws, "clerk-sync-test", {"LogLevel": "DEBUG"})
    yield stack
    # Whatever the tests did to it, it told nobody.
    told = [line for line in (*stack.function_log(), *stack.dashboards()) if PRIVATE.search(line)]
    assert not told, f"{len(told)} private lines: {told[:5]}"


@pytest.fixture
def stack(deployed: Stack) -> Iterator[Stack]:
    deployed.reset()
    yield deployed
    told = [text for text in deployed.recorded() if PRIVATE.search(text)]
    assert not told, f"private, in RunsTable: {told[:5]}"
