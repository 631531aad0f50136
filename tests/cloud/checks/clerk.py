"""Does Clerk accept the secret key, and is it the key of the instance that the table belongs to?"""

import time
from collections.abc import Iterator

from clerk_sync.aws.items import Items
from clerk_sync.aws.secrets import Secret
from clerk_sync.clerk.client import ClerkClient
from clerk_sync.errors import ClerkRefused, ClerkUnavailable, OutOfTime
from clerk_sync.text import sentence
from clerk_sync.users.table import TableInstance
from tests.cloud.checks.secrets import Stored, environment, read, secret_key_result
from tests.cloud.result import Mark, Result, ok, unknown, wrong
from tests.cloud.stack import Stack

PATIENCE_SECONDS = 10


def look(stack: Stack) -> Iterator[Result]:
    parameter = stack.parameters["ClerkSecretKeyParameter"]
    stored = read(stack.client("ssm"), parameter)
    secret = secret_key_result(parameter, stored)
    yield secret
    if secret.mark is not Mark.OK or stored is None:
        yield unknown("Clerk", "It was not asked, as there is no usable key.")
        return
    answer = ask(stack.parameters["ClerkApiUrl"], stored, parameter)
    if isinstance(answer, Result):
        yield answer
        return
    yield ok("Clerk", f"accepts the key: instance {answer}, {environment(stored)}")
    outputs = stack.outputs
    remembered = TableInstance(Items(stack.client("dynamodb"), outputs["RunsTable"]), outputs["UsersTable"])
    yield instance_result(answer, remembered.read())


def ask(api_url: str, secret_key: Stored, parameter: str) -> str | Result:
    """The id of the instance that Clerk says the key is of, or what keeps it from saying so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    secret = Secret(secret_key.value, f"the SSM parameter {parameter}", "")
    with ClerkClient(api_url.rstrip("/"), secret, time_left=lambda: deadline - time.monotonic()) as clerk:
        try:
            return clerk.instance_id()
        except ClerkRefused as error:
            to_do = f"Store a valid key in {parameter}, or deploy with the right ClerkApiUrl."
            return wrong("Clerk", str(error).strip(), to_do)
        except (ClerkUnavailable, OutOfTime) as error:
            return unknown("Clerk", sentence(error), "Try again later.")


def instance_result(here: str, remembered: str | None) -> Result:
    """Whether the key's instance is the table's."""
    if remembered is None:
        return ok("instance", "the table belongs to none yet; the first run decides")
    if here != remembered:
        found = f"The key is that of {here}, but the table belongs to {remembered}."
        return wrong(
            "instance",
            found,
            "Store the secret key of the table's instance. If you moved to another on purpose, delete the "
            'item whose runId is "instance" from RunsTable.',
        )
    return ok("instance", f"the table belongs to {remembered} too")
