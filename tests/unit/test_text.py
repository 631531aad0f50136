import pytest

from clerk_sync.text import counted, sentence


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 users"), (1, "1 user"), (2, "2 users"), (12_000, "12,000 users")]
)
def test_count_agrees_with_its_noun(number: int, text: str) -> None:
    assert counted(number, "user") == text


@pytest.mark.parametrize(
    "reason", ["Clerk is down", "Clerk is down.", "Clerk is down..", ValueError("Clerk is down.")]
)
def test_sentence_ends_with_one_full_stop(reason: object) -> None:
    assert sentence(reason) == "Clerk is down."
