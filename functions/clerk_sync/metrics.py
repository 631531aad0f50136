"""The metrics: lines of the log in CloudWatch's embedded metric format, which cost no request.

Each has the stack's name for its one dimension, `service`. What they mean is listed in docs/operations.md.
"""

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

_metrics = Metrics(namespace="clerk-sync")


def count(**values: float) -> None:
    """Record how many, or how much, there was of each."""
    record(MetricUnit.Count, **values)


def record(unit: MetricUnit, **values: float) -> None:
    """The same in another unit."""
    for name, value in values.items():
        _metrics.add_metric(name=name, unit=unit, value=value)
    _metrics.flush_metrics()
