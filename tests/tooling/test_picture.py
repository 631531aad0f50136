"""The README's picture of the dashboard."""

from argparse import Namespace
from pathlib import Path

import pytest

from clerk_sync.dashboard.request import parse_request
from clerk_sync.dashboard.widgets import render
from tests.local.aws.local_aws import ROOT
from tests.local.browser import CHROMIUM
from tests.local.commands import picture

PNG = b"\x89PNG\r\n\x1a\n"


def test_picture_in_the_docs_is_a_small_png() -> None:
    content = (ROOT / "docs/dashboard.png").read_bytes()
    assert content.startswith(PNG)
    assert len(content) < 200_000
    assert "docs/dashboard.png" in (ROOT / "README.md").read_text()


def test_runs_on_the_picture_are_of_each_kind() -> None:
    shown = render(parse_request({"widget": "runs"}, picture.ENDPOINT, picture.NOW), runs=picture.runs())
    for words in ("40%", "Incremental", "Audit with repair", "Drift", "Completed"):
        assert words in shown


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")
@pytest.mark.parametrize("dark", [False, True])
def test_command_draws_the_widgets(dark: bool, tmp_path: Path) -> None:
    file = tmp_path / "dashboard.png"
    assert picture.main(Namespace(file=file, dark=dark, width=800)) == 0
    assert file.read_bytes().startswith(PNG)


def test_command_without_chromium_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(picture, "CHROMIUM", None)
    assert picture.main(Namespace()) == 1
    assert "Chromium" in capsys.readouterr().err
