"""What the functions import, what pyproject.toml declares, and what the lock of the artifact holds."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions

from tests.local.aws.local_aws import ROOT

DECLARED: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
LOCK = (ROOT / "functions/requirements.txt").read_text()
_, _, EXCLUDED = LOCK.partition("\n# The following packages were excluded from the output:\n")
DEVELOPMENT = (ROOT / "docs/development.md").read_text()


def names(requirements: list[str]) -> set[str]:
    """The packages that are required, without versions and extras."""
    return {re.split(r"[^\w.-]", one)[0].lower().replace("_", "-") for one in requirements}


def required(package: str) -> set[str]:
    """What a package needs, and what that needs."""
    direct = names([one for one in distribution(package).requires or [] if "extra ==" not in one])
    return direct | {name for one in direct for name in required(one)}


def imported_modules() -> set[str]:
    """The top-level modules that the functions import when they run."""
    files = (ROOT / "functions/clerk_sync").rglob("*.py")
    found = {name.partition(".")[0] for file in files for name in imports(ast.parse(file.read_text()))}
    return found - sys.stdlib_module_names - {"clerk_sync"}


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import(names=modules):
                yield from (module.name for module in modules)
            case ast.ImportFrom(module=str(module), level=0):
                yield module
            case _:
                yield from imports(node)


def test_every_import_is_declared() -> None:
    providers = packages_distributions()
    assert names([providers[module][0] for module in imported_modules()]) <= names(DECLARED)


def test_lock_leaves_out_boto3_and_what_only_boto3_needs() -> None:
    locked = names(re.findall(r"^[\w.-]+==", LOCK, re.MULTILINE))
    excluded = {line.removeprefix("# ") for line in EXCLUDED.splitlines()}
    assert excluded == {"boto3", *required("boto3")} - locked
    assert names(DECLARED) <= locked | excluded


def test_docs_compile_the_lock_without_what_it_leaves_out() -> None:
    left_out = re.findall(r"--no-emit-package ([\w-]+)", DEVELOPMENT)
    assert left_out == [line.removeprefix("# ") for line in EXCLUDED.splitlines()]
