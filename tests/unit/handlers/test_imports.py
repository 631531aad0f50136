"""A cold start is mostly imports, so a handler has none that it may not need."""

import subprocess
import sys

import pytest

HEAVY = {"httpx", "jinja2", "jwt", "cryptography", "standardwebhooks"}
"""What not every function uses, by what it takes to import. All need boto3, pydantic and Powertools."""


@pytest.mark.parametrize(
    ("handler", "used"),
    [
        ("backfill", {"httpx"}),
        ("audit", {"httpx"}),
        ("worker", set()),
        ("webhook", {"standardwebhooks"}),
        ("profile", {"jwt", "cryptography"}),
        ("dashboard", {"jinja2"}),
    ],
)
def test_a_handler_imports_what_each_of_its_invocations_uses_and_no_more(
    handler: str, used: set[str]
) -> None:
    code = (
        "import sys; sys.path.insert(0, 'functions'); "
        f"import clerk_sync.handlers.{handler}; print(*sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name for name in told.stdout.split() if name in HEAVY} == used
