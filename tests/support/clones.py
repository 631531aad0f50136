"""Clones of this repository, in folders of their own."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.local.launcher import environments
from tests.local.paths import LOCAL, ROOT


def clean_clone(folder: Path) -> Path:
    """A clone as git makes it, of the files as they are now: nothing is installed."""
    names = subprocess.check_output(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def installed_clone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with this one's environments, where nothing is built."""
    clone = clean_clone(folder)
    monkeypatch.setattr(environments, "ROOT", clone)
    monkeypatch.setattr(environments, "LOCAL", clone / ".local")
    for name in ("dev", "ministack", "sam"):
        (clone / ".local" / name).mkdir(parents=True)
        for part in (LOCAL / name).iterdir():
            if part.name != "installed":
                (clone / ".local" / name / part.name).symlink_to(part)
        environments._stamp_file(name).write_text(environments._stamp(name))
    return clone
