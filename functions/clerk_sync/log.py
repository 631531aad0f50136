"""The one logger: JSON lines, `message` a stable event code, and no personal data ever."""

import json
import logging
from functools import partial

from aws_lambda_powertools import Logger

from clerk_sync import __version__

# All ASCII, as an id from outside may hold what ends a line for some readers, or moves a terminal's cursor.
_dump = partial(json.dumps, default=str, separators=(",", ":"))

logger = Logger(service="clerk-sync", version=__version__, utc=True, use_rfc3339=True, json_serializer=_dump)

# The libraries' own lines are out at every level: botocore's and httpx's DEBUG ones hold whole requests.
for _library in ("boto3", "botocore", "httpcore", "httpx", "urllib3"):
    logging.getLogger(_library).setLevel(logging.WARNING)
