"""The version, and the metadata for the AWS Serverless Application Repository."""

import re
import tomllib
from typing import Any

from clerk_sync import __version__
from tests.local.aws.local_aws import ROOT
from tests.local.aws.sam_transform import transformed


def application() -> dict[str, Any]:
    metadata: dict[str, Any] = transformed({})["Metadata"]["AWS::ServerlessRepo::Application"]
    return metadata


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest, *_ = re.findall(r"^## (\S+)", (ROOT / "docs/changelog.md").read_text(), re.MULTILINE)
    assert {project["version"], newest, application()["SemanticVersion"]} == {__version__}
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_application_is_described_as_the_repository_accepts_it() -> None:
    """The limits are those of CreateApplication in the repository's API reference."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    described = application()
    assert described["Name"] == project["name"]
    assert described["SpdxLicenseId"] == project["license"]
    assert re.fullmatch(r"[a-z0-9](([a-z0-9]|-(?!-))*[a-z0-9])?", described["Author"])
    assert project["description"] in described["Description"]
    assert len(described["Description"]) <= 256
    assert len(described["Labels"]) <= 10
    assert all(re.fullmatch(r"[a-zA-Z0-9+\-_:/@]{1,127}", label) for label in described["Labels"])
    assert all((ROOT / described[name]).is_file() for name in ("LicenseUrl", "ReadmeUrl"))
