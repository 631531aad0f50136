"""python3 -m tests.local bench [MEASURE ...]: speed and cost on a local AWS."""

import argparse
import sys

from tests.local.aws.local_aws import FunctionError, LocalAwsError
from tests.local.bench import imports, load, metadata, paging, sync, writes
from tests.local.bench.errors import BenchmarkError

MEASURES = {
    "sync": sync.measure,
    "imports": imports.measure,
    "paging": paging.measure,
    "writes": writes.measure,
    "metadata": metadata.measure,
    "load": load.measure,
}


def main(options: argparse.Namespace) -> int:
    try:
        return max([MEASURES[name](options) for name in options.measures])
    except (LocalAwsError, FunctionError, BenchmarkError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
