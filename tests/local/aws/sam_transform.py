"""template.yaml after the SAM transform, as CloudFormation deploys it."""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.local.aws.local_aws import LOCAL, ROOT
from tests.local.aws.sam import sam_environment


def transformed(parameters: Mapping[str, str], template: Path = ROOT / "template.yaml") -> dict[str, Any]:
    """The CloudFormation template that SAM makes with these parameters, defaults for the others.

    Raises CalledProcessError if SAM refuses the template.
    """
    made: dict[str, Any] = json.loads(_transformed(template, json.dumps(dict(parameters))))
    return made


@cache
def _transformed(template: Path, parameters: str) -> bytes:
    # In SAM CLI's environment, which has the translator.
    return subprocess.run(
        [LOCAL / "sam/bin/python", "-m", __name__, template, parameters],
        cwd=ROOT,
        env=sam_environment(),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout


def main() -> None:
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator
    from samtranslator.yaml_helper import yaml_parse

    logging.disable()  # it warns of features that SAM CLI's release leaves out
    template = yaml_parse(Path(sys.argv[1]).read_text())
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"  # the transform takes no folder
    values = {name: parameter.get("Default", "") for name, parameter in template["Parameters"].items()}
    values |= {"AWS::Region": "us-east-1"} | json.loads(sys.argv[2])
    print(json.dumps(Translator({}, Parser()).translate(template, values), indent=1))


if __name__ == "__main__":
    main()
