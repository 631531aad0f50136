"""What the metrics of a test were."""

from aws_lambda_powertools.metrics import MetricUnit


class RecordedMetrics(list[tuple[str, float]]):
    """Stands in for Powertools' Metrics: every metric and its value, in order."""

    def add_metric(self, *, name: str, unit: MetricUnit, value: float) -> None:  # noqa: ARG002
        self.append((name, value))

    def flush_metrics(self) -> None:
        pass

    def values(self, name: str) -> list[float]:
        return [value for recorded, value in self if recorded == name]
