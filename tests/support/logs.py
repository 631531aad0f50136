"""What functions log."""

import io
from collections.abc import Iterator

import pytest

from clerk_sync.log import logger


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, at any level."""
    stream, handler, level = io.StringIO(), logger.registered_handler, logger.log_level
    was = handler.setStream(stream)  # type: ignore[attr-defined]
    logger.setLevel("DEBUG")
    yield stream
    logger.setLevel(level)
    handler.setStream(was)  # type: ignore[attr-defined]
