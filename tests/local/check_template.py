"""Checks template.yaml as SAM CLI and cfn-lint see it."""

import subprocess
import sys

from tests.local.aws import LOCAL, ROOT, sam_environment


def main() -> int:
    command = [str(LOCAL / "sam/bin/sam"), "validate", "--lint", "--template-file", "template.yaml"]
    return subprocess.call(command, cwd=ROOT, env=sam_environment())


if __name__ == "__main__":
    sys.exit(main())
