"""Clerk's webhooks over HTTP, and how they meet the pages of a run."""

import base64
import json
import time
from typing import Any

import httpx
import pytest

from tests.integration.stack import Stack, eventually, wanted_row
from tests.local.aws import WEBHOOK_SECRET
from tests.local.people import broken_users, make_user, make_users
from tests.local.sign import LOCAL_SECRET, signature_headers

MS = 1000


def event(user: dict[str, Any], kind: str = "user.updated", at: float | None = None) -> str:
    timestamp = int((time.time() if at is None else at) * MS)
    return json.dumps({"object": "event", "type": kind, "timestamp": timestamp, "data": user})


def post(stack: Stack, body: str | bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    text = body if isinstance(body, str) else body.decode()
    signed = signature_headers(text, LOCAL_SECRET) if headers is None else headers
    return httpx.post(stack.outputs["WebhookUrl"], content=body, headers=signed, timeout=30)


def changed(user: dict[str, Any], seconds: int, name: str) -> dict[str, Any]:
    return {**user, "updated_at": user["updated_at"] + seconds * MS, "first_name": name}


@pytest.mark.parametrize("kind", ["user.created", "user.updated"])
def test_a_users_event_is_stored_and_the_apps_attributes_stay(stack: Stack, kind: str) -> None:
    user = make_user(2)
    stack.put_row(user["id"], plan="pro", email="user@example.com")
    answer = post(stack, event(user, kind))
    assert (answer.status_code, answer.content) == (204, b"")
    assert stack.rows() == {user["id"]: {"plan": "pro", **wanted_row(user)}}


def test_an_event_of_an_unknown_user_makes_a_row(stack: Stack) -> None:
    user = make_user(3)
    assert post(stack, event(user, "user.created")).status_code == 204
    assert stack.rows() == {user["id"]: wanted_row(user)}


def test_a_deletion_marks_the_row_and_late_events_do_not_raise_it_again(stack: Stack) -> None:
    user, at = make_user(2), time.time()
    stack.put_row(user["id"], plan="pro")
    deletion = event({"object": "user", "id": user["id"], "deleted": True}, "user.deleted", at)
    late = event(changed(user, 60, "Late"), "user.updated", at - 30)
    for body in (event(user, "user.created", at - 90), deletion, late, deletion):
        assert post(stack, body).status_code == 204
    end = {"plan": "pro", "clerkDeletedAt": int(at * MS), **wanted_row(changed(user, 60, "Late"))}
    assert stack.rows() == {user["id"]: end}

    # The next full run no longer meets the user, and leaves the row as it is; had it been a mistake, it
    # would take the mark off.
    with stack.clerk([]):
        assert stack.backfill()["status"] == "COMPLETED"
    assert stack.rows() == {user["id"]: end}


def test_a_deletion_that_arrives_first_is_not_forgotten(stack: Stack) -> None:
    user, at = make_user(2), time.time()
    deletion = event({"object": "user", "id": user["id"], "deleted": True}, "user.deleted", at)
    assert post(stack, deletion).status_code == 204
    assert post(stack, event(user, "user.created", at - 60)).status_code == 204
    assert stack.rows() == {user["id"]: {"clerkDeletedAt": int(at * MS), **wanted_row(user)}}


def test_a_sign_in_moves_the_activity_with_its_user_or_alone(stack: Stack) -> None:
    user, at = make_user(2), time.time()
    session = {"object": "session", "id": "sess_1", "user_id": user["id"], "user": changed(user, 5, "In")}
    assert post(stack, event(session, "session.created", at)).status_code == 204
    assert stack.rows() == {user["id"]: wanted_row(changed(user, 5, "In"))}

    assert post(stack, event({**session, "user": None}, "session.created", at)).status_code == 204
    moved = dict.fromkeys(("lastSignInAt", "lastActiveAt"), int(at * MS))
    assert stack.rows() == {user["id"]: wanted_row(changed(user, 5, "In")) | moved}
    assert post(stack, event({**session, "user": None}, "session.created", at - 9_000)).status_code == 204
    assert stack.rows() == {user["id"]: wanted_row(changed(user, 5, "In")) | moved}


def test_events_that_name_no_user_are_taken(stack: Stack) -> None:
    for data, kind in (({"deleted": True}, "user.deleted"), ({"user": None}, "session.created")):
        assert post(stack, event(data, kind)).status_code == 204
    assert stack.rows() == {}
    assert "names no user" in stack.log()


def test_other_events_and_malformed_users_are_taken_and_change_nothing(stack: Stack) -> None:
    bodies = [event(make_user(1), kind) for kind in ("organization.created", "email.created")]
    bodies += [event(user) for user in broken_users()[:4]]
    assert [post(stack, body).status_code for body in bodies] == [204] * len(bodies)
    assert stack.rows() == {}


def test_a_webhook_newer_than_a_page_in_the_queue_wins_and_an_older_one_loses(stack: Stack) -> None:
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
    # And when the run is over, a late event still loses.
    assert post(stack, event(changed(older, -60, "Older"))).status_code == 204
    assert stack.rows() == expected


def test_what_clerk_did_not_sign_is_refused_and_changes_nothing(stack: Stack) -> None:
    body = event(make_user(1))
    good = signature_headers(body, LOCAL_SECRET)
    other = signature_headers(body, "whsec_" + base64.b64encode(b"another secret").decode())
    stale = good | {"svix-timestamp": str(int(time.time()) - 600)}
    refused = {
        "nothing": {},
        "another secret": other,
        "stale": stale,
        "no id": {name: value for name, value in good.items() if name != "svix-id"},
        "no version": good | {"svix-signature": "abc"},
        "not base64": good | {"svix-signature": "v1,?"},
        "no number": good | {"svix-timestamp": "soon"},
    }
    assert {why: post(stack, body, headers).status_code for why, headers in refused.items()} == dict.fromkeys(
        refused, 401
    )
    assert post(stack, body.replace(" ", ""), good).status_code == 401, "the same JSON in other bytes"
    assert stack.rows() == {}


@pytest.mark.parametrize("body", ["", "hello", "[]", "{}", '{"type": 1}', "[" * 100_000])
def test_a_signed_body_that_is_no_event_is_a_400(stack: Stack, body: str) -> None:
    assert post(stack, body).status_code == 400


def test_a_body_over_1_mib_is_a_413(stack: Stack) -> None:
    assert post(stack, event(make_user(1)) + " " * 1024 * 1024).status_code == 413


def test_any_of_several_secrets_will_do(stack: Stack) -> None:
    new = "whsec_" + base64.b64encode(b"the next secret").decode()
    stack.aws.put_secret(WEBHOOK_SECRET, f"{LOCAL_SECRET}, {new}")
    with stack.configured("WebhookFunction", POWERTOOLS_LOG_LEVEL="INFO"):  # a new process reads it anew
        for n, secret in enumerate((new, LOCAL_SECRET)):
            body = event(make_user(n))
            assert post(stack, body, signature_headers(body, secret)).status_code == 204
    assert len(stack.rows()) == 2


def test_without_a_secret_clerk_is_told_to_come_back(stack: Stack) -> None:
    stack.aws.client("ssm").delete_parameter(Name=WEBHOOK_SECRET)
    with stack.configured("WebhookFunction", POWERTOOLS_LOG_LEVEL="INFO"):
        assert post(stack, event(make_user(1))).status_code == 500
    eventually(lambda: f"There is no secret in the SSM parameter {WEBHOOK_SECRET}" in stack.log(), 10)
