"""python3 -m tests.local COMMAND: see `launcher/start.py`."""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # no traceback if Ctrl-C comes while the launcher is imported
    from tests.local.launcher.start import main

    sys.exit(main(sys.argv[1:]))
