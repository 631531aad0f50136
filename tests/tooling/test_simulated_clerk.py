"""The simulated Clerk keeps the promises that the other tests build on. Real HTTP throughout."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from xml.etree import ElementTree

import httpx
import jwt
import pytest

from tests.local.clerk.fake_users import User, broken_users, make_user, make_users, recent_users
from tests.local.clerk.faults import Fault, Request
from tests.local.clerk.instance_users import GoneCursor
from tests.local.clerk.session_tokens import KID, new_key
from tests.local.clerk.simulated_clerk import SimulatedClerk

KEY = "sk_test_local"


def client_of(clerk: SimulatedClerk, key: str | None = KEY, timeout: float = 10) -> httpx.Client:
    headers = {"Clerk-API-Version": "2026-05-12"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    # There is no TLS here, and reading the certificates takes longer than most of these tests.
    return httpx.Client(base_url=clerk.url, headers=headers, timeout=timeout, trust_env=False, verify=False)


@pytest.fixture
def clerk() -> Iterator[SimulatedClerk]:
    with SimulatedClerk(users=make_users(60)) as clerk:
        yield clerk


@pytest.fixture
def client(clerk: SimulatedClerk) -> Iterator[httpx.Client]:
    with client_of(clerk) as client:
        yield client


def listed(client: httpx.Client, **params: str | int | list[str]) -> list[str]:
    answer = client.get("/users", params=params)
    assert answer.status_code == 200, answer.text
    return [user["id"] for user in answer.json()]


def walk(client: httpx.Client, limit: int, order: str = "created_at") -> Iterator[list[str]]:
    """The pages of a walk by cursor."""
    params: dict[str, str | int] = {"limit": limit, "order_by": order}
    while True:
        page = listed(client, **params)
        yield page
        if len(page) < limit:
            return
        params["starting_after"] = page[-1]


def in_order(users: Iterable[User]) -> list[str]:
    return [u["id"] for u in sorted(users, key=lambda u: (u["created_at"], u["id"]))]


def fault(fault: Fault) -> Callable[[int, Request], Fault | None]:
    return lambda *_: fault


def error_of(answer: httpx.Response) -> User:
    body = answer.json()
    assert body["clerk_trace_id"]
    [error] = body["errors"]
    assert error["message"]
    assert error["long_message"]
    return dict(error)


class TestPeople:
    def test_same_number_gives_the_same_user(self) -> None:
        assert make_users(50, start=7) == [make_user(n) for n in range(7, 57)]

    def test_base_ms_shifts_every_time(self) -> None:
        early, late = make_user(3), make_user(3, base_ms=1_700_000_060_000)
        assert late["created_at"] - early["created_at"] == 60_000
        assert late["updated_at"] - early["updated_at"] == 60_000

    def test_recent_users_joined_and_were_active_up_to_now(self) -> None:
        now = 1_800_000_000_000
        users = recent_users(2_000, now, "http://127.0.0.1:8400/pictures")
        assert in_order(users) == in_order(make_users(2_000))
        year, minute = 365 * 86_400_000, 60_000
        for name in ("created_at", "last_sign_in_at", "updated_at"):
            times = sorted(user[name] for user in users if user[name])
            assert now - year < times[0] < now - year * 0.9
            assert now - 3 * minute < times[-1] < now
        for user in users:
            signed_in, active = user["last_sign_in_at"], user["last_active_at"]
            assert user["created_at"] <= (signed_in or user["created_at"]) <= user["updated_at"] < now
            assert active is None or signed_in - 86_400_000 < active <= signed_in
        assert recent_users(2_000, now + minute, "x")[7]["created_at"] == users[7]["created_at"] + minute

    def test_unique_values_do_not_repeat(self) -> None:
        users = make_users(5_000)
        emails = [e["email_address"] for u in users for e in u["email_addresses"]]
        assert len({u["id"] for u in users}) == 5_000
        assert len(set(emails)) == len(emails)
        assert all(e.endswith((".test", ".invalid")) for e in emails)
        assert all(len(u["id"]) == 32 and u["id"][5:].isalnum() for u in users)

    def test_users_have_the_size_of_real_ones(self) -> None:
        users = make_users(2_000)
        sizes = sorted(len(json.dumps(user, separators=(",", ":"))) for user in users)
        assert sizes[0] > 1_400
        assert sizes[1_000] < 1_800
        assert sizes[-11] < 2_400
        assert [size > 20_000 for size in sizes[-11:]] == [False] + [True] * 10

    @pytest.mark.parametrize(
        ("share", "kind"),
        [
            (0.15, lambda u: not u["email_addresses"]),
            (0.05, lambda u: u["phone_numbers"] and not u["email_addresses"]),
            (0.05, lambda u: u["web3_wallets"] and not u["email_addresses"]),
            (0.05, lambda u: u["email_addresses"] and not u["primary_email_address_id"]),
            (0.05, lambda u: u["first_name"] is None and u["last_name"] is None),
            (0.05, lambda u: u["last_sign_in_at"] is None and u["last_active_at"] is None),
            (0.05, lambda u: u["banned"]),
            (0.05, lambda u: u["locked"]),
            (0.05, lambda u: u["external_accounts"]),
            (0.05, lambda u: u["saml_accounts"]),
            (0.05, lambda u: "risk" in u),
            (0.005, lambda u: len(u["public_metadata"]) > 1),
        ],
    )
    def test_every_kind_of_user_has_its_share(self, share: float, kind: Callable[[User], bool]) -> None:
        assert sum(bool(kind(user)) for user in make_users(2_000)) == 2_000 * share

    def test_the_primary_email_is_often_not_the_first(self) -> None:
        users = [u for u in make_users(200) if u["primary_email_address_id"]]
        positions = Counter(
            [e["id"] for e in u["email_addresses"]].index(u["primary_email_address_id"]) for u in users
        )
        assert positions == {0: 200 - 30 - 10 - 20, 1: 20}

    def test_names_include_many_scripts_and_markup(self) -> None:
        names = "".join(user["first_name"] or "" for user in make_users(200))
        for part in ("\u0645", "\u0308", "\U0001f680", "\u738b", "<script>", '"', "'", "\n"):
            assert part in names

    def test_seven_users_of_every_fifty_share_a_created_at(self) -> None:
        shared = Counter(user["created_at"] for user in make_users(500))
        assert Counter(shared.values()) == {1: 430, 7: 10}

    def test_broken_users_are_the_same_every_time_and_can_be_sent(self) -> None:
        broken = broken_users()
        assert broken == broken_users()
        texts = [json.dumps(user) for user in broken]
        assert [json.loads(text) for text in texts] == broken
        assert len(set(texts)) == len(texts) > 20
        assert any("\\ud800" in text for text in texts)


class TestAccess:
    def test_request_without_the_secret_key_is_rejected(self, clerk: SimulatedClerk) -> None:
        for key, code in ((None, "authorization_header_missing"), ("no", "clerk_key_invalid")):
            with client_of(clerk, key) as client:
                answer = client.get("/users")
            assert answer.status_code == 401
            assert error_of(answer)["code"] == code

    @pytest.mark.parametrize("path", ["/nothing", "/users/", "/users/a/b", "/users/user_none"])
    def test_unknown_path_is_a_404(self, client: httpx.Client, path: str) -> None:
        answer = client.get(path)
        assert answer.status_code == 404
        assert error_of(answer)["code"] == "resource_not_found"

    @pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
    def test_other_methods_are_a_405(self, client: httpx.Client, method: str) -> None:
        answer = client.request(method, "/users", content=b"{}")
        assert answer.status_code == 405
        assert error_of(answer)["code"] == "method_not_allowed"
        assert listed(client, limit=1)

    def test_requests_are_recorded(self, clerk: SimulatedClerk, client: httpx.Client) -> None:
        client.get("/users", params={"user_id": ["a", "b"], "limit": "5"})
        client.get("/users/none")
        first, second = clerk.requests
        assert (first.method, first.path, first.status) == ("GET", "/v1/users", 200)
        assert first.query == {"user_id": ["a", "b"], "limit": ["5"]}
        assert (second.path, second.status) == ("/v1/users/none", 404)
        assert first.at <= second.at

    def test_closed_server_does_not_answer(self) -> None:
        clerk = SimulatedClerk()
        with pytest.raises(RuntimeError):
            _ = clerk.url
        with clerk, client_of(clerk) as client:
            assert listed(client) == []
            clerk.close()
            with pytest.raises(httpx.TransportError):
                client.get("/users")


class TestSessions:
    def test_published_keys_verify_its_tokens(self, clerk: SimulatedClerk) -> None:
        token = clerk.token("user_1", org="org_1")
        keys = jwt.PyJWKClient(f"{clerk.issuer}/.well-known/jwks.json", timeout=5)
        key = keys.get_signing_key_from_jwt(token)
        claims = jwt.decode(token, key, algorithms=["RS256"], issuer=clerk.issuer)
        assert (claims["sub"], claims["org"]) == ("user_1", "org_1")
        assert clerk.url == f"{clerk.issuer}/v1"

    def test_keys_need_no_secret_key_and_do_not_count_against_the_rate_limit(self) -> None:
        with SimulatedClerk(rate_limit=1) as clerk, client_of(clerk, key=None) as client:
            answers = [client.get(f"{clerk.issuer}/.well-known/jwks.json") for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200] * 3
            assert [key["kid"] for key in answers[0].json()["keys"]] == [KID]
            assert client.post(f"{clerk.issuer}/.well-known/jwks.json").status_code == 405
            clerk.on_request = fault(Fault.status(503))
            assert client.get(f"{clerk.issuer}/.well-known/jwks.json").status_code == 503
            clerk.on_request = None
            with client_of(clerk) as paying:
                assert listed(paying) == []
        path = "/.well-known/jwks.json"
        assert [request.path for request in clerk.requests] == [path] * 5 + ["/v1/users"]

    def test_keys_are_rotated(self, clerk: SimulatedClerk, client: httpx.Client) -> None:
        old = clerk.token("user_1")
        clerk.session_keys["ins_new"] = new_key()
        kids = [jwt.get_unverified_header(token)["kid"] for token in (old, clerk.token("user_1"))]
        assert kids == [KID, "ins_new"]
        del clerk.session_keys[KID]
        answer = client.get(f"{clerk.issuer}/.well-known/jwks.json")
        assert [key["kid"] for key in answer.json()["keys"]] == ["ins_new"]


class TestListing:
    def test_a_page_is_a_bare_list_of_whole_users(self, client: httpx.Client) -> None:
        answer = client.get("/users", params={"limit": 500})
        assert answer.headers["content-type"] == "application/json"
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert sorted(answer.json(), key=lambda u: u["id"]) == sorted(make_users(60), key=lambda u: u["id"])

    def test_newest_users_come_first_by_default(self, client: httpx.Client) -> None:
        oldest_first = in_order(make_users(60))
        assert listed(client) == oldest_first[:-11:-1]
        assert listed(client, limit=500, order_by="created_at") == oldest_first
        assert listed(client, limit=500, order_by="+created_at") == oldest_first
        assert listed(client, limit=500, order_by="-created_at") == oldest_first[::-1]
        raw = client.get("/users?limit=500&order_by=+created_at")
        assert [user["id"] for user in raw.json()] == oldest_first

    @pytest.mark.parametrize(("limit", "rows"), [(1, 1), (59, 59), (500, 60), (501, 10)])
    def test_limit_above_500_falls_back_to_10(self, client: httpx.Client, limit: int, rows: int) -> None:
        assert len(listed(client, limit=limit)) == rows

    def test_offset_skips_users(self, client: httpx.Client) -> None:
        everyone = listed(client, limit=500)
        assert listed(client, limit=20, offset=50) == everyone[50:]
        assert listed(client, offset=60) == []

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("limit", "0"),
            ("limit", "ten"),
            ("limit", "-1"),
            ("limit", ""),
            ("offset", "-1"),
            ("offset", "x"),
            ("order_by", "shoe_size"),
            ("created_at_after", "yesterday"),
            ("user_id", ["x"] * 101),
            ("email_address", ["x"] * 101),
            ("updated_at_after", "1"),
        ],
    )
    def test_bad_parameters_are_a_422(self, client: httpx.Client, name: str, value: str | list[str]) -> None:
        answer = client.get("/users", params={name: value})
        assert answer.status_code == 422
        assert error_of(answer)["meta"] == {"param_name": name}

    @pytest.mark.parametrize(
        "name",
        [
            "updated_at",
            "last_active_at",
            "last_sign_in_at",
            "first_name",
            "last_name",
            "username",
            "email_address",
            "phone_number",
            "web3wallet",
        ],
    )
    def test_every_order_runs_both_ways(self, client: httpx.Client, name: str) -> None:
        upwards = listed(client, limit=500, order_by=name)
        assert len(set(upwards)) == 60
        assert listed(client, limit=500, order_by=f"-{name}") == upwards[::-1]

    def test_orders_sort_by_the_value_then_the_id(self, client: httpx.Client) -> None:
        answer = client.get("/users", params={"limit": 500, "order_by": "last_name"})
        places = [(user["last_name"], user["id"]) for user in answer.json() if user["last_name"]]
        assert len(places) == 57
        assert places == sorted(places)

    def test_an_order_follows_changes(self, clerk: SimulatedClerk, client: httpx.Client) -> None:
        assert len(listed(client, order_by="-updated_at")) == 10
        changed = clerk.ids()[30]
        clerk.update(changed, first_name="New")
        assert listed(client, order_by="-updated_at", limit=1) == [changed]
        clerk.update(clerk.ids()[5], updated_at=2**62)
        assert listed(client, order_by="-updated_at", limit=2) == [clerk.ids()[5], changed]


class TestFilters:
    @pytest.mark.parametrize(
        "name", ["created_at", "last_active_at", "last_sign_in_at", "last_active_at_since"]
    )
    def test_time_filters_split_the_users(self, client: httpx.Client, name: str) -> None:
        field = name.removesuffix("_since")
        users = [user for user in make_users(60) if user[field] is not None]
        middle = sorted(user[field] for user in users)[30]
        expected = {
            f"{field}_before": {u["id"] for u in users if u[field] < middle},
            f"{field}_after": {u["id"] for u in users if u[field] > middle},
            "last_active_at_since": {u["id"] for u in users if u[field] >= middle},
        }
        chosen = [name] if name in expected else [f"{field}_before", f"{field}_after"]
        for parameter in chosen:
            params = {parameter: middle}
            assert set(listed(client, limit=500, **params)) == expected[parameter]
            count = client.get("/users/count", params=params).json()
            assert count == {"object": "total_count", "total_count": len(expected[parameter])}

    def test_unknown_ids_are_left_out(self, clerk: SimulatedClerk, client: httpx.Client) -> None:
        wanted = clerk.ids()[:3]
        assert listed(client, user_id=[*wanted, "user_none"], order_by="created_at") == wanted
        many = [*clerk.ids(), *map(str, range(40))]
        assert len(listed(client, user_id=many, limit=100)) == 60
        assert listed(client, user_id=["user_none"]) == []

    def test_email_filter_finds_addresses_that_are_not_primary(self, client: httpx.Client) -> None:
        user = next(u for u in make_users(60) if len(u["email_addresses"]) == 2)
        for entry in user["email_addresses"]:
            address = entry["email_address"].upper()
            assert listed(client, email_address=[address, "no@mail.test"]) == [user["id"]]

    def test_query_matches_a_part_of_a_text(self, client: httpx.Client) -> None:
        assert listed(client, query=make_user(8)["id"][3:20]) == [make_user(8)["id"]]
        assert listed(client, query="<SCRIPT>") == []  # first seen at user 83
        count = client.get("/users/count", params={"query": "abel"}).json()["total_count"]
        assert count == sum(u["last_name"] == "Abel" for u in make_users(60)) > 3

    def test_count_counts_every_user_and_rejects_paging(self, client: httpx.Client) -> None:
        assert client.get("/users/count").json()["total_count"] == 60
        assert client.get("/users/count", params={"limit": 5}).status_code == 422

    def test_filters_work_with_a_cursor(self, clerk: SimulatedClerk, client: httpx.Client) -> None:
        since = make_user(30)["created_at"]
        params: dict[str, str | int] = {"created_at_after": since, "order_by": "created_at"}
        first = listed(client, limit=20, **params)
        assert first == in_order(make_users(29, start=31))[:20]
        assert listed(client, starting_after=first[-1], limit=20, **params) == clerk.ids()[51:]


class TestCursor:
    @pytest.mark.parametrize("order", ["created_at", "-created_at"])
    @pytest.mark.parametrize("limit", [1, 7, 10, 60, 500])
    def test_listing_by_cursor_returns_every_user_once_although_times_are_equal(
        self, clerk: SimulatedClerk, client: httpx.Client, order: str, limit: int
    ) -> None:
        listed = [user_id for page in walk(client, limit, order) for user_id in page]
        assert listed == (clerk.ids() if order == "created_at" else clerk.ids()[::-1])
        assert len(set(listed)) == 60

    def test_ascending_listing_includes_users_added_meanwhile(
        self, clerk: SimulatedClerk, client: httpx.Client
    ) -> None:
        def grow(number: int, request: Request) -> None:
            clerk.add(*make_users(2, start=58 + 2 * number))

        clerk.on_request = grow
        listed = [user_id for page in walk(client, 10) for user_id in page]
        assert len(listed) == len(set(listed)) == 76
        assert listed == clerk.ids()

    @pytest.mark.parametrize("extra", [{"order_by": "updated_at"}, {"order_by": "-username"}, {"offset": 1}])
    def test_cursor_requires_created_at_order_and_no_offset(
        self, clerk: SimulatedClerk, client: httpx.Client, extra: dict[str, str | int]
    ) -> None:
        extra["starting_after"] = clerk.ids()[3]
        answer = client.get("/users", params=extra)
        assert answer.status_code == 422
        assert error_of(answer)["meta"] == {"param_name": "starting_after"}
        assert len(listed(client, starting_after=clerk.ids()[30], offset=0)) == 10

    @pytest.mark.parametrize("order", ["created_at", "-created_at"])
    @pytest.mark.parametrize("mode", ["reject", "empty", "position", "restart"])
    def test_cursor_of_a_deleted_user_behaves_as_configured(self, mode: GoneCursor, order: str) -> None:
        with (
            SimulatedClerk(users=make_users(60), gone_cursor=mode) as clerk,
            client_of(clerk) as client,
        ):
            everyone = clerk.ids() if order == "created_at" else clerk.ids()[::-1]
            gone = everyone[22]
            clerk.delete(gone)
            params = {"starting_after": gone, "order_by": order, "limit": "500"}
            answer = client.get("/users", params=params)
        if mode == "reject":
            assert answer.status_code == 404
            assert error_of(answer)["code"] == "resource_not_found"
            return
        rest = {"empty": [], "position": everyone[23:], "restart": everyone[:22] + everyone[23:]}
        assert [user["id"] for user in answer.json()] == rest[mode]

    def test_cursor_of_an_unknown_user_is_rejected(self) -> None:
        with SimulatedClerk(gone_cursor="position") as clerk, client_of(clerk) as client:
            assert client.get("/users?starting_after=user_none").status_code == 404


class TestInstance:
    def test_single_user_is_returned_by_id(self, clerk: SimulatedClerk, client: httpx.Client) -> None:
        user = make_user(4)
        path = f"/users/{user['id']}"
        assert client.get(path).json() == user == clerk.get(user["id"])
        clerk.update(user["id"], first_name="Eve")
        changed = client.get(path).json()
        assert changed["first_name"] == "Eve"
        assert changed["updated_at"] > user["updated_at"]
        clerk.delete(user["id"])
        assert client.get(path).status_code == 404
        assert clerk.get(user["id"]) is None
        assert len(clerk) == 59

    def test_each_user_has_a_picture_of_their_own(self, clerk: SimulatedClerk) -> None:
        drawn = set()
        for user in recent_users(20, 1_800_000_000_000, clerk.pictures):
            assert user["image_url"].startswith("https:")
            answer = httpx.get(user["image_url"].replace("https:", "http:"))  # no key: a browser has none
            assert answer.headers["Content-Type"] == "image/svg+xml"
            assert ElementTree.fromstring(answer.text).tag == "{http://www.w3.org/2000/svg}svg"
            drawn.add(answer.content)
        assert len(drawn) == 20
        assert httpx.get(f"{clerk.issuer}/pictures/a/b.svg").status_code == 401

    def test_returned_users_are_copies(self, clerk: SimulatedClerk) -> None:
        mine = make_user(100)
        clerk.add(mine)
        for user in (mine, *clerk.users(), clerk.get(mine["id"])):
            assert user
            user["email_addresses"].append("spoilt")
        assert all("spoilt" not in user["email_addresses"] for user in clerk.users())

    def test_impossible_changes_raise(self, clerk: SimulatedClerk) -> None:
        with pytest.raises(ValueError, match="already"):
            clerk.add(make_user(1))
        with pytest.raises(KeyError):
            clerk.update("user_none")
        with pytest.raises(KeyError):
            clerk.delete("user_none")

    def test_deleted_user_can_be_added_again(self, clerk: SimulatedClerk) -> None:
        clerk.delete(make_user(1)["id"])
        clerk.add(make_user(1))
        assert clerk.ids() == in_order(make_users(60))

    def test_broken_users_are_served_unchanged(self) -> None:
        broken = broken_users()
        with (
            SimulatedClerk(users=[*make_users(5), *broken]) as clerk,
            client_of(clerk) as client,
        ):
            answer = client.get("/users", params={"limit": 500, "order_by": "created_at"})
            served = answer.json()
            assert len(served) == len(clerk) == 5 + len(broken)
            assert all(user in served for user in broken)
            assert served[-1]["id"]  # so that a walk can go on from the last one
            for order in ("email_address", "-first_name", "updated_at", "username"):
                ordered = client.get("/users", params={"limit": 500, "order_by": order})
                assert len(ordered.json()) == len(served)
            assert client.get("/users/count?query=ada&last_active_at_after=1").is_success

    def test_concurrent_clients_are_served(self, clerk: SimulatedClerk) -> None:
        def one_walk(n: int) -> int:
            clerk.add(make_user(1_000 + n))
            with client_of(clerk) as client:
                return len({user_id for page in walk(client, 5) for user_id in page})

        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(one_walk, range(16)))
        assert len(clerk) == 76
        assert all(61 <= size <= 76 for size in sizes)
        assert {request.status for request in clerk.requests} == {200}


class TestRateLimit:
    def test_requests_over_the_rate_limit_get_429_until_the_window_ends(self) -> None:
        with SimulatedClerk(rate_limit=3, rate_window=0.5) as clerk, client_of(clerk) as client:
            statuses = [client.get("/users").status_code for _ in range(5)]
            assert statuses == [200, 200, 200, 429, 429]
            deadline = time.monotonic() + 5
            while client.get("/users").status_code == 429:
                assert time.monotonic() < deadline
            assert clerk.requests[-1].at - clerk.requests[0].at >= 0.49

    def test_retry_after_is_in_whole_seconds(self) -> None:
        with SimulatedClerk(rate_limit=1) as clerk, client_of(clerk) as client:
            client.get("/users")
            answer = client.get("/users")
        assert error_of(answer)["code"] == "too_many_requests"
        assert answer.headers["retry-after"] == "10"

    def test_latency_delays_every_request(self) -> None:
        with SimulatedClerk(latency=0.05) as clerk, client_of(clerk) as client:
            started = time.monotonic()
            for _ in range(3):
                client.get("/users")
            assert time.monotonic() - started >= 0.15
            assert all(b.at - a.at >= 0.05 for a, b in pairwise(clerk.requests))


class TestFaults:
    def test_hook_sees_every_request_and_can_answer_some(
        self, clerk: SimulatedClerk, client: httpx.Client
    ) -> None:
        seen: list[tuple[int, str, dict[str, list[str]]]] = []

        def hook(number: int, request: Request) -> Fault | None:
            seen.append((number, request.path, request.query))
            return Fault.status(503, {"Retry-After": "2"}) if number == 2 else None

        clerk.on_request = hook
        answers = [client.get("/users/count", params={"query": n}) for n in "abc"]
        assert [answer.status_code for answer in answers] == [200, 503, 200]
        assert answers[1].headers["retry-after"] == "2"
        assert error_of(answers[1])["code"] == "simulated_fault"
        assert seen == [(n, "/v1/users/count", {"query": [q]}) for n, q in enumerate("abc", 1)]
        assert [request.status for request in clerk.requests] == [200, 503, 200]

    def test_fault_answers_with_status_headers_and_body(
        self, clerk: SimulatedClerk, client: httpx.Client
    ) -> None:
        clerk.on_request = fault(Fault.html(502))
        answer = client.get("/users")
        assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html")
        clerk.on_request = fault(Fault.html(403, {"cf-mitigated": "challenge"}))
        answer = client.get("/users")
        assert (answer.status_code, answer.headers["cf-mitigated"]) == (403, "challenge")
        clerk.on_request = fault(Fault.status(500, body=b"oops"))
        assert client.get("/users").content == b"oops"
        clerk.on_request = fault(Fault.garbled())
        answer = client.get("/users")
        assert answer.status_code == 200
        with pytest.raises(json.JSONDecodeError):
            answer.json()
        clerk.on_request = fault(Fault.not_a_list())
        answer = client.get("/users")
        assert answer.status_code == 200
        assert isinstance(answer.json(), dict)

    def test_fault_can_end_the_connection_early(self, clerk: SimulatedClerk, client: httpx.Client) -> None:
        for broken in (Fault.drop(), Fault.half_body()):
            clerk.on_request = fault(broken)
            with pytest.raises(httpx.RemoteProtocolError):
                client.get("/users")
        assert [request.status for request in clerk.requests] == [0, 200]
        clerk.on_request = None
        assert len(listed(client)) == 10

    def test_hang_lasts_the_given_seconds(self, clerk: SimulatedClerk, client: httpx.Client) -> None:
        clerk.on_request = fault(Fault.hang(0.1))
        started = time.monotonic()
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/users")
        assert time.monotonic() - started >= 0.1

    def test_client_can_give_up_during_a_hang(self, clerk: SimulatedClerk) -> None:
        clerk.on_request = fault(Fault.hang(60))
        with client_of(clerk, timeout=0.1) as client, pytest.raises(httpx.ReadTimeout):
            client.get("/users")

    def test_close_ends_a_hang(self) -> None:
        hanging = threading.Event()
        with ThreadPoolExecutor(1) as pool, SimulatedClerk() as clerk, client_of(clerk) as client:

            def hang(number: int, request: Request) -> Fault:
                hanging.set()
                return Fault.hang(60)

            clerk.on_request = hang
            waiting = pool.submit(client.get, "/users")
            assert hanging.wait(5)
            started = time.monotonic()
            clerk.close()
            with pytest.raises(httpx.TransportError):
                waiting.result(5)
            assert time.monotonic() - started < 5
