"""A cold start is mostly imports, so a handler has none that it may not need."""

import subprocess
import sys

import pytest

HEAVY = {"boto3", "cryptography", "httpx", "jinja2", "jwt", "pydantic", "pydantic_core", "standardwebhooks"}
"""What not every function uses. All need botocore and Powertools."""
PYDANTIC = {"pydantic", "pydantic_core"}


@pytest.mark.parametrize(
    ("handler", "used"),
    [
        ("backfill", PYDANTIC | {"httpx"}),
        ("audit", PYDANTIC | {"httpx"}),
        ("worker", PYDANTIC),
        ("webhook", {"standardwebhooks"}),
        ("profile", {"jwt", "cryptography"}),
        ("dashboard", PYDANTIC | {"jinja2"}),
    ],
)
def test_handler_imports_only_what_each_of_its_invocations_uses(handler: str, used: set[str]) -> None:
    code = (
        "import sys; sys.path.insert(0, 'functions'); "
        f"import clerk_sync.handlers.{handler}; print(*sys.modules)"
    )
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name for name in imported.stdout.split() if name in HEAVY} == used
