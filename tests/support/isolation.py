"""What unit tests and simulations share: no network, nothing of this machine's account, the same examples."""

import os

import pytest
from hypothesis import settings

# The same examples on every machine and in every run; a failure is never only one night's.
settings.register_profile("unit", derandomize=True, database=None, deadline=None, max_examples=60)


@pytest.fixture(autouse=True)
def alone(socket_disabled: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and nothing of the machine's own account."""
    # Without a network nobody's certificate is checked, and loading the trusted ones takes 30 ms each time.
    monkeypatch.setattr("ssl.SSLContext.load_default_certs", lambda *_: None)
    for name in list(os.environ):
        if name.startswith(("AWS_", "CLERK_")):
            monkeypatch.delenv(name)
