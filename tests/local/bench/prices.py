"""AWS's list prices, the only place that has them: us-east-1, on demand, in dollars, as of November 2026."""

WRITE_UNITS = 0.625 / 1e6
READ_UNITS = 0.125 / 1e6
LAMBDA_GB_SECONDS = 0.0000166667  # x86_64, the template's default; 0.0000133334 for arm64
LAMBDA_REQUESTS = 0.20 / 1e6
SQS_REQUESTS = 0.40 / 1e6
