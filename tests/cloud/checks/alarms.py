"""Is anybody told of trouble, and is there any?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clerk_sync.text import counted
from tests.cloud.aws_errors import RESTORE
from tests.cloud.result import Result, ok, wrong
from tests.cloud.stack import Stack

_NAMES_PER_CALL = 100


def look(stack: Stack) -> Iterator[Result]:
    sns, topic = stack.client("sns"), stack.outputs["AlertsTopic"]
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    listed = [subscription for page in pages for subscription in page["Subscriptions"]]
    # One that was cancelled is listed for three more days.
    subscriptions = [one for one in listed if one["SubscriptionArn"] != "Deleted"]
    pending = sum(_is_pending(sns, subscription["SubscriptionArn"]) for subscription in subscriptions)
    yield subscriptions_result(subscriptions, pending, stack.parameters.get("AlertEmail", ""), topic)
    names = {logical: name for logical, name in stack.resources.items() if logical.endswith("Alarm")}
    found = stack.client("cloudwatch").describe_alarms(
        AlarmNames=list(names.values()), MaxRecords=_NAMES_PER_CALL
    )
    yield from alarms_results(names, found["MetricAlarms"])


def subscriptions_result(
    subscriptions: Sequence[Mapping[str, str]], pending: int, email: str, topic: str
) -> Result:
    """Whether the alarms' messages are delivered. An address is not shown."""
    subject = "alarm notifications"
    of_email = [one for one in subscriptions if one["Protocol"] == "email" and one["Endpoint"] == email]
    if email and not of_email:
        command = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS"
        found = "AlertEmail has no subscription: it was cancelled, or not confirmed within 2 days."
        return wrong(subject, found, f"Subscribe again, and confirm: {command}")
    if pending:
        found = f"Not confirmed: {pending} of AlertsTopic's {counted(len(subscriptions), 'subscription')}."
        return wrong(subject, found, "Open the link in the message that AWS sent to each, within 2 days.")
    if not subscriptions:
        return ok(subject, "off, as AlertEmail is empty and AlertsTopic has no subscription")
    return ok(subject, f"{len(subscriptions)} confirmed")


def alarms_results(names: Mapping[str, str], alarms: Sequence[Mapping[str, Any]]) -> Iterator[Result]:
    """What the alarms say; `names` are those that the stack made, by logical id."""
    by_name = {alarm["AlarmName"]: alarm for alarm in alarms}
    is_well = True
    for logical_id, name in names.items():
        alarm = by_name.get(name)
        fault = _fault(logical_id, alarm)
        if fault:
            is_well = False
            yield wrong("alarms", *fault)
    if is_well:
        yield ok("alarms", f"none of the {len(names)} is in alarm")


def _is_pending(sns: Any, arn: str) -> bool:
    """AWS lists no ARN for a subscription that is not confirmed; the local AWS does."""
    if not arn.startswith("arn:"):
        return True
    attributes: Mapping[str, str] = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    return attributes.get("PendingConfirmation") == "true"


def _fault(logical_id: str, alarm: Mapping[str, Any] | None) -> tuple[str, str] | None:
    if alarm is None:
        return f"{logical_id} was deleted.", RESTORE
    if not alarm["ActionsEnabled"]:
        command = f"aws cloudwatch enable-alarm-actions --alarm-names {alarm['AlarmName']}"
        return f"{logical_id} notifies nobody: its actions are disabled.", f"Enable them: {command}"
    if alarm["StateValue"] == "ALARM":
        return f"{logical_id} is in alarm.", alarm.get("AlarmDescription", "Look at it in CloudWatch.")
    return None
