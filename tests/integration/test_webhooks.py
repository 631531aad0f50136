"""Clerk's webhooks over HTTP, alone and beside the pages of a run."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from clerk_sync.aws.items import Items, to_item
from clerk_sync.users.table import TableInstance
from tests.integration.faulty_aws import Answer, Body, Forward, always, error, through
from tests.integration.stack import Stack, eventually, wanted_row
from tests.local.aws.local_aws import ROOT, WEBHOOK_SECRET
from tests.local.clerk.fake_users import broken_users, make_user, make_users
from tests.local.commands.sign import LOCAL_SECRET
from tests.support.deployed_api import changed, event, post

MS = 1000


@pytest.mark.parametrize("kind", ["user.created", "user.updated"])
def test_user_event_is_stored_and_the_apps_attributes_stay(stack: Stack, kind: str) -> None:
    user = make_user(2)
    stack.put_row(user["id"], plan="pro", email="user@example.com")
    answer = post(stack, event(user, kind))
    assert (answer.status_code, answer.content) == (204, b"")
    assert stack.rows() == {user["id"]: {"plan": "pro", **wanted_row(user)}}


def test_event_of_an_unknown_user_creates_a_row(stack: Stack) -> None:
    user = make_user(3)
    assert post(stack, event(user, "user.created")).status_code == 204
    assert stack.rows() == {user["id"]: wanted_row(user)}


def test_deletion_marks_the_row_and_late_events_keep_the_mark(stack: Stack) -> None:
    user, at = make_user(2), time.time()
    stack.put_row(user["id"], plan="pro")
    deletion = event({"object": "user", "id": user["id"], "deleted": True}, "user.deleted", at)
    late = event(changed(user, 60, "Late"), "user.updated", at - 30)
    for body in (event(user, "user.created", at - 90), deletion, late, deletion, late):
        assert post(stack, body).status_code == 204
    end = {"plan": "pro", "clerkDeletedAt": int(at * MS), **wanted_row(changed(user, 60, "Late"))}
    assert stack.rows() == {user["id"]: end}

    # The next full run does not list the user and leaves the row as it is. If it listed the user, it would
    # remove the mark.
    with stack.clerk([]):
        assert stack.backfill()["status"] == "COMPLETED"
    assert stack.rows() == {user["id"]: end}


def test_deletion_that_arrives_before_the_creation_is_kept(stack: Stack) -> None:
    user, at = make_user(2), time.time()
    deletion = event({"object": "user", "id": user["id"], "deleted": True}, "user.deleted", at)
    assert post(stack, deletion).status_code == 204
    assert post(stack, event(user, "user.created", at - 60)).status_code == 204
    assert stack.rows() == {user["id"]: {"clerkDeletedAt": int(at * MS), **wanted_row(user)}}


def test_envelope_without_timestamp_is_stored_and_keeps_the_deletion_mark(stack: Stack) -> None:
    user = make_user(2)
    bodies = []
    for kind, data in (
        ("user.deleted", {"id": user["id"]}),
        ("user.created", user),
        ("organization.created", {}),
    ):
        bodies.append(json.dumps({"object": "event", "type": kind, "data": data}))
    for body in bodies:
        before = time.time()
        assert post(stack, body).status_code == 204
    row = stack.rows()[user["id"]]
    marked_at = row.pop("clerkDeletedAt")
    assert row == wanted_row(user)
    assert before - 60 < marked_at / MS < time.time() + 1


@pytest.mark.parametrize("user", [{}, {"id": "user_2zAda", "first_name": "Ada"}, None])
def test_session_without_usable_user_is_a_sign_in(stack: Stack, user: Any) -> None:
    at = int(time.time() * MS)
    data = {"object": "session", "user_id": "user_2zAda", "user": user, "actor": None, "created_at": at - 70}
    assert post(stack, event(data, "session.created")).status_code == 204
    assert stack.rows()["user_2zAda"]["lastSignInAt"] == at - 70


def test_impersonation_changes_nothing(stack: Stack) -> None:
    user = make_user(2)
    stack.put_row(user["id"], **wanted_row(user))
    actor = {"iss": "https://dashboard.clerk.com", "sid": "sess_adm", "sub": "user_support"}
    for embedded in (None, changed(user, 60, "Newer")):
        data = {"object": "session", "user_id": user["id"], "user": embedded, "actor": actor}
        assert post(stack, event(data, "session.created")).status_code == 204
    assert stack.rows() == {user["id"]: wanted_row(user)}


def test_webhook_of_another_instance_is_ignored(stack: Stack) -> None:
    items = Items(stack.aws.client("dynamodb"), stack.outputs["RunsTable"])
    instance, other = TableInstance(items, stack.outputs["UsersTable"]), TableInstance(items, "other-table")
    assert instance.read() is None
    assert [instance.remember(one) for one in ("ins_1", "ins_2", "ins_1")] == ["ins_1"] * 3
    assert other.remember("ins_2") == "ins_2"
    assert (instance.read(), other.read()) == ("ins_1", "ins_2")
    users = {instance_id: make_user(n) for n, instance_id in enumerate(("ins_1", "ins_2"))}
    # A new process has no cached instance.
    # A new process reads the secret.
    with stack.configured("WebhookFunction", POWERTOOLS_LOG_LEVEL="INFO"):
        for instance_id, user in users.items():
            body = json.dumps({**json.loads(event(user)), "instance_id": instance_id})
            assert post(stack, body).status_code == 204
    assert stack.rows().keys() == {users["ins_1"]["id"]}
    assert "webhook_of_another_instance" in stack.log()


def test_sign_in_stores_its_user_or_only_last_sign_in_at(stack: Stack) -> None:
    user, at = make_user(2), time.time()
    session = {"object": "session", "id": "sess_1", "user_id": user["id"], "user": changed(user, 5, "In")}
    assert post(stack, event(session, "session.created", at)).status_code == 204
    assert stack.rows() == {user["id"]: wanted_row(changed(user, 5, "In"))}

    assert post(stack, event({**session, "user": None}, "session.created", at)).status_code == 204
    moved = {"lastSignInAt": int(at * MS)}  # a session event does not say when the user was last active
    assert stack.rows() == {user["id"]: wanted_row(changed(user, 5, "In")) | moved}
    assert post(stack, event({**session, "user": None}, "session.created", at - 9_000)).status_code == 204
    assert stack.rows() == {user["id"]: wanted_row(changed(user, 5, "In")) | moved}


def test_events_without_a_user_are_accepted(stack: Stack) -> None:
    for data, kind in (({"deleted": True}, "user.deleted"), ({"user": None}, "session.created")):
        assert post(stack, event(data, kind)).status_code == 204
    assert stack.rows() == {}
    assert "names no user" in stack.log()


def test_other_events_and_malformed_users_are_accepted_and_change_nothing(stack: Stack) -> None:
    bodies = [event(make_user(1), kind) for kind in ("organization.created", "email.created")]
    bodies += [event(user) for user in broken_users()[:4]]
    assert [post(stack, body).status_code for body in bodies] == [204] * len(bodies)
    assert stack.rows() == {}


def test_webhook_newer_than_a_queued_page_wins_and_an_older_one_loses(stack: Stack) -> None:
    users = make_users(30)
    newer, older, unknown_to_page = users[3], users[4], make_user(999)
    with stack.clerk(users):
        with stack.workers_paused():
            run_id = stack.backfill({"waitSeconds": 0})["runId"]
            assert post(stack, event(changed(newer, 60, "Newer"))).status_code == 204
            assert post(stack, event(changed(older, -60, "Older"))).status_code == 204
            assert post(stack, event(unknown_to_page, "user.created")).status_code == 204
        result = stack.finished(run_id)

    assert result["status"] == "COMPLETED"
    expected = {user["id"]: wanted_row(user) for user in [*users, unknown_to_page]}
    expected[newer["id"]] = wanted_row(changed(newer, 60, "Newer"))
    assert stack.rows() == expected
    # A late event still loses after the run.
    assert post(stack, event(changed(older, -60, "Older"))).status_code == 204
    assert stack.rows() == expected


ERASURE = re.compile(r"--condition-expression '(.+?)' --update-expression '(.+?)'", re.DOTALL)


def test_user_erased_as_documented_stays_erased(stack: Stack) -> None:
    user, at = make_user(2), time.time()
    deletion = event({"object": "user", "id": user["id"], "deleted": True}, "user.deleted", at)
    session = {"object": "session", "id": "sess_1", "user_id": user["id"], "user": None}
    [(condition, update)] = ERASURE.findall((ROOT / "docs/operations.md").read_text())
    stack.put_row(user["id"], plan="pro")
    with stack.clerk([user]):
        with stack.workers_paused():
            run_id = stack.backfill({"waitSeconds": 0})["runId"]
            for body in (event(user), deletion):
                assert post(stack, body).status_code == 204
            stack.aws.client("dynamodb").update_item(
                TableName=stack.outputs["UsersTable"],
                Key=to_item({"clerkUserId": user["id"]}),
                ConditionExpression=condition,
                UpdateExpression=update,
            )
            late = (event(user), event(changed(user, 60, "Late")), event(session, "session.created", at - 1))
            assert [post(stack, body).status_code for body in late] == [204] * 3
        assert stack.finished(run_id)["status"] == "COMPLETED"
    mark = int(at * MS)
    assert stack.rows() == {user["id"]: {"plan": "pro", "clerkDeletedAt": mark, "clerkUpdatedAt": mark}}


# Signed by Svix


NEW_SECRET = "whsec_" + base64.b64encode(b"the next secret").decode()


def svix_signature(body: str, secret: str, message_id: str, at: float) -> str:
    """The signature made by Svix's own package."""
    from svix.webhooks import Webhook

    return Webhook(secret).sign(message_id, datetime.fromtimestamp(at, UTC), body)


def svix_headers(body: str, secret: str = LOCAL_SECRET, *, late: float = 0) -> dict[str, str]:
    """The headers of a message that Svix sends, `late` seconds ago."""
    at = time.time() - late
    return {
        "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "svix-timestamp": str(int(at)),
        "svix-signature": svix_signature(body, secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", at),
    }


def send(stack: Stack, body: str | bytes, headers: Any) -> int:
    answer = httpx.post(stack.outputs["WebhookUrl"], content=body, headers=headers, timeout=30)
    assert answer.content == b""
    return answer.status_code


@pytest.mark.parametrize("late", [0, 240, -240])
def test_webhook_signed_by_svix_is_accepted(late: int, stack: Stack) -> None:
    user = {**make_user(1), "first_name": "Zoë 🎉", "last_name": "\\ \u2028 \x7f"}
    for is_ascii in (True, False):
        body = json.dumps(json.loads(event(user)), ensure_ascii=is_ascii, indent=2)
        assert send(stack, body, svix_headers(body, late=late)) == 204
    assert stack.rows() == {user["id"]: wanted_row(user)}


def test_one_valid_signature_among_others_is_enough(stack: Stack) -> None:
    others = ["v1,", "nonsense", "v1a,AAAA", "v2,AAAA", "v1," + "A" * 43 + "="]
    for n, others_after in enumerate((others, [], others[:1])):
        body = event(make_user(n))
        good = svix_headers(body)
        rotated = svix_headers(body, NEW_SECRET)["svix-signature"]
        signatures = [*others[: 2 * n], rotated, good["svix-signature"], *others_after]
        assert send(stack, body, good | {"svix-signature": " ".join(signatures)}) == 204
    assert len(stack.rows()) == 3


@pytest.mark.parametrize("spelled", [str.upper, str.title, str.swapcase])
@pytest.mark.parametrize("is_base64", [True, False])
def test_header_names_may_be_in_any_case(
    spelled: Callable[[str], str], is_base64: bool, stack: Stack
) -> None:
    user = make_user(1)
    body = event(user)
    headers = {spelled(name): value for name, value in svix_headers(body).items()}
    assert send(stack, body, headers) == 204
    # The local API Gateway makes them lower case. AWS's passes them on unchanged.
    request = {
        "headers": headers,
        "body": base64.b64encode(body.encode()).decode() if is_base64 else body,
        "isBase64Encoded": is_base64,
    }
    assert stack.aws.invoke(stack.outputs["WebhookFunction"], request) == {"statusCode": 204}
    assert stack.rows() == {user["id"]: wanted_row(user)}


@pytest.mark.parametrize("between", [",", " ", ", ", " , "])
def test_signature_of_any_of_several_secrets_is_accepted(between: str, stack: Stack) -> None:
    stack.aws.put_secret(WEBHOOK_SECRET, f"{LOCAL_SECRET}{between}{NEW_SECRET}")
    with stack.configured("WebhookFunction", POWERTOOLS_LOG_LEVEL="INFO"):
        for n, secret in enumerate((NEW_SECRET, LOCAL_SECRET)):
            body = event(make_user(n))
            assert send(stack, body, svix_headers(body, secret)) == 204
        body = event(make_user(9))
        assert send(stack, body, svix_headers(body, OTHER_SECRET)) == 401
    assert stack.rows().keys() == {make_user(n)["id"] for n in range(2)}


def test_replaced_secret_is_no_longer_accepted(stack: Stack) -> None:
    stack.aws.put_secret(WEBHOOK_SECRET, NEW_SECRET)
    with stack.configured("WebhookFunction", POWERTOOLS_LOG_LEVEL="INFO"):
        body = event(make_user(1))
        assert send(stack, body, svix_headers(body, LOCAL_SECRET)) == 401
        assert send(stack, body, svix_headers(body, NEW_SECRET)) == 204
    assert len(stack.rows()) == 1


# Not signed by Svix


OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret").decode()
EVENT = event(make_user(1), "user.created")
MIB = 1024 * 1024

type Request = tuple[str | bytes, Any]
"""A body and its headers."""


def sent(body: str | bytes) -> Request:
    """Another body with the valid headers of EVENT."""
    return body, svix_headers(EVENT)


def with_headers(**changes: str | None) -> Request:
    """EVENT with some of its headers replaced, or left out (None)."""
    headers = {**svix_headers(EVENT), **{f"svix-{name}": value for name, value in changes.items()}}
    return EVENT, {name: value for name, value in headers.items() if value is not None}


def signature(secret: str = LOCAL_SECRET) -> str:
    """The signature of EVENT, made just now."""
    return svix_headers(EVENT, secret)["svix-signature"]


def signature_bytes() -> bytes:
    return base64.b64decode(signature().removeprefix("v1,"))


def repeated(name: str, *values: str | bytes) -> Request:
    """EVENT with a header given several times."""
    rest = [(n, value) for n, value in svix_headers(EVENT).items() if n != name]
    return EVENT, [*rest, *((name, value) for value in values)]


def literally(*, message_id: str = "msg_1", timestamp: str | None = None) -> Request:
    """EVENT with a valid signature over this id and timestamp, which Svix would not send."""
    timestamp = str(int(time.time())) if timestamp is None else timestamp
    key = base64.b64decode(LOCAL_SECRET.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.{EVENT}".encode(), hashlib.sha256)
    signed = "v1," + base64.b64encode(digest).decode()
    return EVENT, {"svix-id": message_id, "svix-timestamp": timestamp, "svix-signature": signed}


def signed(body: str) -> Request:
    """The body with a valid signature of its own."""
    return body, svix_headers(body)


def seconds(offset: int = 0) -> str:
    return str(int(time.time()) + offset)


def as_other_bytes(encoding: str) -> Request:
    """An event with a non-ASCII character, signed as UTF-8 and sent in another encoding."""
    body = EVENT.replace('"user.created"', '"user.créated"')
    return body.encode(encoding), svix_headers(body)


FORGERIES: dict[str, tuple[int, Callable[[], Request]]] = {
    # No signature
    "no headers": (401, lambda: (EVENT, {})),
    "no id": (401, lambda: with_headers(id=None)),
    "no timestamp": (401, lambda: with_headers(timestamp=None)),
    "no signature": (401, lambda: with_headers(signature=None)),
    "an empty id": (401, lambda: with_headers(id="")),
    "an empty timestamp": (401, lambda: with_headers(timestamp="")),
    "an empty signature": (401, lambda: with_headers(signature="")),
    "an empty id that was signed": (401, lambda: literally(message_id="")),
    # A signature of something else
    "another secret": (401, lambda: (EVENT, svix_headers(EVENT, OTHER_SECRET))),
    "another body's": (401, lambda: sent(event(make_user(2)))),
    "another id's": (401, lambda: with_headers(id="msg_other")),
    "another time's": (401, lambda: with_headers(timestamp=seconds(-2))),
    "the time in the id as well": (
        401,
        lambda: with_headers(id="msg_p5jXN8AQM9LWM0D4loKWxJek." + seconds(), timestamp=seconds()),
    ),
    # A valid signature in a wrong form
    "without version": (401, lambda: with_headers(signature=signature().removeprefix("v1,"))),
    "version v1a": (401, lambda: with_headers(signature=signature().replace("v1,", "v1a,"))),
    "version v2": (401, lambda: with_headers(signature=signature().replace("v1,", "v2,"))),
    "version V1": (401, lambda: with_headers(signature=signature().replace("v1,", "V1,"))),
    "version twice": (401, lambda: with_headers(signature="v1," + signature())),
    "an empty version": (401, lambda: with_headers(signature=signature().replace("v1,", ","))),
    "a version alone": (401, lambda: with_headers(signature="v1,")),
    "no base64": (401, lambda: with_headers(signature="v1,?????")),
    "without padding": (401, lambda: with_headers(signature=signature().rstrip("="))),
    "cut short": (401, lambda: with_headers(signature=signature()[:-5])),
    "a prefix in base64": (
        401,
        lambda: with_headers(signature="v1," + base64.b64encode(signature_bytes()[:16]).decode()),
    ),
    "one bit off": (
        401,
        lambda: with_headers(
            signature="v1,"
            + base64.b64encode(bytes([signature_bytes()[0] ^ 1]) + signature_bytes()[1:]).decode()
        ),
    ),
    "in hex": (401, lambda: with_headers(signature="v1," + signature_bytes().hex())),
    "in quotes": (401, lambda: with_headers(signature=f'"{signature()}"')),
    "with commas between": (401, lambda: with_headers(signature=f"{signature()},{signature()}")),
    "a space inside": (401, lambda: with_headers(signature=signature().replace("v1,", "v1, "))),
    "the secret itself": (401, lambda: with_headers(signature="v1," + LOCAL_SECRET)),
    # Odd headers
    "a huge signature header": (401, lambda: with_headers(signature=" ".join(["v1,AAAA"] * 900))),
    "a huge id": (401, lambda: with_headers(id="m" * 7_000)),
    "a signature that is not ASCII": (401, lambda: repeated("svix-signature", "v1,é".encode())),
    "an id that is not ASCII": (401, lambda: repeated("svix-id", "msg_é".encode())),
    "an id in no encoding": (401, lambda: repeated("svix-id", b"msg_\xff\xfe")),
    "a timestamp in other digits": (401, lambda: repeated("svix-timestamp", "١٧٠٠".encode())),
    "a second signature that is wrong": (
        401,
        lambda: repeated("svix-signature", signature(), signature(OTHER_SECRET)),
    ),
    "a second id": (401, lambda: repeated("svix-id", svix_headers(EVENT)["svix-id"], "msg_other")),
    "a second timestamp": (401, lambda: repeated("svix-timestamp", seconds(), seconds(-9))),
    # Too old or too new
    "six minutes old": (401, lambda: (EVENT, svix_headers(EVENT, late=360))),
    "a day old": (401, lambda: (EVENT, svix_headers(EVENT, late=86_400))),
    "six minutes ahead": (401, lambda: (EVENT, svix_headers(EVENT, late=-360))),
    "old, under a fresh timestamp": (
        401,
        lambda: (EVENT, svix_headers(EVENT, late=360) | {"svix-timestamp": seconds()}),
    ),
    **{
        f"the timestamp {text!r}": (401, lambda text=text: literally(timestamp=text))  # type: ignore[misc]
        for text in (
            *("0", "-1", "-1700000000", "soon", "0x6553f100", "nan", "inf", "-inf", "1e999"),
            *("9" * 20, "9" * 400, "true", "2026-01-01T00:00:00Z", "1,700,000,000"),
        )
    },
    "a timestamp in ms": (401, lambda: literally(timestamp=str(int(time.time() * MS)))),
    "a timestamp with a fraction": (401, lambda: literally(timestamp=f"{time.time():.3f}")),
    "a timestamp with a sign": (401, lambda: literally(timestamp="+" + seconds())),
    "a timestamp with zeros": (401, lambda: literally(timestamp="00" + seconds())),
    # Another body
    "re-serialised": (401, lambda: sent(json.dumps(json.loads(EVENT), separators=(",", ":")))),
    "keys in another order": (401, lambda: sent(json.dumps(json.loads(EVENT), sort_keys=True))),
    "a newline more": (401, lambda: sent(EVENT + "\n")),
    "a byte order mark": (401, lambda: sent(b"\xef\xbb\xbf" + EVENT.encode())),
    "truncated": (401, lambda: sent(EVENT[:-1])),
    "half of it": (401, lambda: sent(EVENT[: len(EVENT) // 2])),
    "twice": (401, lambda: sent(EVENT * 2)),
    "nothing": (401, lambda: sent("")),
    "in base64": (401, lambda: sent(base64.b64encode(EVENT.encode()))),
    "invalid UTF-8": (401, lambda: sent(EVENT.encode().replace(b"user", b"us\xffer", 1))),
    "half a character": (401, lambda: sent(EVENT.encode() + b"\xf0\x9f")),
    "NUL bytes": (401, lambda: sent(b"\0" * 100)),
    "UTF-16": (401, lambda: as_other_bytes("utf-16")),
    "UTF-32": (401, lambda: as_other_bytes("utf-32-le")),
    "latin-1": (401, lambda: as_other_bytes("latin-1")),
    # Too big
    "over 1 MiB": (413, lambda: signed(EVENT + " " * MIB)),
    "over 1 MiB, not signed": (413, lambda: ("x" * (MIB + 1), {})),
    "over 1 MiB in fewer characters": (413, lambda: ("é" * (MIB // 2 + 1), {})),
    "1 MiB, not signed": (401, lambda: ("x" * MIB, {})),
    # Signed, but not an event
    **{
        f"signed: {body[:60]!r}": (400, lambda body=body: signed(body))  # type: ignore[misc]
        for body in (
            *(
                "",
                " ",
                "hello",
                "null",
                "[]",
                "{}",
                '"text"',
                "17",
                "NaN",
                EVENT[:-1],
                f"[{EVENT}]",
                EVENT * 2,
            ),
            *('{"type": 1}', '{"data": {}, "timestamp": 1}', '{"type": "user.created", "timestamp": 1}'),
            '{"type": ["user.created"], "data": {}, "timestamp": 1}',
            *("[" * 100_000, '{"a":' * 100_000, "9" * 100_000),
        )
    },
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_webhook_is_rejected_and_changes_nothing(forgery: str, stack: Stack) -> None:
    status, request = FORGERIES[forgery]
    assert send(stack, *request()) == status
    assert stack.rows() == {}


@pytest.mark.parametrize("header", svix_headers(EVENT))
@pytest.mark.parametrize("value", [" ", "\t", "\n", "\0", "\ud800"])
def test_header_that_http_does_not_allow_is_rejected(header: str, value: str, stack: Stack) -> None:
    request = {"headers": svix_headers(EVENT) | {header: value}, "body": EVENT, "isBase64Encoded": False}
    assert stack.aws.invoke(stack.outputs["WebhookFunction"], request) == {"statusCode": 401}
    assert stack.rows() == {}


def test_body_of_1_mib_is_accepted(stack: Stack) -> None:
    body = event(make_user(1))
    assert send(stack, *signed(body + " " * (MIB - len(body)))) == 204
    assert len(stack.rows()) == 1


def test_replayed_message_changes_nothing(stack: Stack) -> None:
    body = event(make_user(1))
    request = signed(body)
    assert send(stack, *request) == 204
    rows = stack.rows()
    assert [send(stack, *request) for _ in range(3)] == [204] * 3
    assert stack.rows() == rows


# Requests to DynamoDB


def dynamodb_calls_since(stack: Stack, moment: float) -> list[str]:
    calls = stack.aws.calls(moment)
    return [call.operation for call in calls if any(name.startswith("dynamodb:") for name, _ in call.actions)]


def test_event_with_a_change_costs_one_read_and_one_write(stack: Stack) -> None:
    user = make_user(2)
    assert post(stack, event(user, "user.created")).status_code == 204
    in_order = [
        event(changed(user, 1, "Known"), "user.updated"),
        event(make_user(3), "user.created"),
        event({"user_id": user["id"], "user": None}, "session.created"),
        event({"id": user["id"], "deleted": True}, "user.deleted"),
    ]
    for body in in_order:
        before, moment = stack.rows(), time.time()
        assert post(stack, body).status_code == 204
        assert dynamodb_calls_since(stack, moment) == ["GetItem", "UpdateItem"]
        assert stack.rows() != before


def test_event_without_a_change_costs_one_read(stack: Stack) -> None:
    user = make_user(2)
    for _ in range(2):
        assert post(stack, event(user)).status_code == 204
    moment = time.time()
    assert post(stack, event(user)).status_code == 204
    assert dynamodb_calls_since(stack, moment) == ["GetItem"]


# Failures of AWS


def test_throttled_runs_table_loses_no_webhook(stack: Stack) -> None:
    throttle = error(400, "ProvisionedThroughputExceededException")

    def throttle_runs_table(body: Body, forward: Forward) -> Answer | None:
        return throttle(body, forward) if body["TableName"] == stack.outputs["RunsTable"] else forward(body)

    user = make_user(1)
    body = json.dumps({**json.loads(event(user)), "instance_id": "ins_1"})
    with through(stack, always(throttle_runs_table, "GetItem", "UpdateItem"), "WebhookFunction"):
        assert post(stack, body).status_code == 204
    assert stack.rows() == {user["id"]: wanted_row(user)}
    for code in ("instance_not_read", "arrival_not_recorded"):
        assert code in stack.log()


def test_row_that_dynamodb_refuses_is_set_aside(stack: Stack) -> None:
    with through(stack, always(error(400, "ValidationException"), "UpdateItem"), "WebhookFunction"):
        assert post(stack, event(make_user(1))).status_code == 204
    assert stack.rows() == {}
    assert "user_set_aside" in stack.log()


def test_webhook_without_a_stored_secret_gets_500_so_that_clerk_retries(stack: Stack) -> None:
    stack.aws.client("ssm").delete_parameter(Name=WEBHOOK_SECRET)
    with stack.configured("WebhookFunction", POWERTOOLS_LOG_LEVEL="INFO"):
        assert post(stack, event(make_user(1))).status_code == 500
    eventually(lambda: f"There is no secret in the SSM parameter {WEBHOOK_SECRET}" in stack.log(), 10)
