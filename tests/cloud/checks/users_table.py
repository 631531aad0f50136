"""Do the users table, its key and its indexes fit?"""

from collections.abc import Iterator

from clerk_sync.errors import SettingsError
from clerk_sync.users.fields import FIELDS, synced
from clerk_sync.users.table import UsersTable
from tests.cloud.result import Result, ok, wrong
from tests.cloud.stack import Stack


def look(stack: Stack) -> Iterator[Result]:
    name, key = stack.outputs["UsersTable"], stack.parameters["UsersTableKey"]
    extra = [field for field in stack.parameters.get("ExtraFields", "").split(",") if field in FIELDS]
    try:
        UsersTable(stack.client("dynamodb"), name, key, synced(extra)).check()
    except SettingsError as error:
        to_do = "Change the table, or deploy with the right ExistingUsersTable and UsersTableKey."
        yield wrong("users table", str(error), to_do)
    else:
        yield ok("users table", f"{name} has the key {key}, and its indexes fit")
