"""python3 -m tests.local test: pytest, with its own arguments."""

import argparse
from collections.abc import Sequence

import pytest

from tests.local.processes.children import STOPPED, interrupt_on_signals

SIDE_BY_SIDE = ["-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
"""Several files at once, in the order of tests/conftest.py."""


def main(options: argparse.Namespace) -> int:
    interrupt_on_signals()  # pytest then still reports what has failed so far
    try:
        return pytest.main([*(SIDE_BY_SIDE if runs_folders(options.pytest) else []), *options.pytest])
    except KeyboardInterrupt:
        return STOPPED


def runs_folders(arguments: Sequence[str]) -> bool:
    """Whether the arguments select all tests or whole folders, not files or tests by name."""
    return not any(".py" in argument or argument.startswith(("-k", "-m", "--pdb")) for argument in arguments)
