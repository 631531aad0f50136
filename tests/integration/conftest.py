from collections.abc import Iterator

import pytest

from tests.integration.stack import Stack
from tests.local.aws import LocalAws


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
