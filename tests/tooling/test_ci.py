"""The workflows in .github."""

import re
import tomllib

from tests.local.aws.local_aws import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def test_actions_are_pinned_by_commit_and_name_their_version() -> None:
    for workflow in WORKFLOWS:
        used = re.findall(r"uses: (.*)", workflow.read_text())
        assert used
        assert [
            one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)
        ] == []


def test_workflows_may_only_read() -> None:
    for workflow in WORKFLOWS:
        assert re.findall(r"permissions:\n((?: +.*\n)+)", workflow.read_text()) == ["  contents: read\n"]
        assert workflow.read_text().count("persist-credentials: false") == workflow.read_text().count(
            "actions/checkout@"
        )


def test_python_of_the_workflows_is_the_projects() -> None:
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert required.startswith(f">={(ROOT / '.python-version').read_text().strip()}")


def test_ci_runs_everything_and_weekly_every_schedule() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    assert "- run: .ci/run\n" in text
    assert "- run: python3 -m tests.local test --thorough\n" in text
