"""What `run --keep` saves for the other commands and `sam local invoke`: `.local/env.json`."""

import json
import os
from contextlib import suppress

from tests.local.aws import docker
from tests.local.aws.local_aws import LocalAws, Outputs
from tests.local.clerk.session_tokens import LOCAL_ORIGIN
from tests.local.paths import LOCAL

CLERK_PORT = 8400
"""The simulated Clerk's, if it is free."""
_ENV_FILE = LOCAL / "env.json"


def write_environment(aws: LocalAws, outputs: Outputs, clerk_url: str, issuer: str) -> None:
    """Save the environment variables for `sam local invoke`, in the file that samconfig.toml names."""
    variables = {
        "AWS_ENDPOINT_URL": docker.seen_from_a_container(aws.endpoint),
        "CLERK_API_URL": docker.seen_from_a_container(clerk_url),
        "CLERK_ISSUER": docker.seen_from_a_container(issuer),
        "CLERK_AUTHORIZED_PARTIES": LOCAL_ORIGIN,
        "USERS_TABLE": outputs["UsersTable"],
        "RUNS_TABLE": outputs["RunsTable"],
        "PAGES_QUEUE_URL": outputs["PagesQueue"],
    }
    _ENV_FILE.write_text(json.dumps({"Parameters": variables}, indent=2))


def container_issuer() -> str:
    """CLERK_ISSUER in `sam local invoke`. A token's `iss` must equal it."""
    return os.environ.get("CLERK_ISSUER") or _written_issuer() or f"http://127.0.0.1:{CLERK_PORT}"


def local_issuer() -> str:
    """The same issuer, as the functions on the local AWS know it."""
    return container_issuer().replace(docker.HOST, "127.0.0.1")


def _written_issuer() -> str:
    with suppress(OSError, ValueError):
        return str(json.loads(_ENV_FILE.read_text())["Parameters"].get("CLERK_ISSUER", ""))
    return ""
