import base64
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from clerk_sync.errors import SettingsError, Unauthorized
from clerk_sync.webhook.signature import verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + base64.b64encode(b"another key for the tests").decode()
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1_614_265_330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {"svix-id": ID, "svix-timestamp": str(AT), "svix-signature": SIGNATURE}
LATE = timedelta(minutes=5, seconds=1)


class Clock(datetime):
    late = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(AT, tz) + cls.late


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("standardwebhooks.webhooks.datetime", Clock)
    monkeypatch.setattr(Clock, "late", timedelta())


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    signature = Webhook(secret).sign(ID, datetime.fromtimestamp(AT, UTC), body.decode())
    return HEADERS | {"svix-signature": signature}


def test_svix_own_vector_is_accepted_and_gives_the_time_of_signing() -> None:
    assert verify(BODY, HEADERS, SECRET) == AT * 1000


@given(st.text())
def test_any_signed_text_is_accepted(text: str) -> None:
    verify(text.encode(), signed(text.encode()), SECRET)


@pytest.mark.parametrize("between", [",", " ", ", ", "\n", " ,, "])
@pytest.mark.parametrize("order", [1, -1])
def test_either_secret_is_accepted_during_a_rotation(order: int, between: str) -> None:
    secrets = between.join([SECRET, OTHER_SECRET][::order])
    verify(BODY, HEADERS, secrets)
    verify(BODY, signed(BODY, OTHER_SECRET), secrets)


def test_one_good_signature_of_several_is_enough() -> None:
    other = signed(BODY, OTHER_SECRET)["svix-signature"]
    for signatures in (f"{other} {SIGNATURE}", f"{SIGNATURE} {other}", f"v2,AAAA {SIGNATURE}"):
        verify(BODY, HEADERS | {"svix-signature": signatures}, SECRET)


def refused(body: bytes, headers: dict[str, str], *secrets: str) -> str:
    with pytest.raises(Unauthorized) as error:
        verify(body, headers, " ".join(secrets))
    return str(error.value)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", BODY + b" ", BODY + b"\n", BODY.replace(b"4", b"5", 1)),
        b'{"test":2432232314}',  # the same once parsed
        b'{"test": 2432232314.0}',
    ],
)
def test_changed_body_is_refused(body: bytes) -> None:
    refused(body, HEADERS, SECRET)


@pytest.mark.parametrize("body", [b"\xff\xfe", BODY + b"\x80", "é".encode("latin-1")])
def test_body_that_is_not_text_is_refused(body: bytes) -> None:
    refused(body, HEADERS, SECRET)


def test_other_secret_is_refused() -> None:
    refused(BODY, HEADERS, OTHER_SECRET)


@pytest.mark.parametrize("late", [LATE, -LATE])
def test_signature_older_than_five_minutes_or_ahead_is_refused(
    late: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clock, "late", late)
    assert "too" in refused(BODY, HEADERS, SECRET, OTHER_SECRET)


@pytest.mark.parametrize("late", [timedelta(minutes=4), timedelta(minutes=-4)])
def test_four_minutes_of_clock_skew_are_allowed(late: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "late", late)
    verify(BODY, HEADERS, SECRET)


@pytest.mark.parametrize("header", HEADERS)
def test_missing_or_empty_header_is_refused(header: str) -> None:
    refused(BODY, {name: value for name, value in HEADERS.items() if name != header}, SECRET)
    refused(BODY, HEADERS | {header: ""}, SECRET)


@pytest.mark.parametrize("header", ["svix-id", "svix-timestamp"])
def test_changed_id_or_timestamp_is_refused(header: str) -> None:
    refused(BODY, HEADERS | {header: HEADERS[header][:-1] + "9"}, SECRET)


any_header = st.text(st.characters(exclude_categories=()))
odd_times = st.sampled_from([str(AT), "nan", "inf", "-1", "1e999", "9" * 400, f" {AT}", "٣"])
odd_signatures = st.lists(
    st.sampled_from(["v1", "v1,", "v1,A", "v1,é", "v1,AA==", "v1,a,b", ",", "v2,x", ""])
)


@given(
    any_header,
    any_header | odd_times,
    any_header | odd_signatures.map(" ".join),
    st.sampled_from([BODY, b"\xff"]),
)
def test_any_headers_are_refused(message_id: str, timestamp: str, signature: str, body: bytes) -> None:
    odd = {"svix-id": message_id, "svix-timestamp": timestamp, "svix-signature": signature}
    refused(body, odd, SECRET, OTHER_SECRET)


def test_malformed_signature_after_a_good_one_is_passed_over() -> None:
    verify(BODY, HEADERS | {"svix-signature": f"{SIGNATURE} nonsense"}, SECRET)


def test_malformed_signature_before_a_good_one_is_passed_over() -> None:
    verify(BODY, HEADERS | {"svix-signature": f"nonsense {SIGNATURE}"}, SECRET)


NO_SECRETS = ["", "whsec_", "whsec_a", "whsec_é", "sk_test_madeUp", SECRET[6:], f'"{SECRET}"']


@pytest.mark.parametrize("secrets", [[], *([secret] for secret in NO_SECRETS), NO_SECRETS])
def test_secret_without_whsec_prefix_is_a_settings_error(secrets: list[str]) -> None:
    with pytest.raises(SettingsError) as error:
        verify(BODY, HEADERS, ",".join(secrets))
    assert "whsec_" in str(error.value)
    assert "unquoted" in str(error.value)
    assert not [secret for secret in secrets if len(secret) > 7 and secret in str(error.value)]


@pytest.mark.parametrize("malformed", NO_SECRETS)
def test_malformed_secret_beside_a_good_one_is_passed_over(malformed: str) -> None:
    for secrets in ([SECRET, malformed], [malformed, SECRET]):
        verify(BODY, HEADERS, ",".join(secrets))
        refused(BODY, signed(BODY, OTHER_SECRET), *secrets)
