"""The stream of the users table, with the function that the docs show: it welcomes each new user once."""

import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.integration.stack import Stack, eventually
from tests.local.aws.local_aws import ROOT
from tests.local.aws.sam import sam
from tests.local.clerk.fake_users import User, make_user
from tests.support.deployed_api import changed, event, post

SENDER = "hello@your.app"
HOUR_MS = 3_600_000


def example(language: str) -> str:
    """The code block in this language of the docs' example."""
    _, _, rest = (ROOT / "docs/reference.md").read_text().partition("### Example: welcome new users")
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", rest.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
    return str(block)


def user_created_at(number: int, ms: int) -> User:
    return make_user(number) | {"created_at": ms, "updated_at": ms}


def stream_arn(stack: Stack) -> str:
    """The stack's output until `stack` emptied the table by creating it again."""
    assert ":table/" + stack.outputs["UsersTable"] + "/stream/" in stack.outputs["UsersTableStreamArn"]
    table = stack.aws.client("dynamodb").describe_table(TableName=stack.outputs["UsersTable"])["Table"]
    assert table["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    return str(table["LatestStreamArn"])


def welcomed(stack: Stack) -> list[str]:
    """To whom an e-mail was sent."""
    with urlopen(f"{stack.aws.endpoint}/_ministack/ses/messages", timeout=10) as answer:
        [messages] = json.load(answer)["messages"].values() or [[]]
    return [address for message in messages for address in message["To"]]


def test_example_welcomes_new_users_once(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(example("yaml"))
    (tmp_path / "welcome.py").write_text(example("python"))
    now = int(time.time() * 1000)
    values = {
        "UsersTable": stack.outputs["UsersTable"],
        "UsersTableStreamArn": stream_arn(stack),
        "Sender": SENDER,
        "Since": str(now - HOUR_MS),
    }
    overrides = [f"{name}={value}" for name, value in values.items()]
    stack.aws.client("ses").verify_email_identity(EmailAddress=SENDER)
    sam(
        "deploy",
        tmp_path / "sam.log",
        stack.aws.environment,
        *("--template-file", str(tmp_path / "template.yaml"), "--stack-name", "welcome", "--resolve-s3"),
        *("--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--parameter-overrides", *overrides),
    )
    try:
        check_welcomes(stack, now)
    finally:
        stack.aws.client("cloudformation").delete_stack(StackName="welcome")


def check_welcomes(stack: Stack, now: int) -> None:
    """The users come by webhook: in the cloud, every write is in the stream, but MiniStack 1.5.33 leaves out
    PartiQL's, which are those of runs."""
    old = [user_created_at(number, now - 2 * HOUR_MS) for number in (0, 16)]
    new = [user_created_at(number, now) for number in (64, 72)]
    for user in (*old, *new):
        assert post(stack, event(user, "user.created")).status_code == 204
    eventually(lambda: len(welcomed(stack)) == 2, 30)
    # A change of a row welcomes nobody.
    assert post(stack, event(changed(new[1], 5, "Other"))).status_code == 204
    last = user_created_at(80, now)
    assert post(stack, event(last, "user.created")).status_code == 204
    eventually(lambda: len(welcomed(stack)) >= 3, 30)
    addresses = [address["email_address"] for user in (*new, last) for address in user["email_addresses"]]
    assert sorted(welcomed(stack)) == sorted(addresses)
    rows: dict[str, Any] = stack.rows()
    assert {user_id for user_id, row in rows.items() if row.get("welcomed")} == {
        user["id"] for user in (*new, last)
    }
