"""cfn-lint of the template that SAM makes of template.yaml: some faults are visible only there."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.local.aws.conditions import ALL_OFF, ALL_ON
from tests.local.aws.local_aws import LOCAL, ROOT
from tests.local.aws.sam import sam_environment
from tests.local.aws.sam_transform import transformed

IGNORED = [
    "W1028"  # unreachable Fn::If: SAM puts a function's condition on a route and again on each of its methods
]


def main(template: Path = ROOT / "template.yaml") -> int:
    """Print what is wrong. Returns the exit status."""
    with TemporaryDirectory() as folder:
        for name, parameters in {"all-on": ALL_ON, "all-off": ALL_OFF}.items():
            text = json.dumps(transformed(parameters, template), indent=1)
            Path(folder, f"{name}.json").write_text(text)
        return subprocess.call(
            [LOCAL / "sam/bin/cfn-lint", "--ignore-checks", *IGNORED, "--", *Path(folder).iterdir()],
            env=sam_environment(),
        )


if __name__ == "__main__":
    sys.exit(main())
