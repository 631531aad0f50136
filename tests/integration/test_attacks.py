"""Hostile requests, and users with hostile data."""

import json
import re
import socket
from collections import Counter
from contextlib import closing
from random import Random
from urllib.parse import urlsplit

from tests.integration.stack import Stack, assert_conserved, wanted_row
from tests.local.clerk.fake_users import User, make_user
from tests.local.commands.sign import LOCAL_SECRET, signature_headers
from tests.support.deployed_api import event, load, post
from tests.support.deployed_dashboard import show

REQUESTS = 300
INTERNALS = re.compile(
    rb"Traceback|File \"|Error\b.*line \d|botocore|clerk_sync|/functions/|arn:aws", re.DOTALL
)

TRICKS = (
    "' OR 1=1 --",
    '"; DROP TABLE users; --',
    '\' OR "firstName" IS MISSING --',
    "#firstName :firstName ?",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></tr></table><cwdb-action action='call'></cwdb-action>",
    'x\r\n{"level": "ERROR", "message": "forged"}',
    "\x1b[2J\x1b]0;owned\x07\x9b31m",
    "nul\x00nul",
    "\u202egnp.eman\u202c \u200f\u2028\u2029",
    "${AWS::AccountId} {{resolve:ssm:/clerk-sync/secret-key}} {0} %s",
    "../../users/count?limit=500#",
    "\U0001f469\u200d\U0001f680 \ufeff\uffff",
)


# Over HTTP


def http(host: str, port: int, request: bytes) -> tuple[int, bytes]:
    """The status and the whole answer; 0 if the connection was closed without one."""
    with closing(socket.create_connection((host, port), timeout=30)) as connection:
        try:
            connection.sendall(request)
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return 0, b""
    status = re.match(rb"HTTP/1\.\d (\d{3})", received)
    return int(status[1]) if status else 0, received


class Attacker:
    """Makes up requests. The same seed gives the same requests."""

    def __init__(self, stack: Stack, token: str, seed: int) -> None:
        self._dice = Random(seed)
        self._token = token
        self._webhooks = urlsplit(stack.outputs["WebhookUrl"])
        self._api = urlsplit(stack.outputs["ApiUrl"])

    def request(self) -> bytes:
        dice = self._dice
        is_webhook = dice.random() < 0.6
        body = self._body() if is_webhook or dice.random() < 0.5 else b""
        headers = [("Host", self._api.netloc), ("Connection", "close")]
        if dice.random() < 0.7:
            headers += self._signature(body) if is_webhook else [("Authorization", f"Bearer {self._token}")]
        headers += self._odd_headers()
        dice.shuffle(headers)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        if is_webhook:
            target, method = self._webhooks.path, "POST"
        else:
            target, method = f"{self._api.path}/users/{self._whose()}", dice.choice(["GET", "PUT", "OPTIONS"])
        length = f"Content-Length: {len(body)}\r\n"
        return f"{method} {target} HTTP/1.1\r\n{head}{length}\r\n".encode("latin-1") + body

    def _whose(self) -> str:
        names = [
            "me",
            "me",
            "%00",
            "%ff%fe",
            "..%2f..%2fadmin",
            "%3Cscript%3E",
            "x" * 3_000,
            "me?userId=a&a=b",
        ]
        return self._dice.choice(names)

    def _signature(self, body: bytes) -> list[tuple[str, str]]:
        try:
            return list(signature_headers(body.decode(), LOCAL_SECRET).items())
        except UnicodeDecodeError:
            return [("svix-id", "m"), ("svix-timestamp", "1"), ("svix-signature", "v1,AAAA")]

    def _odd_headers(self) -> list[tuple[str, str]]:
        dice = self._dice
        odd = [
            ("svix-signature", "v1," + "A" * 43 + "="),
            ("svix-timestamp", dice.choice(["nan", "1e999", "-1", "9" * 400, "\xb2"])),
            (
                "Authorization",
                dice.choice(["Bearer", "Bearer a.b.c", "Basic YTpi", "\xff" * 50, "Bearer " + "e" * 20_000]),
            ),
            (
                "Content-Type",
                dice.choice(["application/octet-stream", "text/html; charset=\xff", "a/b;" * 500]),
            ),
            ("Content-Encoding", "gzip"),
            (
                "Origin",
                dice.choice(["null", "http://localhost:3000\x0b", "<script>"]),
            ),
            ("X-" + "a" * 200, "\x80\xfe" * 100),
            ("X-Forwarded-For", ", ".join(["127.0.0.1"] * 300)),
            ("X-Amz-Target", "DynamoDB_20120810.DeleteTable"),
            ("Cookie", "__session=" + "a" * 8_000),
        ]
        return dice.choices(odd, k=dice.choice([0, 1, 1, 2, 5]))

    def _body(self) -> bytes:
        dice = self._dice
        deep = "[" * 100_000 + "]" * 100_000
        user = make_user(1) | {dice.choice(["first_name", "username", "id"]): dice.choice(TRICKS)}
        good = event(user)
        makers = (
            lambda: good.encode(),
            lambda: json.dumps(json.loads(good), ensure_ascii=False).encode(),
            lambda: dice.randbytes(dice.choice([0, 1, 10, 1_000, 70_000])),
            lambda: b"[" * 100_000,
            lambda: b'{"data":' * 100_000,
            lambda: good.replace('"data": {', f'"data": {{"deep": {deep}, ').encode(),
            lambda: (good[:-1] + ', "type": "user.deleted", "data": {"id": "user_1"}}').encode(),
            lambda: (good[:-1] + f', "padding": "{"x" * 300_000}"}}').encode(),
            lambda: good.replace(
                '"updated_at": ', '"updated_at": 9' + "9" * dice.choice([20, 5_000])
            ).encode(),
            lambda: good.replace('"first_name": "', '"first_name": "\\ud800').encode(),
            lambda: event({**user, "email_addresses": [[]] * 1_000, "primary_email_address_id": 7}).encode(),
            lambda: good.encode("utf-16"),
            lambda: bytes(b ^ (dice.random() < 0.01) for b in good.encode()),
        )
        return dice.choice(makers)()


def test_hostile_requests_cause_no_5xx_and_reveal_no_internals(stack: Stack) -> None:
    user = make_user(1)
    address = urlsplit(stack.outputs["ApiUrl"])
    assert address.hostname
    assert address.port
    answered = Counter[int]()
    with stack.clerk([user]) as clerk:
        attacker = Attacker(stack, clerk.token(user["id"], exp=4_000_000_000), seed=7)
        for n in range(REQUESTS):
            request = attacker.request()
            status, answer = http(address.hostname, address.port, request)
            answered[status] += 1
            assert status < 500, (n, request[:2_000], answer[:2_000])
            assert not INTERNALS.search(answer), (n, request[:2_000], answer[:2_000])
    assert min(answered[status] for status in (200, 204, 400, 401, 413)) >= 5, answered


# Hostile user data


def tricky_users() -> list[User]:
    """For each trick, a user with it in every text; then for each trick, one with it as id too."""
    users = [make_user(5 * n) for n in range(2 * len(TRICKS))]
    for user, trick in zip(users, TRICKS * 2, strict=True):
        user |= {"first_name": trick, "last_name": trick, "username": trick, "image_url": trick}
        user |= {"primary_email_address_id": trick}
        user |= {"email_addresses": [{"id": trick, "email_address": trick}]}
    for user, trick in zip(users[len(TRICKS) :], TRICKS, strict=True):
        user["id"] = trick
    halved = [make_user(900) | {"first_name": "\ud800"}, make_user(901) | {"id": "\udfff"}]
    return users + halved


def assert_stored_exactly(stack: Stack, users: list[User]) -> None:
    *stored, _, _ = users
    assert stack.rows() == {user["id"]: wanted_row(user) for user in stored}


def test_hostile_user_data_is_stored_unchanged_or_set_aside(stack: Stack) -> None:
    users = tricky_users()
    with stack.clerk(users) as clerk:
        result = stack.backfill()
        assert_conserved(result)
        assert (result["status"], result["totalClerkUsers"]) == ("COMPLETED_WITH_ERRORS", len(users))
        assert_stored_exactly(stack, users)
        again = stack.backfill()
        assert (again["unchangedCount"], again["errorCount"]) == (len(users) - 2, 2)

        for n, user in enumerate(users[:-2]):
            clerk.update(user["id"], updated_at=user["updated_at"] + 1)
            users[n] = user | {"updated_at": user["updated_at"] + 1}
        assert stack.backfill()["updatedCount"] == len(users) - 2
        assert_stored_exactly(stack, users)

        for user in users[: len(TRICKS)]:
            answer = load(stack, clerk.token(user["id"]))
            assert answer.json() == {"clerkUserId": user["id"], **wanted_row(user)}
        for trick in TRICKS:
            assert load(stack, clerk.token(trick)).status_code in (200, 401)

        for html in (show(stack, "users"), show(stack, "runs")):
            assert_harmless(html)
        for trick in TRICKS:
            assert_harmless(show(stack, "users", trick))

    rows = stack.rows()
    for user in users:
        assert post(stack, event(user)).status_code == 204
    assert stack.rows() == rows
    stack.reset()
    for user in users:
        assert post(stack, event(user, "user.created")).status_code == 204
    assert_stored_exactly(stack, users)
    for user in users[len(TRICKS) : -2]:
        assert post(stack, event({"id": user["id"], "deleted": True}, "user.deleted")).status_code == 204
    assert_log_is_whole(stack)


def assert_harmless(html: str) -> None:
    """No user data became markup or a terminal's control sequence."""
    assert "<script" not in html
    assert "<img src=x" not in html
    assert html.count("<cwdb-action") == html.count("</cwdb-action>")
    assert "action='call'" not in html
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)


def assert_log_is_whole(stack: Stack) -> None:
    """Each line is one of ours: user data started no line, and no control character is in one."""
    for line in stack.function_log():
        assert line.isascii()
        assert line.rstrip("\r\n").replace("\t", " ").isprintable()
        if line.startswith("{"):
            assert json.loads(line).get("message") != "forged"
