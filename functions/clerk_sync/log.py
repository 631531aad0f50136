"""The one logger: JSON lines, `message` a stable event code, and no personal data ever."""

import logging

from aws_lambda_powertools import Logger

logger = Logger(service="clerk-sync", utc=True, use_rfc3339=True)

# The libraries' own lines are out at every level: botocore's and httpx's DEBUG ones hold whole requests.
for _library in ("boto3", "botocore", "httpcore", "httpx", "urllib3"):
    logging.getLogger(_library).setLevel(logging.WARNING)
