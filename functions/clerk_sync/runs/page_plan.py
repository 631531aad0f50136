"""What a page found and will do, recorded before its first write: a later delivery finds the rows right."""

from collections.abc import Sequence
from string import ascii_letters

from clerk_sync.users.drift import Finding, FindingKind, Findings
from clerk_sync.users.upsert import Plan, Planned

_KINDS = (None, *FindingKind)
_NOTHING = "."


def encode(plan: Plan, user_ids: Sequence[str]) -> str:
    """One character for each user of the page, as DynamoDB charges by the KB."""
    return "".join(_code(plan.get(user_id)) for user_id in user_ids)


def decode(codes: str, named: Findings, user_ids: Sequence[str]) -> dict[str, Planned]:
    """The reverse of `encode`. Fields are known of the users that the findings name."""
    fields = {user["clerkUserId"]: user["fields"] for kind in named.values() for user in kind["users"]}
    return {
        user_id: _planned(user_id, code, tuple(fields.get(user_id, ())))
        for user_id, code in zip(user_ids, codes, strict=True)
        if code != _NOTHING
    }


def _code(planned: Planned | None) -> str:
    if planned is None:
        return _NOTHING
    finding = planned.finding
    kind = _KINDS.index(finding.kind if finding else None)
    missed_by_webhook = bool(finding and finding.missed_by_webhook)
    return ascii_letters[(planned.creates * len(_KINDS) + kind) * 2 + missed_by_webhook]


def _planned(user_id: str, code: str, fields: tuple[str, ...]) -> Planned:
    rest, missed_by_webhook = divmod(ascii_letters.index(code), 2)
    creates, kind_index = divmod(rest, len(_KINDS))
    kind = _KINDS[kind_index]
    return Planned(bool(creates), Finding(user_id, kind, fields, bool(missed_by_webhook)) if kind else None)
