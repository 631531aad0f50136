"""The one logger: JSON lines, `message` a stable event code, and no personal data ever."""

import logging

from aws_lambda_powertools import Logger

logger = Logger(service="clerk-sync", utc=True, use_rfc3339=True)
# Each request's URL at INFO would be a line a page.
logging.getLogger("httpx").setLevel(logging.WARNING)
