"""Lambda ends a chain of some 16 invocations that cause each other, unless the function allows it.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html: it follows messages through SQS too.
"""

from typing import Any

from tests.local.aws.sam_transform import transformed


def test_functions_that_cause_their_own_next_invocation_allow_it() -> None:
    resources: dict[str, Any] = transformed({})["Resources"]
    allowing = {
        name
        for name, resource in resources.items()
        if resource.get("Properties", {}).get("RecursiveLoop") == "Allow"
    }
    # A run continues in a new invocation, a throttled page in a new message.
    assert allowing == {"BackfillFunction", "AuditFunction", "WorkerFunction"}
