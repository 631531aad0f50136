"""python3 -m tests.local test: pytest, with its own arguments."""

import argparse
from collections.abc import Sequence

import pytest

from tests.local.processes.children import STOPPED, raise_on_signals

SIDE_BY_SIDE = ["-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder", "-v"]
"""Several files at once, in the order of tests/conftest.py. pyproject.toml has -q, which hides the number of
tests; -v takes it back."""


def main(options: argparse.Namespace) -> int:
    # With an interruption of its own, pytest reports what has failed so far, and no place in the code.
    stopped = pytest.Session.Interrupted("stopped by a signal")
    raise_on_signals(stopped)
    try:
        status = pytest.main([*(SIDE_BY_SIDE if runs_folders(options.pytest) else []), *options.pytest])
    except KeyboardInterrupt:
        return STOPPED
    return STOPPED if stopped.__traceback__ else status  # it has a traceback once it was raised


def runs_folders(arguments: Sequence[str]) -> bool:
    """Whether the arguments select all tests or whole folders, not files or tests by name."""
    return not any(".py" in argument or argument.startswith(("-k", "-m", "--pdb")) for argument in arguments)
