"""The metrics: lines of the log in CloudWatch's embedded metric format, which cost no request.

Their one dimension, `service`, is the stack's name. docs/operations.md says what each means.
"""

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

_metrics = Metrics(namespace="clerk-sync")


def record(unit: MetricUnit = MetricUnit.Count, **values: float) -> None:
    """Record values of metrics."""
    for name, value in values.items():
        _metrics.add_metric(name=name, unit=unit, value=value)
    _metrics.flush_metrics()
