import re
from collections.abc import Iterator

import pytest

from tests.integration.stack import Stack
from tests.local.aws import LocalAws

PRIVATE = re.compile(
    r"sk_test_[a-z]|whsec_[A-Za-z0-9]|eyJ[\w-]{20,}\.|v1,[\w+/]{43}="  # secrets, tokens, signatures
    r"|@(?:mail\.test|post\.invalid|example\.com)|//img\.test/"  # addresses, pictures
    r"|\b(?:Ada|Bram|Chioma|Elif|Farid|Grete|Hana|Jonas|Kofi|Brandt|Castro|Dumas|Fujita|Horvat|Ibarra)\b"
    r"|Marked-"  # whatever a test marked as private
)


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
