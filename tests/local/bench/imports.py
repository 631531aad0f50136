"""python3 -m tests.local bench imports: how long importing each handler takes, against boto3 and one client.

Both have their bytecode here. An artifact of SAM CLI has none, so a cold start compiles what it imports.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

from tests.local.aws.local_aws import REGION
from tests.local.bench.figures import table, verdict
from tests.local.commands.terminal import step

IMPORTS_HEADINGS = ("importing", "ms", "times boto3 and a client", "bar")
RUNS = 7
BOTO3 = f"import boto3; boto3.client('dynamodb', region_name='{REGION}')"
MOST = {"backfill": 2.0, "audit": 2.0, "worker": 2.0, "webhook": 1.5, "profile": 2.0, "dashboard": 2.0}


def measure(_: argparse.Namespace) -> int:
    with step("Importing the handlers"):
        rows = _rows()
    print("", table(IMPORTS_HEADINGS, rows), "", sep="\n", flush=True)
    return 0


def _rows() -> list[Sequence[str]]:
    """Medians of several runs, each of all by turns; the first is not counted."""
    codes = {"boto3": BOTO3} | {name: f"import clerk_sync.handlers.{name}" for name in MOST}
    runs = [{name: _seconds(code) for name, code in codes.items()} for _ in range(RUNS + 1)][1:]
    rows: list[Sequence[str]] = [("boto3 and a client", f"{_median(runs, 'boto3') * 1000:.0f}", "", "")]
    for name, most in MOST.items():
        ratio = median(run[name] / run["boto3"] for run in runs)
        bar = verdict(f"<= {most:g} x", ratio <= most)
        rows.append((f"handlers.{name}", f"{_median(runs, name) * 1000:.0f}", f"{ratio:.2f} x", bar))
    return rows


def _median(runs: list[dict[str, float]], name: str) -> float:
    return median(run[name] for run in runs)


def _seconds(code: str) -> float:
    timed = f"import time; began = time.perf_counter(); {code}; print(time.perf_counter() - began)"
    told = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
    return float(told.stdout)
