"""A user's name can't control the terminal in which it is shown."""

from typing import Any

import pytest

from tests.local.commands import run, send
from tests.local.commands.terminal import plain

ODD = "Zoë 🎉 \x1b[2J\x1b]0;owned\x07\x9b31m\r\x00\u202egnp\u2028\ud800"


def assert_seen(shown: str) -> None:
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "Zoë 🎉 " in shown
    assert "owned" in shown


def test_printable_text_stays_unchanged() -> None:
    assert plain("Zoë 王小明 🎉 {}'\"") == "Zoë 王小明 🎉 {}'\""
    assert plain("a\x9b31m\u202e\ud800\n") == r"a\x9b31m\u202e\ud800\n"


def test_a_webhook_that_is_sent() -> None:
    assert_seen(send._shown({"firstName": ODD}))


def test_the_rows_of_a_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(ODD, {"firstName": ODD})]
    monkeypatch.setattr(run, "_rows", lambda *_: iter(rows))
    result: Any = {"status": "COMPLETED", "errors": [{"clerkUserId": ODD}]}
    aws: Any = None
    run._report(aws, {"UsersTable": "Users"}, result, {"user_1": {}})
    assert_seen(capsys.readouterr().out)
