"""The processes of this machine, and what they use."""

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time, and the most memory held at any time."""

    cpu_seconds: float
    peak_bytes: int


def processes_with(text: str) -> list[int]:
    """The processes that have this in their command."""
    listing = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    return [int(line.split()[0]) for line in listing.stdout.splitlines() if text in line]


def usage(process: int) -> Usage | None:
    """What a process has used so far; None if that is unknown: it has ended, or this is not Linux."""
    with suppress(OSError):
        # The name, in brackets, may have blanks; the fields are counted after it.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{process}/status").read_text()
        peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), "0")
        ticks = int(fields[11]) + int(fields[12])
        return Usage(ticks / os.sysconf("SC_CLK_TCK"), int(peak) * 1024)
    return None
