"""SAM CLI, from its own environment."""

import os
from pathlib import Path

from tests.local.paths import LOCAL
from tests.local.processes.children import Child

REGION = "us-east-1"


class LocalAwsError(Exception):
    """The local AWS, the build or the deployment failed; the message says where to look."""


def sam(command: str, log: Path, environment: dict[str, str], *arguments: str) -> None:
    """Run a command of SAM CLI. Raises LocalAwsError with the end of its log."""
    if Child([LOCAL / "sam/bin/sam", command, *arguments], environment=environment, log=log).wait():
        raise LocalAwsError(f"sam {command} failed; {log} ends with:\n{log.read_text()[-1500:]}")


def sam_environment() -> dict[str, str]:
    """What SAM CLI needs: the runtime's own Python on the path, a region, no telemetry."""
    return os.environ | {
        "PATH": f"{LOCAL / 'sam/bin'}{os.pathsep}{os.environ['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": REGION,
    }
