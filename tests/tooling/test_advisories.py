"""How `check` reads pip-audit's report."""

import json
from typing import Any

import pytest

from tests.local.commands.advisories import verdict

SOUND = {"name": "httpx", "version": "0.28.1", "vulns": []}
SKIPPED = {"name": "idna", "skip_reason": "Dependency not found on PyPI"}
VULNERABLE = {
    "name": "h11",
    "version": "0.15.0",
    "vulns": [
        {"id": "CVE-2025-43859", "fix_versions": ["0.16.0"], "aliases": [], "description": "…"},
        {"id": "CVE-2026-1", "fix_versions": [], "aliases": [], "description": "…"},
    ],
}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([SOUND, SOUND], 0, ["No known vulnerability in the 2 packages of functions/requirements.txt"]),
        ([SOUND, SKIPPED], 0, ["NOT AUDITED: 1 of 2 packages: Dependency not found on PyPI"]),
        (
            [SKIPPED, VULNERABLE, SOUND],
            1,
            [
                "VULNERABLE: h11 0.15.0: CVE-2025-43859, fixed in 0.16.0",
                "VULNERABLE: h11 0.15.0: CVE-2026-1, fixed in no version yet",
                "NOT AUDITED: 1 of 3 packages: Dependency not found on PyPI",
            ],
        ),
    ],
)
def test_vulnerability_fails_the_check_and_unaudited_packages_are_printed(
    packages: list[dict[str, Any]], status: int, said: list[str]
) -> None:
    assert verdict(json.dumps({"dependencies": packages, "fixes": []}), "") == (status, "\n".join(said))


def test_unreachable_advisories_are_printed_and_do_not_fail_the_check() -> None:
    status, said = verdict(
        "", "Traceback (most recent call last):\nrequests.exceptions.ReadTimeout: too long\n"
    )
    assert (status, said) == (
        0,
        "NOT AUDITED: the advisories can't be reached: requests.exceptions.ReadTimeout: too long",
    )


def test_any_other_failure_of_pip_audit_fails_the_check() -> None:
    assert verdict("", "ERROR:pip_audit._cli:invalid requirements input: none.txt\n")[0] == 1
    assert verdict("", "")[0] == 1
