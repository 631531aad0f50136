"""The docs and what they describe agree: links, names, defaults, commands."""

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from clerk_sync.audit.report import report
from clerk_sync.runs.events import AuditRequest, BackfillRequest
from clerk_sync.runs.run import Run
from clerk_sync.users.drift import group_by_kind
from clerk_sync.users.fields import DEFAULT_NAMES, EXTRA_FIELDS
from clerk_sync.users.write_rule import owned
from tests.cloud.arguments import COMMANDS as CLOUD_COMMANDS
from tests.local.aws.local_aws import ROOT
from tests.local.aws.sam_transform import transformed
from tests.local.launcher.arguments import COMMANDS as LOCAL_COMMANDS
from tests.local.launcher.arguments import parse
from tests.support.parameters import parameters

README = ROOT / "README.md"
DOCS = {page.stem: page.read_text() for page in (ROOT / "docs").glob("*.md")}
PAGES = [README, *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").glob("*.md")]
GLOBAL_OPTIONS = {"query", "output", "endpoint-url", "max-items", "region"}
AN_AUDIT = Run("audit-1", "audit", create_missing=True, dry_run=True, started_at=0)
ALL_ON = {"ClerkIssuer": "https://clerk.your.app", "ClerkAuthorizedParties": "https://your.app"}


def section(page: str, heading: str) -> str:
    """What is under this heading, up to the next one."""
    _, found, rest = DOCS[page].partition(f"\n{heading}\n")
    assert found, heading
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def first_column(page: str, heading: str) -> list[str]:
    """The names in the first column of the section's tables."""
    rows = re.findall(r"^\| (`.+?) \|", section(page, heading), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def headings(text: str) -> list[str]:
    without_code = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.*)$", without_code, re.MULTILINE)


def anchors(text: str) -> list[str]:
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(text)]


def commands(program: str) -> list[list[str]]:
    """Each command of this program in the docs, as its words."""
    texts = [page.read_text().replace("\\\n", " ") for page in PAGES]
    blocks = [
        block
        for text in texts
        for block in re.findall(r"^ *```.*?\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    ]
    inline = [f"{code}\n" for text in texts for code in re.findall(r"`([^`\n]+)`", text)]
    command = re.compile(rf"(?:^ *|\$\(|\{{ |\$ |run: )(?={re.escape(program)} )", re.MULTILINE)
    found = [
        shell_words(block[start.end() :]) for block in blocks + inline for start in command.finditer(block)
    ]
    assert found
    return found


def shell_words(text: str) -> list[str]:
    """The words of the command that the text starts with."""
    quote = ""
    for at, character in enumerate(text):
        if character in "'\"":
            quote = {"": character, character: ""}.get(quote, quote)
        elif not quote and character in "\n|;)&":
            return shlex.split(text[:at], comments=True)
    raise AssertionError(text)


# Links


def broken_links() -> Iterator[str]:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if "://" not in link and not (
                target.exists() and (not anchor or anchor in anchors(target.read_text()))
            ):
                yield f"{page.name}: {link}"


def test_links_lead_to_a_file_and_a_heading() -> None:
    assert [*broken_links()] == []


def test_headings_of_a_page_differ() -> None:
    for page in PAGES:
        names = anchors(page.read_text())
        assert len(names) == len(set(names)), page.name


def test_headings_that_messages_name_exist() -> None:
    sources = [*(ROOT / "tests").rglob("*.py"), ROOT / "samconfig.toml", ROOT / "template.yaml"]
    named = [
        found
        for source in sources
        for found in re.findall(r'docs/(\w+)\.md, (?:\\?")?([A-Z][\w ]+)', source.read_text())
    ]
    assert named
    assert [(page, name) for page, name in named if name not in headings(DOCS[page])] == []


def test_paths_exist() -> None:
    folders = (ROOT, ROOT / "functions/clerk_sync")
    text = "\n".join(page.read_text() for page in PAGES)
    named = re.findall(r"`((?:\w[\w.-]*/)+(?:[\w-]+\.(?:py|html|css|txt|json|yml))?)`", text)
    named += re.findall(r"(?<![\w/])tests/(?:events|integration|unit|simulation)/?[\w./-]*", text)
    assert len(named) > 30
    assert [path for path in named if not any((folder / path).exists() for folder in folders)] == []


# Names


def documented_default(cell: str) -> str:
    return "" if cell == "empty" else cell.strip("`")


def test_every_parameter_is_listed_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", section("reference", "## Parameters"), re.MULTILINE)
    listed = {name: documented_default(cell) for name, cell in rows}
    defaults = {name: str(parameter["Default"]) for name, parameter in parameters().items()}
    assert list(listed) == list(defaults)
    assert listed == defaults


def test_bounds_of_numbers_are_listed() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` (\|.+\|)$", section("reference", "## Parameters"), re.MULTILINE))
    for name, parameter in parameters().items():
        if parameter["Type"] == "Number" and name != "MaxDeletionsPercent":
            assert f"{parameter['MinValue']:g} to {parameter['MaxValue']:g}" in rows[name], name


def test_every_output_is_listed() -> None:
    assert sorted(first_column("reference", "## Outputs")) == sorted(transformed(ALL_ON)["Outputs"])


def test_every_alarm_is_listed() -> None:
    resources = transformed(ALL_ON)["Resources"]
    alarms = [name for name, one in resources.items() if one["Type"] == "AWS::CloudWatch::Alarm"]
    assert sorted(first_column("operations", "## Alarms")) == sorted(alarms)


def metrics() -> set[str]:
    """The names that the functions give to `record`."""
    return {
        str(keyword.arg)
        for path in (ROOT / "functions").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "record"
        for keyword in call.keywords
        if keyword.arg
    }


def test_every_metric_is_listed() -> None:
    assert sorted(first_column("operations", "## Metrics")) == sorted(metrics())


def test_metrics_in_the_template_are_written_by_the_functions() -> None:
    template = (ROOT / "template.yaml").read_text()
    alarms = re.findall(r"Namespace: clerk-sync\n +MetricName: (\w+)", template)
    graphs = "".join(re.findall(r'\["clerk-sync", .*?\]\]', template, re.DOTALL))
    graphed = re.findall(r'\["(?:clerk-sync|\.)", "(\w+)"', graphs)
    assert len(alarms) == 6
    assert graphed
    assert {*alarms, *graphed} <= metrics()


def test_every_event_key_is_listed() -> None:
    backfill = first_column("reference", "### BackfillFunction: event")
    audit = first_column("reference", "### AuditFunction: event")
    for keys, model in ((backfill, BackfillRequest), (audit, AuditRequest)):
        assert sorted(keys) == sorted(field.alias or "" for field in model.model_fields.values())


@pytest.mark.parametrize(("function", "heading", "keys"), [
    ("BackfillFunction", "result", [*AN_AUDIT.result([], None, 0)]),
    ("AuditFunction", "report", [*report(AN_AUDIT, group_by_kind({}), [], None, 0)]),
])  # fmt: skip
def test_example_of_a_result_has_every_key(function: str, heading: str, keys: list[str]) -> None:
    [example] = re.findall(
        r"```json\n(.*?)```", section("reference", f"### {function}: {heading}"), re.DOTALL
    )
    assert list(json.loads(example)) == keys


def test_every_attribute_of_a_row_is_listed() -> None:
    assert set(first_column("reference", "## Rows")) == {"clerkUserId", *owned(DEFAULT_NAMES)}


def test_every_extra_field_is_listed() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| .* \| (yes|no) \|$", section("reference", "### Extra fields"), re.MULTILINE
    )
    shown = {True: "yes", False: "no"}
    assert rows == [(field.name, field.type.attribute_type, shown[field.is_shown]) for field in EXTRA_FIELDS]


# Commands


@pytest.mark.parametrize(
    ("package", "known"), [("tests.local", LOCAL_COMMANDS), ("tests.cloud", CLOUD_COMMANDS)]
)
def test_commands_of_this_repository_are_valid(package: str, known: Any) -> None:
    for command in commands(f"python3 -m {package}"):
        arguments = [word for word in command[3:] if word != "COMMAND"]
        if arguments != ["--help"]:
            parse(package, known, arguments)


def test_aws_commands_are_valid() -> None:
    for _, service, operation, *arguments in commands("aws"):
        if service == "configure":
            continue
        model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
        if operation == "wait":
            waiters = Loader().load_service_model(service, "waiters-2")["waiters"]
            operation, *arguments = arguments
            operation = waiters["".join(map(str.capitalize, operation.split("-")))]["operation"]
        name = "".join(map(str.capitalize, operation.split("-")))
        [known] = [one for one in model.operation_names if one.lower() == name.lower()]
        shape = model.operation_model(known).input_shape
        assert shape
        members = {kebab(member) for member in shape.members}
        given = {word.removeprefix("--") for word in arguments if word.startswith("--") and word[2:]}
        assert given - GLOBAL_OPTIONS <= members | {"overwrite"}, (service, operation)
        required = {kebab(member) for member in shape.required_members}
        assert not given or required <= given, (service, operation)


def kebab(member: str) -> str:
    """`SSESpecification` as an option of the AWS CLI."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", member).lower()


def test_toml_and_json_examples_parse() -> None:
    for page in PAGES:
        for language, block in re.findall(
            r"^ *```(json|toml)\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE
        ):
            (json if language == "json" else tomllib).loads(block)


def test_table_that_is_imported_is_the_template_s(tmp_path: Path) -> None:
    # CloudFormation then sees no change of it. It fails if it is to enable a stream that is enabled already.
    [block] = re.findall(
        r"^ *```yaml\n(.*?)^ *```",
        section("operations", "### Take back a retained table"),
        re.DOTALL | re.MULTILINE,
    )
    rest_of_template, _, _ = (ROOT / "template.yaml").read_text().partition("\nResources:\n")
    (tmp_path / "tables.yaml").write_text(f"{rest_of_template}\n{dedent(block)}")
    imported = transformed({}, tmp_path / "tables.yaml")["Resources"]["UsersTable"]["Properties"]
    deployed = transformed({})["Resources"]["UsersTable"]["Properties"]
    key = parameters()["UsersTableKey"]["Default"]
    assert imported == json.loads(json.dumps(deployed).replace('{"Ref": "UsersTableKey"}', f'"{key}"'))


# The README


def test_readme_is_short_and_its_first_two_commands_are_one_line_each() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 220
    first, second, *_ = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert (first, second) == ("python3 -m tests.local run\n", "python3 -m tests.local test\n")
