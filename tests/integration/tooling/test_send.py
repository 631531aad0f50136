"""`send`, against a deployed stack."""

import json

import pytest

from tests.integration.stack import Stack
from tests.local.aws.local_aws import WEBHOOK_SECRET
from tests.local.commands.send import Sent, send
from tests.local.commands.sign import LOCAL_SECRET
from tests.local.paths import ROOT

OTHER_SECRET = "whsec_YW5vdGhlci1jbGVyay1zeW5jLXNlY3JldA=="


def test_each_sent_event_changes_the_row(stack: Stack) -> None:
    def sent(name: str) -> Sent:
        event = json.loads((ROOT / f"tests/events/webhook-{name}.json").read_text())
        return send(stack.aws, event, stack.name)

    first = sent("user-updated")
    assert (first.status, first.before) == (204, None)
    assert first.after
    assert first.after["firstName"] == "Ada"
    for name in ("session-created", "user-updated"):
        again = sent(name)
        assert again.status == 204
        assert again.before
        assert again.after
        assert again.after["clerkUpdatedAt"] > again.before["clerkUpdatedAt"]
    assert sent("user-created").before is None
    gone = sent("user-deleted").after
    assert gone
    assert gone["clerkDeletedAt"] > gone["clerkUpdatedAt"]


@pytest.mark.parametrize("secret", [OTHER_SECRET, f"{OTHER_SECRET} {LOCAL_SECRET}"])
def test_sent_event_is_signed_with_the_secret_in_ssm(secret: str, stack: Stack) -> None:
    stack.aws.put_secret(WEBHOOK_SECRET, secret)
    with stack.configured("WebhookFunction", NEW="1"):  # a new instance, which has not read a secret yet
        event = json.loads((ROOT / "tests/events/webhook-user-updated.json").read_text())
        assert send(stack.aws, event, stack.name).status == 204
