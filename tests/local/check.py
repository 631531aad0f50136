"""python3 -m tests.local check: lint, types, and the template as SAM CLI and cfn-lint see it."""

import subprocess
import sys

from tests.local.aws import LOCAL, ROOT, sam_environment

CHECKS = [
    [sys.executable, "-m", "ruff", "check"],
    [sys.executable, "-m", "ruff", "format", "--check"],
    [sys.executable, "-m", "mypy"],
    [str(LOCAL / "sam/bin/sam"), "validate", "--lint", "--template-file", "template.yaml"],
]


def main() -> int:
    return max(subprocess.call(check, cwd=ROOT, env=sam_environment()) for check in CHECKS)


if __name__ == "__main__":
    sys.exit(main())
