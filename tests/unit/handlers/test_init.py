"""What a new instance of the webhook's and the profile's function does before its first request."""

import subprocess
import sys

import pytest

from tests.local.paths import ROOT

LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "function",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "made",
    "AWS_SECRET_ACCESS_KEY": "up",
}
SETTINGS = {
    "USERS_TABLE": "Users",
    "USERS_TABLE_KEY": "clerkUserId",
    "RUNS_TABLE": "Runs",
    "CREATE_MISSING_USERS": "true",
    "CLERK_WEBHOOK_SECRET_PARAMETER": "/clerk/webhook",
    "CLERK_API_URL": "https://api.clerk.test/v1",
    "CLERK_SECRET_KEY_PARAMETER": "/clerk/key",
    "CLERK_ISSUER": "https://clerk.app.test",
    "CLERK_AUTHORIZED_PARTIES": "https://app.test",
    "PROFILE_MAX_AGE_SECONDS": "300",
}
IMPORT = """
import socket
socket.socket.connect = socket.getaddrinfo = lambda *_, **__: print("uses the network")
import clerk_sync.handlers.{0} as function
from clerk_sync.aws.clients import client
"""
REQUEST = """
from types import SimpleNamespace
context = SimpleNamespace(
    function_name="f", memory_limit_in_mb=512, invoked_function_arn="arn", aws_request_id="1"
)
event = {"headers": {}, "body": None, "httpMethod": "GET"}
print("status", function.handler(event, context)["statusCode"])
"""


def run(code: str, environment: dict[str, str]) -> str:
    environment = {"PYTHONPATH": str(ROOT / "functions"), **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(("handler", "clients"), [("webhook", 2), ("profile", 1)])
def test_init_makes_the_clients_without_using_the_network(handler: str, clients: int) -> None:
    """A page load needs SSM's only if it asks Clerk."""
    code = IMPORT.format(handler) + "print(client.cache_info().currsize)"
    assert run(code, LAMBDA | SETTINGS).split() == [str(clients)]


@pytest.mark.parametrize("handler", ["webhook", "profile"])
def test_import_outside_lambda_makes_nothing(handler: str) -> None:
    code = IMPORT.format(handler) + "print(client.cache_info().currsize)"
    assert run(code, SETTINGS).split() == ["0"]


@pytest.mark.parametrize("handler", ["webhook", "profile"])
def test_missing_variable_is_logged_by_the_request_and_not_an_error_of_init(handler: str) -> None:
    variables = {name: text for name, text in SETTINGS.items() if name != "RUNS_TABLE"}
    output = run(IMPORT.format(handler) + REQUEST, LAMBDA | variables)
    assert "status 500" in output
    assert "Environment variables are missing: set RUNS_TABLE." in output
