import io
import json

from clerk_sync import __version__
from clerk_sync.log import logger


def test_a_line_stays_one_line_of_ascii_whatever_is_in_it(log: io.StringIO) -> None:
    odd = 'a\r\n{"message": "forged"}\u2028\x1b[2J\x9b31m\u202e\ud800 Zoë 🎉'
    logger.info("webhook_stored", clerkUserId=odd)
    line = log.getvalue()
    assert line.isascii()
    assert line.rstrip("\n").isprintable()
    assert json.loads(line)["clerkUserId"] == odd


def test_every_line_has_the_version(log: io.StringIO) -> None:
    logger.append_keys(clerkUserId="user_1")
    logger.clear_state()
    logger.info("webhook_stored")
    assert json.loads(log.getvalue())["version"] == __version__
