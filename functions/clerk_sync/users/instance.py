"""Which Clerk instance a users table belongs to, kept in one item of RunsTable."""

from dataclasses import dataclass

from clerk_sync.aws.items import Items, put


@dataclass(frozen=True, slots=True)
class TableInstance:
    """The edge to that item. Every method raises AwsError."""

    items: Items
    users_table: str

    def remember(self, instance_id: str) -> str:
        """The instance that the table belongs to: this one, if none was remembered before."""
        item = {"runId": "instance", "part": self.users_table, "instanceId": instance_id}
        return instance_id if self.items.transact(put(item)) else self.read() or instance_id

    def read(self) -> str | None:
        """The instance that the table belongs to; None if none was remembered yet."""
        item = self.items.get("instance", self.users_table)
        return item["instanceId"] if item else None
