"""What other commands read about a local AWS that is kept up."""

from pathlib import Path

import pytest

from tests.local.commands import kept
from tests.local.commands.kept import container_issuer, local_issuer

ISSUER = "https://clerk.local.test"


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (None, "http://127.0.0.1:8400", "http://127.0.0.1:8400"),
        ('{"Parameters": {}}', "http://127.0.0.1:8400", "http://127.0.0.1:8400"),
        (
            '{"Parameters": {"CLERK_ISSUER": "http://host.docker.internal:9"}}',
            "http://host.docker.internal:9",
            "http://127.0.0.1:9",
        ),
    ],
)
def test_token_names_the_issuer_that_run_keep_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, inside: str, outside: str
) -> None:
    monkeypatch.setattr(kept, "_ENV_FILE", tmp_path / "env.json")
    if text is not None:
        (tmp_path / "env.json").write_text(text)
    assert (container_issuer(), local_issuer()) == (inside, outside)
    monkeypatch.setenv("CLERK_ISSUER", ISSUER)
    assert container_issuer() == ISSUER
