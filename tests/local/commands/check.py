"""python3 -m tests.local check: lint, types, imports between modules, the template, and advisories."""

import argparse
import sys

from tests.local.aws.sam import sam_environment
from tests.local.paths import LOCAL
from tests.local.processes.children import Child

CHECKS = [
    [sys.executable, "-m", "ruff", "check"],
    [sys.executable, "-m", "ruff", "format", "--check"],
    [sys.executable, "-m", "mypy"],
    [str(LOCAL / "dev/bin/lint-imports"), "--no-cache"],
    [str(LOCAL / "sam/bin/sam"), "validate", "--lint", "--template-file", "template.yaml"],
    [sys.executable, "-m", "tests.local.commands.lint_transformed"],
    [str(LOCAL / "check/bin/checkov")],  # as .checkov.yaml says
    [sys.executable, "-m", "tests.local.commands.advisories"],
]


def main(options: argparse.Namespace) -> int:
    environment = sam_environment() | {"CKV_SKIP_PACKAGE_UPDATE_CHECK": "true"}  # the lock has its version
    return max(Child(check, environment=environment).wait() for check in CHECKS)
