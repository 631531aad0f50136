"""Which Clerk instance a users table belongs to, kept in one item of RunsTable."""

from clerk_sync.aws.dynamodb import DynamoDB, SingleItem


class TableInstance:
    """The edge to that item. Every method raises AwsError."""

    def __init__(self, dynamodb: DynamoDB, runs_table: str, users_table: str) -> None:
        self._item = SingleItem(dynamodb, runs_table, {"runId": "instance", "part": users_table})

    def remember(self, instance_id: str) -> str:
        """The instance that the table belongs to: this one, if none was remembered before."""
        if self._item.update("SET instanceId = :id", "attribute_not_exists(runId)", id=instance_id):
            return instance_id
        return self.read() or instance_id

    def read(self) -> str | None:
        """The instance that the table belongs to; None if none was remembered yet."""
        instance_id: str | None = self._item.read().get("instanceId")
        return instance_id
