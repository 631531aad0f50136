"""Whether a known vulnerability is in what is deployed, as pip-audit knows it from PyPI's advisories.

If PyPI can't be reached, that is printed and does not fail the check.
"""

import json
import subprocess
import sys

from tests.local.aws.local_aws import LOCAL, ROOT

DEPLOYED = "functions/requirements.txt"
AUDIT = [
    str(LOCAL / "check/bin/pip-audit"),
    *("--requirement", DEPLOYED, "--require-hashes", "--disable-pip"),
    *("--format", "json", "--progress-spinner", "off", "--timeout", "10"),
]


def main() -> int:
    audit = subprocess.run(AUDIT, cwd=ROOT, capture_output=True, text=True)
    status, said = verdict(audit.stdout, audit.stderr)
    print(said)
    return status


def verdict(report: str, complaint: str) -> tuple[int, str]:
    """The exit status and the message for pip-audit's report or, if there is none, for its error output."""
    if not report.strip():
        return _without_report(complaint.strip())
    packages = json.loads(report)["dependencies"]
    found = [
        f"VULNERABLE: {package['name']} {package['version']}: {one['id']}, fixed in "
        f"{', '.join(one['fix_versions']) or 'no version yet'}"
        for package in packages
        for one in package.get("vulns", [])
    ]
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    said = [f"NOT AUDITED: {len(skipped)} of {len(packages)} packages: {skipped[0]}"] if skipped else []
    if not found and not skipped:
        said = [f"No known vulnerability in the {len(packages)} packages of {DEPLOYED}"]
    return int(bool(found)), "\n".join(found + said)


def _without_report(complaint: str) -> tuple[int, str]:
    last = complaint.rpartition("\n")[2]
    if last.startswith("requests.exceptions."):
        return 0, f"NOT AUDITED: the advisories can't be reached: {last}"
    return 1, f"pip-audit failed: {complaint}"


if __name__ == "__main__":
    sys.exit(main())
