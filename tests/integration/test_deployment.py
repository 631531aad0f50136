"""The bundle: its artifact, the deployed resources, an existing table, and the logs."""

import json
import re
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.stack import ORIGINS, Stack, assert_conserved, assert_true_to_clerk, eventually
from tests.local.aws.build import build
from tests.local.aws.conditions import ALL_OFF, ALL_ON
from tests.local.aws.local_aws import LOCAL, ROOT, LocalAws
from tests.local.aws.sam_transform import transformed
from tests.local.clerk.fake_users import broken_users, make_user, make_users
from tests.local.commands.sign import LOCAL_SECRET, signed, signed_in
from tests.support.deployed_api import event, post

HANDLERS = ["backfill", "audit", "worker", "webhook", "profile", "dashboard"]
# What Lambda's runtime has beside the artifact.
RUNTIME = ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3"]


def test_artifact_is_small_and_imports_without_other_packages(tmp_path: Path) -> None:
    artifact = build() / "BackfillFunction"
    zipped = tmp_path / "artifact.zip"
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in artifact.rglob("*"):
            archive.write(file, file.relative_to(artifact))
    assert zipped.stat().st_size < 10 * 1024 * 1024

    here = Path(sys.prefix) / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for name in RUNTIME:
        (runtime / name).symlink_to(here / name)
    for name in HANDLERS:
        script = (
            f"import sys; sys.path[:0] = {[str(artifact), str(runtime)]!r}; import clerk_sync.handlers.{name}"
        )
        subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True, cwd=tmp_path)


LICENCES = {"MIT", "MIT-0", "BSD-3-Clause", "Apache-2.0 OR BSD-3-Clause", "PSF-2.0", "MPL-2.0"}
"""All are permissive but MPL-2.0: it asks to publish changes of the package's files, and there are none."""


BSD = "License :: OSI Approved :: BSD License"
"""Jinja2's metadata says no more; its licence file is BSD-3-Clause."""


def licence_of(package: Distribution) -> str:
    metadata = package.metadata
    if BSD in (metadata.get_all("Classifier") or []):
        return "BSD-3-Clause"
    return metadata.get("License-Expression") or metadata["License"]


def test_docs_name_the_licence_of_every_deployed_package() -> None:
    deployed: dict[str, set[str]] = {}
    for package in distributions(path=[str(build() / "BackfillFunction")]):
        deployed.setdefault(licence_of(package), set()).add(package.name.lower().replace("_", "-"))
    _, _, section = (ROOT / "docs/operations.md").read_text().partition("\n| licence |")
    table, _, _ = section.partition("\n\n")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
    assert {licence: set(names.split(", ")) for licence, names in rows} == deployed
    assert deployed.keys() <= LICENCES


def declared_resources() -> dict[str, str | None]:
    """The condition, if any, of every resource that CloudFormation is given, by logical id."""
    resources = transformed(ALL_ON)["Resources"]
    return {without_hash(name): resource.get("Condition") for name, resource in resources.items()}


def deployed_resources(stack: Stack) -> set[str]:
    """The logical ids of what is deployed."""
    pages = stack.aws.client("cloudformation").get_paginator("list_stack_resources")
    found = (one for page in pages.paginate(StackName=stack.name) for one in page["StackResourceSummaries"])
    return {without_hash(one["LogicalResourceId"]) for one in found}


def without_hash(logical_id: str) -> str:
    """SAM ends the name of the Api's deployment with a hash of the Api's definition."""
    return re.sub("(?<=^ApiDeployment).*", "", logical_id)


def schedules_of(stack: Stack) -> list[dict[str, Any]]:
    """Every schedule that invokes a function of the stack."""
    client = stack.aws.client("scheduler")
    schedules = [client.get_schedule(Name=s["Name"]) for s in client.list_schedules()["Schedules"]]
    return [schedule for schedule in schedules if f":function:{stack.name}-" in schedule["Target"]["Arn"]]


def test_runs_and_audits_are_scheduled(stack: Stack) -> None:
    schedules = schedules_of(stack)
    assert {s["ScheduleExpression"]: json.loads(s["Target"]["Input"]) for s in schedules} == {
        "cron(0 2 ? * SUN *)": {"mode": "full", "waitSeconds": 0},
        "cron(0 0 * * ? *)": {"mode": "incremental", "waitSeconds": 0},
        "cron(0 4 ? * SUN *)": {"repair": True, "waitSeconds": 840},
    }
    for schedule in schedules:
        is_audit = "repair" in schedule["Target"]["Input"]
        function = stack.outputs["AuditFunction" if is_audit else "BackfillFunction"]
        assert schedule["Target"]["Arn"].endswith(f":{function}")
        assert schedule["State"] == "ENABLED"
        assert "SchedulesDeadLetterQueue" in schedule["Target"]["DeadLetterConfig"]["Arn"]


def test_all_conditions_on_deploys_every_resource(stack: Stack) -> None:
    assert deployed_resources(stack) == declared_resources().keys()


@pytest.fixture(scope="module")
def minimal(aws: LocalAws) -> Stack:
    """A stack with every condition off. It uses an existing table with another key.

    Its code is uploaded as SAM CLI zips it; that of the other stack is mounted.
    """
    aws.client("dynamodb").create_table(
        TableName=ALL_OFF["ExistingUsersTable"],
        KeySchema=[{"AttributeName": "sub", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "sub", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    settings = {"UsersTableKey": "sub", "CreateMissingUsers": "false", "PageSize": "10"}
    return Stack(aws, "clerk-sync-existing", ALL_OFF | settings, as_shipped=True)


def test_all_conditions_off_deploys_no_conditional_resource(minimal: Stack) -> None:
    assert deployed_resources(minimal) == {
        name for name, condition in declared_resources().items() if condition is None
    }
    assert "ProfileFunction" not in minimal.outputs
    assert httpx.put(f"{minimal.outputs['ApiUrl']}/users/me").status_code == 403, "there is no such route"


def test_failed_first_deployment_leaves_no_table(aws: LocalAws) -> None:
    template = transformed(ALL_ON)
    tables = {name: one for name, one in template["Resources"].items() if name.endswith("Table")}
    assert tables.keys() == {"UsersTable", "RunsTable"}
    fault = {  # never signalled
        "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
        "Fault": {
            "Type": "AWS::CloudFormation::WaitCondition",
            "DependsOn": list(tables),
            "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "1"},
        },
    }
    sections = {name: template[name] for name in ("Parameters", "Conditions")}
    client = aws.client("cloudformation")
    client.create_stack(
        StackName="clerk-sync-failed",
        TemplateBody=json.dumps(sections | {"Resources": tables | fault}),
    )

    def status() -> str:
        return str(client.describe_stacks(StackName="clerk-sync-failed")["Stacks"][0]["StackStatus"])

    assert eventually(lambda: (now := status()).endswith("_COMPLETE") and now) == "ROLLBACK_COMPLETE"
    names = aws.client("dynamodb").list_tables()["TableNames"]
    assert [name for name in names if name.startswith("clerk-sync-failed")] == []


def test_schedules_set_to_never_are_disabled(minimal: Stack) -> None:
    schedules = schedules_of(minimal)
    assert len(schedules) == 3
    assert {schedule["State"] for schedule in schedules} == {"DISABLED"}


def test_existing_table_with_its_own_key_is_synced(minimal: Stack) -> None:
    stack, users = minimal, make_users(25)
    assert stack.outputs["UsersTable"] == ALL_OFF["ExistingUsersTable"]
    for user in users[:20]:
        stack.put_row(user["id"], plan="pro")
    with stack.clerk(users):
        result = stack.backfill()
    assert (result["status"], result["pages"]) == ("COMPLETED", 3)
    assert_conserved(result)
    assert (result["updatedCount"], result["skippedCount"]) == (20, 5)
    rows = stack.rows()
    assert rows.keys() == {user["id"] for user in users[:20]}
    assert_true_to_clerk(rows, users[:20])
    assert post(stack, event(make_user(77), "user.created")).status_code == 204
    assert stack.rows() == rows, "users without a row get none from webhooks either"

    with stack.configured("BackfillFunction", USERS_TABLE_KEY="userId"):
        result = stack.backfill()
    assert result["status"] == "FAILED"
    assert "UsersTableKey says 'userId'" in result["errors"][0]["reason"]


EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "backfill.json": ("BackfillFunction", {"status": "COMPLETED", "createdCount": 12}),
    "backfill-dry-run.json": ("BackfillFunction", {"status": "COMPLETED", "dryRun": True}),
    "audit.json": ("AuditFunction", {"verdict": "DRIFT", "repair": False}),
    "audit-repair.json": ("AuditFunction", {"status": "COMPLETED", "repair": True}),
    "worker.json": ("WorkerFunction", {"batchItemFailures": []}),
    "webhook-user-created.json": ("WebhookFunction", {"statusCode": 204}),
    "webhook-user-updated.json": ("WebhookFunction", {"statusCode": 204}),
    "webhook-user-deleted.json": ("WebhookFunction", {"statusCode": 204}),
    "webhook-session-created.json": ("WebhookFunction", {"statusCode": 204}),
    "profile-put.json": ("ProfileFunction", {"statusCode": 200}),
    "profile-get.json": ("ProfileFunction", {"statusCode": 404}),
    "dashboard-runs.json": ("DashboardFunction", {"html": "BackfillFunction"}),
    "dashboard-users.json": ("DashboardFunction", {"html": "Newest"}),
}
"""The events for `sam local invoke`: the function that each is for, and a part of its answer."""


def test_every_function_has_an_event_and_every_event_is_tested() -> None:
    assert EVENTS.keys() == {file.name for file in (ROOT / "tests/events").iterdir()}
    resources = transformed({})["Resources"]
    functions = {name for name, one in resources.items() if one["Type"] == "AWS::Lambda::Function"}
    assert {function for function, _ in EVENTS.values()} == functions


@pytest.mark.parametrize("file", EVENTS)
def test_event_for_sam_local_invoke_works(stack: Stack, file: str) -> None:
    function, wanted = EVENTS[file]
    payload = json.loads((ROOT / "tests/events" / file).read_text())
    with stack.clerk(make_users(12)) as clerk:
        if function in ("WebhookFunction", "ProfileFunction"):
            assert stack.aws.invoke(stack.outputs[function], payload)["statusCode"] == 401
            is_webhook = function == "WebhookFunction"
            payload = signed(payload, LOCAL_SECRET) if is_webhook else signed_in(payload, clerk.issuer)
        answer = stack.aws.invoke(stack.outputs[function], payload)
    if function == "DashboardFunction":
        assert wanted["html"] in answer
    else:
        assert answer.items() >= wanted.items()


def test_logs_contain_no_personal_data_and_no_secret(stack: Stack) -> None:
    secrets = ["sk_test_local", LOCAL_SECRET]
    people = []
    for n in range(40):
        user = make_user(n)
        user["first_name"], user["last_name"] = f"Marked-{n}-first", f"Marked-{n}-last"
        people.append(user)
    broken = broken_users()
    for n, user in enumerate(broken):
        user["last_name"] = f"Marked-broken-{n}"
    emails = [a["email_address"] for user in people for a in user["email_addresses"]]

    tokens = []
    with stack.clerk([*people, *broken]) as clerk:
        for user in [*people[5:8], {"id": "user_unknown"}]:
            for origin in (ORIGINS[0], "https://elsewhere.example"):
                tokens.append(clerk.token(user["id"], azp=origin))
                headers = {"Authorization": f"Bearer {tokens[-1]}"}
                httpx.put(f"{stack.outputs['ApiUrl']}/users/me", headers=headers, timeout=30)
        stack.audit({"repair": True})
        for widget in ("runs", "users"):
            assert "<table" in stack.aws.invoke(stack.outputs["DashboardFunction"], {"widget": widget})
        with stack.one_delivery(users_table="nowhere"):
            stack.backfill({"waitSeconds": 10})
        stack.backfill()
    for user in [*people[:3], *broken[:3]]:
        post(stack, event(user))
        post(stack, event(user), {})
    stack.send(json.dumps({"kind": "clerk-sync/page", "version": 1, "users": [people[0]]}))
    stack.send(people[1]["first_name"])

    log = stack.log()
    for code in (
        "profile_refreshed",
        "profile_rejected",
        "audit_reported",
        "widget_served",
        "page_sent",
        "page_failed",
        "user_set_aside",
        "webhook_stored",
        "message_refused",
    ):
        assert code in log
    assert [secret for secret in [*secrets, *tokens, *emails, "Marked-"] if secret in log] == []


def test_sam_package_uploads_readme_and_license_for_the_application_repository(
    aws: LocalAws, tmp_path: Path
) -> None:
    packaged = tmp_path / "packaged.json"
    subprocess.run(
        [
            *(LOCAL / "sam/bin/sam", "package", "--template-file", build() / "template.yaml"),
            *("--resolve-s3", "--use-json", "--output-template-file", packaged),
        ],
        env=aws.environment,
        check=True,
        capture_output=True,
    )
    application = json.loads(packaged.read_text())["Metadata"]["AWS::ServerlessRepo::Application"]
    for name, file in {"ReadmeUrl": "README.md", "LicenseUrl": "LICENSE"}.items():
        bucket, _, key = application[name].removeprefix("s3://").partition("/")
        uploaded = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        assert uploaded == (ROOT / file).read_bytes()


def test_dashboard_url_leads_to_the_console_of_each_partition(stack: Stack) -> None:
    assert stack.outputs["DashboardUrl"] == (
        "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1"
        f"#dashboards/dashboard/{stack.name}-us-east-1"
    )
    hosts = {name: one["Console"] for name, one in transformed({})["Mappings"]["Partitions"].items()}
    assert hosts.keys() == {"aws", "aws-cn", "aws-us-gov", "aws-eusc"}
    assert all(host.startswith("console.") for host in hosts.values())


def test_webhook_ip_ranges_deny_other_addresses() -> None:
    # MiniStack 1.5.33 does not enforce an API's policy, so this tests what CloudFormation is given.
    api = transformed(ALL_ON)["Resources"]["Api"]["Properties"]["Body"]
    allow, deny = api["x-amazon-apigateway-policy"]["Statement"]
    assert (allow["Effect"], allow["Resource"]) == ("Allow", "execute-api:/*")
    condition, denied, otherwise = deny["Fn::If"]
    assert (condition, otherwise) == ("HasWebhookIpRanges", {"Ref": "AWS::NoValue"})
    assert (denied["Effect"], denied["Resource"]) == ("Deny", "execute-api:/*/POST/webhooks/clerk")
    ranges = {"Fn::Split": [",", ALL_ON["WebhookIpRanges"]]}
    assert denied["Condition"] == {"NotIpAddress": {"aws:SourceIp": ranges}}
