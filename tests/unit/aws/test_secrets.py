import pytest

from clerk_sync.aws import secrets as secret
from clerk_sync.aws.secrets import CachedSecret, Secret, read_secret
from clerk_sync.errors import AwsError, SettingsError


class Ssm:
    """What `read_secret` finds, how often it is asked, and the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.value = "whsec_old"
        self.asked = 0
        self.now = 1_000.0
        self.error: Exception | None = None
        monkeypatch.setattr(secret, "read_secret", self.read)
        monkeypatch.setattr("clerk_sync.aws.secrets.time.monotonic", lambda: self.now)

    def read(self, parameter: str, variable: str) -> Secret:
        self.asked += 1
        if self.error:
            raise self.error
        return Secret(self.value, parameter, variable)


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Ssm:
    return Ssm(monkeypatch)


def test_a_secret_is_read_once_and_again_after_five_minutes(ssm: Ssm) -> None:
    cached = CachedSecret("/p", "V")
    for _ in range(3):
        assert cached.get().value == "whsec_old"
    assert ssm.asked == 1
    ssm.now += CachedSecret.KEPT_SECONDS + 1
    ssm.value = "whsec_new"
    assert cached.get().value == "whsec_new"
    assert ssm.asked == 2


def test_a_secret_is_kept_while_ssm_does_not_answer(ssm: Ssm) -> None:
    cached = CachedSecret("/p", "V")
    ssm.error = AwsError("SSM is down")
    with pytest.raises(AwsError):
        cached.get()
    ssm.error = None
    cached.get()
    ssm.error, ssm.value = AwsError("SSM is down"), "whsec_new"
    ssm.now += CachedSecret.KEPT_SECONDS + 1
    assert cached.get().value == "whsec_old"
    ssm.error = None
    ssm.now += CachedSecret.KEPT_SECONDS + 1
    assert cached.get().value == "whsec_new"
    ssm.error = SettingsError("There is none any more")
    ssm.now += CachedSecret.KEPT_SECONDS + 1
    with pytest.raises(SettingsError):
        cached.get()


def test_replaced_secret_is_read_at_most_once_a_minute(ssm: Ssm) -> None:
    cached = CachedSecret("/p", "V")
    cached.get()
    ssm.value = "whsec_new"
    assert cached.replaced() is None, "it was read just now"
    ssm.now += CachedSecret.AGAIN_SECONDS + 1
    found = cached.replaced()
    assert found is not None
    assert found.value == "whsec_new"
    ssm.now += CachedSecret.AGAIN_SECONDS + 1
    assert cached.replaced() is None, "it is still the same"
    for _ in range(50):
        assert cached.replaced() is None
    assert ssm.asked == 3


@pytest.mark.parametrize("error", [AwsError("SSM is down"), SettingsError("It is empty")])
def test_failed_read_of_a_replaced_secret_counts_and_keeps_the_last_one(error: Exception, ssm: Ssm) -> None:
    cached = CachedSecret("/p", "V")
    cached.get()
    ssm.now += CachedSecret.AGAIN_SECONDS
    ssm.error = error
    with pytest.raises(type(error)):
        cached.replaced()
    for _ in range(50):
        assert cached.replaced() is None
    assert cached.get().value == "whsec_old"
    assert ssm.asked == 2
    ssm.error, ssm.value = None, "whsec_new"
    ssm.now += CachedSecret.AGAIN_SECONDS
    found = cached.replaced()
    assert found is not None
    assert found.value == "whsec_new"
    assert cached.get() == found


def test_environment_variable_takes_precedence_over_ssm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLERK_SECRET_KEY", " sk_test_x\n")
    found = read_secret("/clerk-sync/secret-key", "CLERK_SECRET_KEY")
    assert found.value == "sk_test_x"
    assert "CLERK_SECRET_KEY" in found.source
    assert "sk_test_x" not in repr(found)


@pytest.mark.parametrize("value", ["sk_\u00e9", "two\nlines"])
def test_secret_that_cannot_be_a_header_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CLERK_SECRET_KEY", value)
    with pytest.raises(SettingsError, match="CLERK_SECRET_KEY") as error:
        read_secret("/p", "CLERK_SECRET_KEY")
    assert value not in str(error.value)
    assert "one line of ASCII" in str(error.value), "two secrets on two lines are plain text too"
