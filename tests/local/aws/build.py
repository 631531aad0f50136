"""The functions, built by SAM CLI for this machine."""

import compileall
import hashlib
import platform
import py_compile
import re
import shutil
import zipfile
from functools import cache
from pathlib import Path

from tests.local.aws.sam import sam, sam_environment
from tests.local.paths import LOCAL, ROOT
from tests.local.processes.locks import locked

BUILD = LOCAL / "build"
KEPT_MOUNTS = 3
STUB = """import importlib, sys
sys.path.insert(0, {code!r})
del sys.modules["clerk_sync"]
sys.modules["clerk_sync"] = importlib.import_module("clerk_sync")
"""


@cache
def build() -> Path:
    """Build the functions unless they are up to date. Returns SAM CLI's build folder."""
    _build()
    return BUILD


@cache
def mounted_template() -> Path:
    """The built template with a stub as its code, which imports the built code from where it is.

    SAM CLI zips the code for each function, and the local AWS unzips it whenever it starts one. Without that,
    stacks are deployed and functions started several times faster.
    """
    return _build() / "template.yaml"


def _build() -> Path:
    """Build the functions. Returns the folder with the code that is mounted."""
    stamp = LOCAL / "built"
    with locked("build"):
        sources = _digest_of_sources()
        mount = LOCAL / f"mount-{sources[:16]}"
        if stamp.exists() and stamp.read_text() == sources:
            return mount
        if not stamp.exists():  # a build that was interrupted may have left half of what is cached
            shutil.rmtree(LOCAL / "cache", ignore_errors=True)
        stamp.unlink(missing_ok=True)
        sam(
            "build",
            LOCAL / "sam-build.log",
            sam_environment(),
            "--cached",
            "--cache-dir",
            str(LOCAL / "cache"),
            "--build-dir",
            str(BUILD),
            "--parameter-overrides",
            f"Architecture={architecture()}",
        )
        _make_mount(mount)
        stamp.write_text(sources)
    return mount


def _make_mount(mount: Path) -> None:
    """Copy and compile the built code. A later build must not change it under running functions."""
    shutil.rmtree(mount, ignore_errors=True)
    template = (BUILD / "template.yaml").read_text()
    folders = re.findall(r"(?m)^ +CodeUri: (\w+)$", template)
    code = mount / "code"
    shutil.copytree(BUILD / folders[0], code)
    compileall.compile_dir(code, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    with zipfile.ZipFile(mount / "stub.zip", "w") as stub:
        stub.writestr("clerk_sync/__init__.py", STUB.format(code=str(code)))
    (mount / "template.yaml").write_text(re.sub(r"(?m)^( +CodeUri: )\w+$", r"\1stub.zip", template))
    for old in sorted(LOCAL.glob("mount-*"), key=lambda one: one.stat().st_mtime)[:-KEPT_MOUNTS]:
        shutil.rmtree(old, ignore_errors=True)


def _digest_of_sources() -> str:
    digest = hashlib.sha256(f"{ROOT} {architecture()}".encode())
    files = (path for path in (ROOT / "functions").rglob("*") if "__pycache__" not in path.parts)
    for path in sorted([*files, ROOT / "template.yaml", ROOT / "tests/requirements/sam.txt", Path(__file__)]):
        if path.is_file():
            digest.update(f"\n{path}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def architecture() -> str:
    """This machine's processor, as Lambda calls it."""
    return "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
