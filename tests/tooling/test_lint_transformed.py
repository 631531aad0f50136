"""The lint of the transformed template."""

from pathlib import Path

import pytest

from tests.local.aws.local_aws import ROOT
from tests.local.commands.lint_transformed import main


def test_the_template_is_clean() -> None:
    assert main() == 0


def test_a_dependency_on_a_conditional_resource_is_found(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "template.yaml").read_text()
    api = "    Type: AWS::Serverless::Api\n"
    assert text.count(api) == 1
    planted = tmp_path / "template.yaml"
    planted.write_text(text.replace(api, f"{api}    DependsOn: ApiAccount\n"))
    assert main(planted) != 0
    assert "'ApiAccount' will not exist when condition 'HasAccessLogs' is False" in capfd.readouterr().out
