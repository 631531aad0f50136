"""The docs' catalogue of event codes is that of the code: nothing is logged that it doesn't explain."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def calls() -> list[tuple[str, ast.Call]]:
    """Every call of the logger that logs, with its level."""
    return [
        (node.func.attr.upper(), node)
        for path in sorted((ROOT / "functions").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "logger"
        and node.func.attr in LEVELS
    ]


def logged() -> set[tuple[str, str]]:
    """Code and level of each; what is no literal, another test finds."""
    return {(str(ast.literal_eval(call.args[0])), level) for level, call in calls() if is_literal(call)}


def is_literal(call: ast.Call) -> bool:
    return len(call.args) == 1 and isinstance(call.args[0], ast.Constant)


def catalogued() -> list[tuple[str, str]]:
    """Code and level of each row of the docs' table."""
    text = (ROOT / "docs/operations.md").read_text()
    return re.findall(r"^\| `([a-z_]+)` \| ([A-Z]+) \|", text, re.MULTILINE)


def test_every_line_has_a_literal_code_and_nothing_is_formatted_into_it() -> None:
    assert calls()
    assert [ast.unparse(call) for _, call in calls() if not is_literal(call)] == []
    for code, _ in logged():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", code)


def test_the_catalogue_has_every_code_with_its_level_once_and_no_other() -> None:
    assert sorted(catalogued()) == sorted(logged())


def test_no_code_has_two_levels() -> None:
    codes = [code for code, _ in logged()]
    assert len(codes) == len(set(codes))


def test_alarms_name_codes_that_are_logged() -> None:
    text = (ROOT / "template.yaml").read_text()
    descriptions = " ".join(re.findall(r"AlarmDescription: >-\n(.*?)\n      Namespace:", text, re.DOTALL))
    named = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", descriptions))
    assert named
    assert named <= {code for code, _ in logged()}
