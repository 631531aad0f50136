"""`send`, against a deployed stack."""

import json

from tests.integration.stack import Stack
from tests.local.commands.send import Sent, send
from tests.local.paths import ROOT


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
