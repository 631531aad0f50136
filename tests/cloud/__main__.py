"""python3 -m tests.cloud COMMAND, for a deployed stack: see `tests/local/launcher/start.py`."""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    # No traceback if Ctrl-C comes while the launcher is imported.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tests.cloud.arguments import COMMANDS
    from tests.local.launcher.start import main

    sys.exit(main("tests.cloud", COMMANDS, sys.argv[1:]))
