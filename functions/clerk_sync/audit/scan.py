"""The progress of an audit's scan of the users table, saved in RunsTable if the function is out of time."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from clerk_sync.aws.items import Items
from clerk_sync.runs.run import Run

_SCAN = "scan"


@dataclass(frozen=True, slots=True)
class Scan:
    """The progress of a scan.

    `after` is the last key that was read; None at the start and at the end. `rows` counts the synced rows.
    `candidates` are the ids that Clerk must still be asked for; `more` counts further ones, which are not
    kept. `gone` are the ids that Clerk does not have.
    """

    after: str | None = None
    is_done: bool = False
    rows: int = 0
    more: int = 0
    candidates: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


_SAVED = TypeAdapter(Scan)


class SavedScans:
    """Every method raises AwsError when DynamoDB refuses or throttles a call."""

    def __init__(self, items: Items) -> None:
        self._items = items

    def save(self, run: Run, scan: Scan) -> None:
        """Save the run's scan."""
        self._items.update(
            run.run_id, _SCAN, set_={"scan": _SAVED.dump_json(scan).decode(), "expiresAt": run.expires_at}
        )

    def load(self, run: Run) -> Scan:
        """The scan as it was saved last; a new one if there is none."""
        item = self._items.get(run.run_id, _SCAN)
        return _SAVED.validate_json(item["scan"]) if item else Scan()
