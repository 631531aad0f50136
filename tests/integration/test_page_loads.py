"""Page loads over HTTP: the app's requests with session tokens, with Clerk and AWS working and failing."""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from clerk_sync.aws.items import Items, from_item
from clerk_sync.profile.refresh_claims import RefreshClaims
from tests.integration.faulty_aws import Answer, Body, Forward, Plan, Trouble, always, error, through
from tests.integration.stack import ORIGINS, Row, Stack, eventually, wanted_row
from tests.local.aws.local_aws import ROOT
from tests.local.clerk.fake_users import make_user
from tests.local.clerk.faults import Fault, Hook
from tests.local.clerk.session_tokens import KID, new_key, public_pem, session_key, session_token
from tests.local.clerk.simulated_clerk import SimulatedClerk
from tests.support.deployed_api import changed, event, load, post
from tests.support.fake_refresh_claims import CONTRACT

FUNCTION = "ProfileFunction"
PEM = public_pem(session_key())


def shown(user: dict[str, Any]) -> Row:
    """The answer to a page load of this Clerk user."""
    return {"clerkUserId": user["id"], **wanted_row(user)}


def asked(clerk: SimulatedClerk) -> list[str]:
    """The paths of the requests for users; those for keys are left out."""
    return [request.path for request in clerk.requests if request.path.startswith("/v1/users")]


def everything(stack: Stack) -> list[Any]:
    """All items of both tables."""
    dynamodb = stack.aws.client("dynamodb")
    return [dynamodb.scan(TableName=stack.outputs[table])["Items"] for table in ("UsersTable", "RunsTable")]


def at_users(fault: Fault) -> Hook:
    """Requests for users fail; requests for keys do not."""
    return lambda _, request: fault if request.path.startswith("/v1/users") else None


# What a page load does


def test_new_user_gets_a_row_with_one_request_to_clerk(stack: Stack) -> None:
    user = make_user(2)
    with stack.clerk([user]) as clerk:
        for _ in range(3):
            answer = load(stack, clerk.token(user["id"]))
            assert (answer.status_code, answer.json()) == (200, shown(user))
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["Cache-Control"] == "no-store"
        assert asked(clerk) == [f"/v1/users/{user['id']}"]
    assert stack.rows() == {user["id"]: wanted_row(user)}


def test_stale_row_is_refreshed_and_the_apps_attributes_are_not_returned(stack: Stack) -> None:
    user = make_user(3)
    stack.put_row(user["id"], plan="pro", **wanted_row(changed(user, -60, "Old")))
    with stack.clerk([user]) as clerk:
        answer = load(stack, clerk.token(user["id"]))
        assert (answer.status_code, answer.json()) == (200, shown(user))
        assert len(asked(clerk)) == 1
    assert stack.rows() == {user["id"]: {"plan": "pro", **wanted_row(user)}}


@pytest.mark.parametrize("placeholder", [{}, {"firstName": "Test", "email": "user@example.com"}])
def test_placeholder_row_is_replaced_by_the_users_data(stack: Stack, placeholder: dict[str, str]) -> None:
    user = make_user(4)
    stack.put_row(user["id"], plan="pro", **placeholder)
    with stack.clerk([user]) as clerk:
        before = load(stack, clerk.token(user["id"]), "GET")
        assert (before.status_code, before.json()) == (200, {"clerkUserId": user["id"], **placeholder})
        assert load(stack, clerk.token(user["id"])).json() == shown(user)
    assert stack.rows() == {user["id"]: {"plan": "pro", **wanted_row(user)}}


def test_fresh_row_is_returned_without_asking_clerk(stack: Stack) -> None:
    user = make_user(5) | {"updated_at": int(time.time() * 1000) - 60_000}
    stack.put_row(user["id"], **wanted_row(user))
    with stack.clerk([user]) as clerk:
        assert load(stack, clerk.token(user["id"])).json() == shown(user)
        assert asked(clerk) == []


def test_get_changes_nothing(stack: Stack) -> None:
    user = make_user(6)
    with stack.clerk([user]) as clerk:
        answer = load(stack, clerk.token(user["id"]), "GET")
        assert (answer.status_code, answer.json()) == (404, {"error": "There is no such user here."})
        assert everything(stack) == [[], []]
        stack.put_row(user["id"], plan="pro", **wanted_row(user))
        before = everything(stack)
        answer = load(stack, clerk.token(user["id"]), "GET", user["id"])
        assert (answer.status_code, answer.json()) == (200, shown(user))
        assert everything(stack) == before
        assert asked(clerk) == []


def test_new_user_unknown_to_clerk_is_requested_twice_and_gets_503(stack: Stack) -> None:
    user = make_user(7)
    with stack.clerk([]) as clerk:
        answer = load(stack, clerk.token(user["id"]))
        assert (answer.status_code, answer.json()) == (503, {"error": "Try again later."})
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert asked(clerk) == [f"/v1/users/{user['id']}"] * 2
        assert stack.rows() == {}
    with stack.clerk([user]) as clerk:
        assert load(stack, clerk.token(user["id"])).json() == shown(user)


def test_user_known_to_clerk_half_a_second_later_gets_a_row(stack: Stack) -> None:
    user = make_user(7)
    with stack.clerk([user]) as clerk:
        unknown = Fault.status(404, body=json.dumps({"errors": [{"code": "resource_not_found"}]}).encode())
        faults = [unknown]
        clerk.on_request = lambda _, request: faults.pop() if faults and "/users/" in request.path else None
        assert load(stack, clerk.token(user["id"])).json() == shown(user)
        assert len(asked(clerk)) == 2


def test_deleted_user_gets_404_even_with_a_fresh_row(stack: Stack) -> None:
    user = make_user(7)
    with stack.clerk([user]) as clerk:
        token = clerk.token(user["id"])
        assert load(stack, token).json() == shown(user)
        clerk.delete(user["id"])
        assert post(stack, event({"id": user["id"], "deleted": True}, "user.deleted")).status_code == 204
        before = everything(stack)
        for method in ("PUT", "GET"):
            answer = load(stack, token, method)
            assert (answer.status_code, answer.json()) == (404, {"error": "There is no such user here."})
        assert len(asked(clerk)) == 2, "by both PUTs"
        assert everything(stack)[0] == before[0]
        clerk.on_request = at_users(Fault.status(500))
        assert load(stack, token).status_code == 503
        assert load(stack, token, "GET").status_code == 404


def test_new_user_gets_404_without_a_request_to_clerk_if_rows_are_not_created(stack: Stack) -> None:
    user, known = make_user(7), make_user(8)
    stack.put_row(known["id"], plan="pro")
    with stack.clerk([user, known]) as clerk, stack.configured(FUNCTION, CREATE_MISSING_USERS="false"):
        assert load(stack, clerk.token(user["id"])).status_code == 404
        assert asked(clerk) == []
        assert load(stack, clerk.token(known["id"])).json() == shown(known)
    assert stack.rows() == {known["id"]: {"plan": "pro", **wanted_row(known)}}


# Many at once


def test_concurrent_page_loads_of_a_new_user_share_few_requests_to_clerk(stack: Stack) -> None:
    user = make_user(9)
    with stack.clerk([user], latency=0.2) as clerk, ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: load(stack, clerk.token(user["id"])), range(10)))
        assert 1 <= len(asked(clerk)) <= 3
    # One that reads the row before it is noted as fresh can't know that it is.
    bodies = [{n: value for n, value in answer.json().items() if n != "stale"} for answer in answers]
    assert [answer.status_code for answer in answers] == [200] * 10
    assert bodies == [shown(user)] * 10
    assert stack.rows() == {user["id"]: wanted_row(user)}


@pytest.mark.parametrize("seconds", [-5, 0])
def test_concurrent_page_load_and_webhook_leave_one_correct_row(stack: Stack, seconds: int) -> None:
    users = [make_user(n) for n in range(20, 26)]
    with stack.clerk(users) as clerk, ThreadPoolExecutor(2) as pool:
        for user in users:
            snapshot = user if seconds == 0 else changed(user, seconds, "Earlier")
            webhook = pool.submit(post, stack, event(snapshot, "user.created"))
            page = pool.submit(load, stack, clerk.token(user["id"]))
            assert webhook.result().status_code == 204
            assert (page.result().status_code, page.result().json()) == (200, shown(user))
    assert stack.rows() == {user["id"]: wanted_row(user) for user in users}


# Access


def forgeries(issuer: str, user_id: str) -> dict[str, str | None]:
    now = int(time.time())
    good = session_token(user_id, issuer)
    head, payload, signature = good.split(".")
    return {
        "nothing": None,
        "garbage": "hello",
        "cut": good[:-20],
        "unsigned": f"{head}.{payload}.",
        "alg none": session_token(user_id, issuer, algorithm="none"),
        "the public key as a secret": session_token(user_id, issuer, key=PEM.encode(), algorithm="HS256"),
        "another algorithm": session_token(user_id, issuer, algorithm="RS512"),
        "another key": session_token(user_id, issuer, key=new_key()),
        "an unknown key": session_token(user_id, issuer, key=new_key(), kid="ins_evil"),
        "another's payload": f"{head}.{session_token('user_2', issuer).split('.')[1]}.{signature}",
        "expired": session_token(user_id, issuer, iat=now - 90, nbf=now - 100, exp=now - 30),
        "not valid yet": session_token(user_id, issuer, nbf=now + 60),
        "another issuer": session_token(user_id, "https://clerk.evil.test"),
        "an issuer like it": session_token(user_id, issuer + "/"),
        "another app": session_token(user_id, issuer, azp="https://evil.test"),
        "pending": session_token(user_id, issuer, sts="pending"),
        "an empty user id": session_token("", issuer),
        "no session": session_token(user_id, issuer, sid=None),
        "OAuth access token": session_token(
            user_id, issuer, header={"typ": "at+jwt"}, sid=None, azp=None, sts=None, exp=now + 86_400
        ),
        "JWT-template token": session_token(
            user_id, issuer, header={"cat": "cl_B7d4PD222AAA"}, sid=None, sts=None, exp=now + 315_360_000
        ),
        "id token": session_token(user_id, issuer, sid=None, aud="third_party_app", exp=now + 86_400),
        "machine token": session_token("mch_1", issuer, header={"cat": "cl_B7d4PD333AAA"}),
    }


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_invalid_token_reads_and_writes_nothing(stack: Stack, method: str) -> None:
    known, unknown = make_user(10), make_user(11)
    stack.put_row(known["id"], firstName="Known", plan="pro")
    before = everything(stack)
    with stack.clerk([known, unknown]) as clerk:
        for user in (known, unknown):
            forged = forgeries(clerk.issuer, user["id"])
            answers = {why: load(stack, token, method) for why, token in forged.items()}
            assert {why: answer.status_code for why, answer in answers.items()} == dict.fromkeys(forged, 401)
            assert {answer.text for answer in answers.values()} == {'{"error": "Sign in."}'}
        assert asked(clerk) == []
        assert len(clerk.requests) <= 2, "unknown key ids cause repeated requests for keys"
    assert everything(stack) == before


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_row_of_another_user_is_neither_returned_nor_changed(stack: Stack, method: str) -> None:
    caller, other = make_user(12), make_user(13)
    stack.put_row(other["id"], **wanted_row(changed(other, -60, "Old")))
    before = everything(stack)
    with stack.clerk([caller, other]) as clerk:
        token = clerk.token(caller["id"])
        assert load(stack, token, method, other["id"]).status_code == 401
        assert load(stack, token, method, f"%75{other['id'][1:]}").status_code == 401
        if method == "PUT":
            for key in ("clerkUserId", "userId", "user_id", "id"):
                assert load(stack, token, body={key: other["id"]}).status_code == 401
                assert load(stack, token, path=caller["id"], body={key: other["id"]}).status_code == 401
        assert asked(clerk) == []
    assert everything(stack) == before


def test_body_may_contain_only_the_callers_id(stack: Stack) -> None:
    user = make_user(14)
    with stack.clerk([user]) as clerk:
        token = clerk.token(user["id"])
        named = {"clerkUserId": user["id"], "firstName": "New"}
        bodies: list[Any] = [{"email": "new@mail.test"}, named, [], "me"]
        for odd in bodies:
            assert load(stack, token, body=odd).status_code == 400
        assert everything(stack) == [[], []]
        assert load(stack, token, body={"pad": "x" * 5_000}).status_code == 413
        for body in ({}, {"clerkUserId": user["id"]}):
            assert load(stack, token, path=user["id"], body=body).json() == shown(user)
        for text in ("null", "{}", ""):
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            url = f"{stack.outputs['ApiUrl']}/users/me"
            assert httpx.put(url, headers=headers, content=text, timeout=40).json() == shown(user)


# Clerk fails

FAULTS = {
    "500": Fault.status(500),
    "401": Fault.status(401),
    "silent": Fault.hang(30),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_clerk_failure_returns_the_stored_row_as_stale_and_503_to_a_new_user(
    stack: Stack, fault: Fault
) -> None:
    known, unknown = make_user(15), make_user(16)
    old = changed(known, -60, "Old")
    stack.put_row(known["id"], plan="pro", **wanted_row(old))
    before = stack.rows()
    with stack.clerk([known, unknown]) as clerk:
        clerk.on_request = at_users(fault)
        began = time.monotonic()
        answer = load(stack, clerk.token(known["id"]))
        assert (answer.status_code, answer.json()) == (200, {**shown(old), "stale": True})
        assert "Retry-After" not in answer.headers
        answer = load(stack, clerk.token(unknown["id"]))
        assert (answer.status_code, answer.json()) == (503, {"error": "Try again later."})
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGINS[0]
        assert time.monotonic() - began < 2 * 10
        assert stack.rows() == before

        clerk.on_request = None
        eventually(lambda: load(stack, clerk.token(unknown["id"])).json() == shown(unknown))
    assert stack.rows() == before | {unknown["id"]: wanted_row(unknown)}


def test_configured_key_verifies_tokens_while_clerk_is_unreachable(stack: Stack) -> None:
    known, unknown = make_user(17), make_user(18)
    stack.put_row(known["id"], **wanted_row(known))
    with stack.clerk([]) as clerk:
        tokens = {user["id"]: clerk.token(user["id"]) for user in (known, unknown)}
    # A new process has no cached keys.
    with stack.configured(FUNCTION, CLERK_JWT_KEY=PEM):
        answer = load(stack, tokens[known["id"]])
        assert (answer.status_code, answer.json()) == (200, {**shown(known), "stale": True})
        answer = load(stack, tokens[unknown["id"]])
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers


def test_page_loads_get_503_while_the_keys_cannot_be_fetched(stack: Stack) -> None:
    user = make_user(19)
    stack.put_row(user["id"], **wanted_row(user))
    with stack.clerk([user]) as clerk:
        clerk.on_request = lambda _, __: Fault.status(503)
        with stack.configured(FUNCTION, POWERTOOLS_LOG_LEVEL="INFO"):
            answer = load(stack, clerk.token(user["id"]))
            assert answer.status_code == 503
            assert "Retry-After" in answer.headers
            clerk.on_request = None
            assert load(stack, clerk.token(user["id"])).json() == shown(user)


# AWS fails


def runs_table_fails(stack: Stack) -> Plan:
    """Every request to RunsTable is throttled."""

    def trouble(body: Body, forward: Forward) -> Answer | None:
        return throttle(body, forward) if body["TableName"] == stack.outputs["RunsTable"] else forward(body)

    throttle = error(400, "ProvisionedThroughputExceededException")
    return always(trouble, "GetItem", "UpdateItem")


def test_throttled_runs_table_fails_no_page_load(stack: Stack) -> None:
    fresh = make_user(50) | {"updated_at": int(time.time() * 1000)}
    old, new = make_user(51), make_user(52)
    stack.put_row(fresh["id"], **wanted_row(fresh))
    stack.put_row(old["id"], **wanted_row(changed(old, -60, "Old")))
    with stack.clerk([old, new]) as clerk, through(stack, runs_table_fails(stack), FUNCTION):
        answers = {user["id"]: load(stack, clerk.token(user["id"])) for user in (fresh, old, new)}
    assert {answer.status_code for answer in answers.values()} == {200}
    assert answers[fresh["id"]].json() == shown(fresh)
    assert answers[old["id"]].json() == {**shown(changed(old, -60, "Old")), "stale": True}
    assert answers[new["id"]].json() == shown(new)
    assert stack.rows()[new["id"]] == wanted_row(new)


def test_row_that_dynamodb_rejects_is_returned_as_stale(stack: Stack) -> None:
    known, new = make_user(53), make_user(54)
    stack.put_row(known["id"], plan="pro", **wanted_row(changed(known, -60, "Old")))
    too_large = error(400, "ValidationException")
    with stack.clerk([known, new]) as clerk, through(stack, refused_rows(stack, too_large), FUNCTION):
        answer = load(stack, clerk.token(known["id"]))
        assert (answer.status_code, answer.json()) == (
            200,
            {**shown(changed(known, -60, "Old")), "stale": True},
        )
        answer = load(stack, clerk.token(new["id"]))
        fields = {name: value for name, value in shown(new).items() if name != "clerkUpdatedAt"}
        assert (answer.status_code, answer.json()) == (200, {**fields, "stale": True})
    assert stack.rows().keys() == {known["id"]}


def test_row_of_over_400_kb_fails_neither_page_load_nor_webhook(stack: Stack) -> None:
    user = make_user(55)
    full: Any = {"notes": "x" * (400 * 1024 - 100)}
    stack.put_row(user["id"], **full)
    with stack.clerk([user]) as clerk:
        answer = load(stack, clerk.token(user["id"]))
        assert (answer.status_code, answer.json()) == (200, {"clerkUserId": user["id"], "stale": True})
        assert post(stack, event(user)).status_code == 204
    assert stack.rows() == {user["id"]: full}
    assert stack.log().count("Item size") >= 2


def refused_rows(stack: Stack, refuse: Trouble) -> Plan:
    """UsersTable rejects every write."""

    def trouble(body: Body, forward: Forward) -> Answer | None:
        return refuse(body, forward) if body["TableName"] == stack.outputs["UsersTable"] else forward(body)

    return always(trouble, "UpdateItem")


# Keys


def test_configured_key_needs_no_request_for_keys(stack: Stack) -> None:
    user = make_user(30)
    flattened = PEM.replace("\n", " ").strip()
    with stack.clerk([user]) as clerk:
        for pem in (PEM, flattened, PEM.replace("\n", "\\n")):
            # A new process has no cached keys.
            with stack.configured(FUNCTION, CLERK_JWT_KEY=pem):
                assert load(stack, clerk.token(user["id"])).json() == shown(user)
                assert load(stack, clerk.token(user["id"], key=new_key())).status_code == 401
        assert len(clerk.requests) == len(asked(clerk)) == 1


def test_invalid_configured_key_is_named_only_in_the_log(stack: Stack) -> None:
    user = make_user(31)
    with stack.clerk([user]) as clerk, stack.configured(FUNCTION, CLERK_JWT_KEY="pk_test_made_up"):
        answer = load(stack, clerk.token(user["id"]))
    assert answer.status_code == 500
    assert "ClerkJwtKey" not in answer.text
    assert "ClerkJwtKey is not an RSA public key" in stack.log()


def test_keys_are_rotated(stack: Stack) -> None:
    user = make_user(32)
    with stack.clerk([user]) as clerk:
        before = clerk.token(user["id"])
        clerk.session_keys["ins_next"] = new_key()
        with stack.configured(FUNCTION, POWERTOOLS_LOG_LEVEL="INFO"):
            after = clerk.token(user["id"])
            for token in (before, after, before):
                assert load(stack, token).json() == shown(user)
            assert load(stack, clerk.token(user["id"], kid=KID)).status_code == 401
        del clerk.session_keys[KID]
        with stack.configured(FUNCTION, POWERTOOLS_LOG_LEVEL="ERROR"):
            assert load(stack, after).status_code == 200
            assert load(stack, before).status_code == 401


# Browsers


@pytest.mark.parametrize("origin", ORIGINS)
def test_cors_allows_the_apps_origins(stack: Stack, origin: str) -> None:
    answer = load(stack, None, "OPTIONS", origin=origin)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    refused = load(stack, None, "PUT", origin=origin)
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == origin


def test_preflight_allows_the_headers_of_tracing_tools(stack: Stack) -> None:
    headers = {
        "Origin": ORIGINS[0],
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,baggage,sentry-trace",
    }
    answer = httpx.options(f"{stack.outputs['ApiUrl']}/users/me", headers=headers, timeout=40)
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "baggage", "sentry-trace"} == set(allowed)


def test_cors_does_not_allow_other_origins(stack: Stack) -> None:
    answer = load(stack, None, "OPTIONS", origin="https://evil.test")
    assert "Access-Control-Allow-Methods" not in answer.headers
    assert answer.headers.get("Access-Control-Allow-Origin") not in ("*", "https://evil.test")


# What is deployed


def test_access_log_contains_no_caller_and_no_path() -> None:
    # From the template, as MiniStack 1.5.33 forgets this setting of a stage.
    [log_format] = re.findall(r"^ +Format: '(.+)'$", (ROOT / "template.yaml").read_text(), re.MULTILINE)
    fields = json.loads(log_format)
    assert {"requestId", "method", "resource", "status"} <= fields.keys()
    logged = {value.removeprefix("$context.").partition(".")[0] for value in fields.values()}
    private = {"sourceIp", "userAgent", "path", "caller", "user", "identity", "authorizer", "customDomain"}
    assert not logged & private


def test_page_loads_and_webhooks_are_throttled(stack: Stack) -> None:
    api = stack.outputs["ApiUrl"].partition("/restapis/")[2].partition("/")[0]
    stage = stack.aws.client("apigateway").get_stage(restApiId=api, stageName="v1")
    # MiniStack 1.5.33 keeps CloudFormation's leading slash, which API Gateway's own names lack.
    limits = {name.removeprefix("/"): limit for name, limit in stage["methodSettings"].items()}
    assert limits.keys() == {"*/*", "~1webhooks~1clerk/POST"}
    for limit in limits.values():
        assert 0 < limit["throttlingRateLimit"] <= 500
        assert limit["throttlingRateLimit"] <= limit["throttlingBurstLimit"] <= 1000


@pytest.mark.parametrize("fact", CONTRACT, ids=lambda fact: fact.__name__)
def test_refresh_claims_in_runs_table(stack: Stack, fact: Callable[[RefreshClaims], None]) -> None:
    fact(RefreshClaims(Items(stack.aws.client("dynamodb"), stack.outputs["RunsTable"])))


def test_refresh_claim_in_runs_table_expires_within_a_day(stack: Stack) -> None:
    user, now = make_user(34), time.time()
    with stack.clerk([user]) as clerk:
        load(stack, clerk.token(user["id"]))
    [item] = map(from_item, everything(stack)[1])
    assert item.keys() == {"runId", "part", "refreshedAt", "claimedUntil", "expiresAt"}
    assert now - 5 < item["expiresAt"] - 24 * 60 * 60 < now + 60
    assert now - 5 < item["refreshedAt"] / 1000 < now + 60


def test_logs_contain_neither_tokens_nor_names(stack: Stack) -> None:
    users = []
    for n in range(40, 44):
        user = make_user(n)
        user["first_name"], user["last_name"] = f"Marked-{n}-first", f"Marked-{n}-last"
        users.append(user)
    users[1]["last_name"] = ["Marked-odd"]
    words = [a["email_address"] for user in users for a in user["email_addresses"]]
    with stack.clerk(users[:3]) as clerk:
        for user in users:
            token = clerk.token(user["id"], name="Marked-claim")
            words += token.split(".")
            stale = clerk.token(user["id"], exp=1, iss="Marked-issuer", azp="Marked-party")
            words += stale.split(".")[1:]
            load(stack, token)
            load(stack, stale)
            load(stack, token, body={"email": "Marked-email"})
            load(stack, token, path="Marked-path")
    log = stack.log()
    for code in ("profile_refreshed", "profile_not_refreshed", "profile_unknown", "profile_rejected"):
        assert code in log
    header = session_token("x", "x").split(".")[0]  # the same in every token
    assert [word for word in (*words, "Marked-", "sk_test_local") if word in log and word != header] == []
