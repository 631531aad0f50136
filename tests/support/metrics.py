"""What the metrics of a test were."""


class RecordedMetrics(list[tuple[str, float]]):
    """Every metric and its value, in order."""

    def values(self, name: str) -> list[float]:
        return [value for recorded, value in self if recorded == name]
