"""python3 -m tests.local test: pytest, with its own arguments."""

import argparse

import pytest

from tests.local.processes.children import STOPPED, interrupt_on_signals


def main(options: argparse.Namespace) -> int:
    interrupt_on_signals()  # pytest then still tells what has failed until now
    try:
        return pytest.main(options.pytest)
    except KeyboardInterrupt:
        return STOPPED
