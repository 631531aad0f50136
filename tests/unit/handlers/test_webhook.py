import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.stub import Stubber

from clerk_sync.aws.items import attribute
from clerk_sync.aws.secrets import CachedSecret, Secret
from clerk_sync.errors import AwsError
from clerk_sync.handlers import webhook
from clerk_sync.users.write_rule import VERSION
from clerk_sync.webhook.arrivals import Arrivals
from tests.local.clerk.fake_users import make_user
from tests.local.commands.sign import signature_headers

OLD, NEW = ("whsec_" + base64.b64encode(text).decode() for text in (b"the old secret", b"the new secret"))
BODY = json.dumps(
    {"type": "user.updated", "timestamp": 1_700_000_000, "data": make_user(1)}, ensure_ascii=False
)


class Context(LambdaContext):
    function_name = "webhook"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn"
    aws_request_id = "1"

    def __init__(self) -> None:
        pass


class World:
    """What is in SSM, the time in seconds, how often SSM was asked, and which arrivals were recorded."""

    def __init__(self) -> None:
        self.secret = OLD
        self.now = 1_800_000_000.0
        self.asked = 0
        self.is_ssm_down = False
        self.recorded: list[int] = []

    def read(self, parameter: str, variable: str) -> Secret:
        self.asked += 1
        if self.is_ssm_down:
            raise AwsError("SSM is down")
        return Secret(self.secret, parameter, variable)


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """Refuses every request that no response was added for."""
    client = boto3.client(
        "dynamodb", region_name="eu-west-1", aws_access_key_id="made", aws_secret_access_key="up"
    )
    monkeypatch.setattr(webhook, "dynamodb", lambda: client)
    with Stubber(client) as stub:
        yield stub


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, settings_in_the_environment: None) -> World:
    world = World()
    monkeypatch.setattr("clerk_sync.aws.secrets.read_secret", world.read)
    monkeypatch.setattr("clerk_sync.aws.secrets.time.monotonic", lambda: world.now)
    monkeypatch.setattr("clerk_sync.webhook.processor.now_ms", lambda: int(world.now * 1000))
    monkeypatch.setattr(Arrivals, "record", lambda _, now: world.recorded.append(now))
    return world


@pytest.fixture
def settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("CLERK_WEBHOOK_SECRET_PARAMETER", "USERS_TABLE", "USERS_TABLE_KEY", "RUNS_TABLE"):
        monkeypatch.setenv(name, name.lower())
    monkeypatch.setenv("CREATE_MISSING_USERS", "true")
    webhook._opened.cache_clear()
    yield
    webhook._opened.cache_clear()


def answer(secret: str = OLD, **request: Any) -> int:
    event = {"headers": signature_headers(BODY, secret), "body": BODY, "isBase64Encoded": False} | request
    return webhook.handler(event, Context())["statusCode"]


def will_store(dynamodb: Stubber) -> None:
    """There is no row of this user yet, and the write takes effect."""
    dynamodb.add_response("get_item", {})
    dynamodb.add_response("update_item", {})


def other_event(kind: str) -> dict[str, Any]:
    body = json.dumps({"type": kind, "timestamp": 1, "data": {}})
    return {"body": body, "headers": signature_headers(body, OLD)}


def test_event_with_a_change_reads_the_row_and_writes_it(world: World, dynamodb: Stubber) -> None:
    will_store(dynamodb)
    assert answer() == 204
    dynamodb.assert_no_pending_responses()


def test_event_with_nothing_new_only_reads_the_row(world: World, dynamodb: Stubber) -> None:
    dynamodb.add_response("get_item", {"Item": {VERSION: attribute(1_800_000_000_000)}})
    assert answer() == 204
    dynamodb.assert_no_pending_responses()


def test_refused_or_ignored_webhook_makes_no_request_to_dynamodb(world: World, dynamodb: Stubber) -> None:
    assert answer(NEW) == 401
    assert answer(headers=None) == 401
    assert answer(body="x" * (1024 * 1024 + 1)) == 413
    assert answer(body="%", isBase64Encoded=True) == 400
    assert answer(**other_event("user.updated")) == 204
    assert answer(**other_event("email.created")) == 204


def test_users_table_that_fails_is_a_503(world: World, dynamodb: Stubber) -> None:
    dynamodb.add_client_error("get_item", "AccessDeniedException")
    assert answer() == 503


@pytest.mark.parametrize("spelled", [str.upper, str.title])
def test_headers_in_any_case_and_base64_body_are_accepted(
    spelled: Callable[[str], str], world: World, dynamodb: Stubber
) -> None:
    headers = {spelled(name): value for name, value in signature_headers(BODY, OLD).items()}
    for is_base64 in (True, False):
        will_store(dynamodb)
        body = base64.b64encode(BODY.encode()).decode() if is_base64 else BODY
        assert answer(headers=headers, body=body, isBase64Encoded=is_base64) == 204
    dynamodb.assert_no_pending_responses()


def test_rotated_secret_is_read_again(world: World, dynamodb: Stubber) -> None:
    will_store(dynamodb)
    assert answer(OLD) == 204
    world.secret = f"{OLD},{NEW}"
    assert answer(NEW) == 401, "it was read just now"
    world.now += CachedSecret.AGAIN_SECONDS
    for secret in (NEW, OLD):
        will_store(dynamodb)
        assert answer(secret) == 204

    world.secret = NEW
    will_store(dynamodb)
    assert answer(OLD) == 204, "nothing has made it look"
    world.now += CachedSecret.KEPT_SECONDS + 1
    assert answer(OLD) == 401
    dynamodb.assert_no_pending_responses()


def test_forged_webhooks_cause_one_request_to_ssm(world: World, dynamodb: Stubber) -> None:
    for _ in range(30):
        assert answer(NEW) == 401
        world.now += 1
    assert world.asked == 1


@pytest.mark.parametrize("malformed", ["sk_test_madeUp", "whsec_a"])
def test_malformed_secret_is_read_again_after_a_minute(
    malformed: str, world: World, dynamodb: Stubber
) -> None:
    world.secret = malformed
    for _ in range(30):
        assert answer() == 500
    assert world.asked == 1, "it was read just now"
    world.secret = OLD
    world.now += CachedSecret.AGAIN_SECONDS
    will_store(dynamodb)
    assert answer() == 204
    assert world.asked == 2
    dynamodb.assert_no_pending_responses()


def test_malformed_secret_beside_a_good_one_is_passed_over(world: World, dynamodb: Stubber) -> None:
    for world.secret in (f"{OLD},sk_test_madeUp", f"whsec_a {OLD}"):
        webhook._opened.cache_clear()
        will_store(dynamodb)
        assert answer() == 204
        assert answer(NEW) == 401
    dynamodb.assert_no_pending_responses()


def test_secret_is_kept_while_ssm_is_down(world: World, dynamodb: Stubber) -> None:
    will_store(dynamodb)
    assert answer() == 204
    world.now += CachedSecret.AGAIN_SECONDS
    world.is_ssm_down = True
    assert answer(NEW) == 503
    assert answer(NEW) == 401, "it has looked just now"
    will_store(dynamodb)
    assert answer() == 204
    assert world.asked == 2
    dynamodb.assert_no_pending_responses()


def test_arrivals_are_recorded_every_ten_minutes(world: World, dynamodb: Stubber) -> None:
    start = world.now
    for minutes in range(25):
        world.now = start + minutes * 60
        assert answer(**other_event("user.updated")) == 204
    assert world.recorded == [int((start + minutes * 60) * 1000) for minutes in (0, 10, 20)]


@pytest.mark.parametrize("kind", ["email.created", "organization.created", "clerk_sync.check"])
def test_event_that_is_not_about_a_user_is_not_an_arrival(world: World, dynamodb: Stubber, kind: str) -> None:
    assert answer(**other_event(kind)) == 204
    assert world.recorded == []


def test_refused_webhook_is_not_an_arrival(world: World, dynamodb: Stubber) -> None:
    assert answer(NEW) == 401
    assert answer(body="x" * (1024 * 1024 + 1)) == 413
    assert answer(body="[]", headers=signature_headers("[]", OLD)) == 400
    assert world.recorded == []


def test_change_that_could_not_be_stored_is_not_an_arrival(world: World, dynamodb: Stubber) -> None:
    dynamodb.add_client_error("get_item", "AccessDeniedException")
    assert answer() == 503
    assert world.recorded == []
    will_store(dynamodb)
    assert answer() == 204
    assert len(world.recorded) == 1
