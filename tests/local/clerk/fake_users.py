"""Made-up Clerk users: whole payloads, many of them awkward. The same number gives the same user."""

import hashlib
import string
from collections.abc import Callable
from typing import Any

type User = dict[str, Any]

BASE_MS = 1_700_000_000_000
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_YEAR_MS = 365 * _DAY_MS
_SIGN_INS_MS = 90 * 3_600_000
"""How long after they were created users sign in."""
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_FIRST = ("Ada", "Bram", "Chioma", "Dov", "Elif", "Farid", "Grete", "Hana", "Ines", "Jonas", "Kofi")
_LAST = ("Abel", "Brandt", "Castro", "Dumas", "Eze", "Fujita", "Gallo", "Horvat", "Ibarra")
_HARD_NAMES = (
    "\u0645\u062d\u0645\u062f \u0627\u0644\u0642\u0627\u0636\u064a",  # Arabic: right to left
    "Zoe\u0308 N\u0303un\u0303ez",  # combining marks instead of composed letters
    "\U0001f98a \U0001f469\u200d\U0001f680",  # emoji, one of them joined from two
    "\u738b\u5c0f\u660e",  # Chinese
    "<script>alert(1)</script>",
    'Pat "Slash\\" O\'Neil',
    "Two\nLines",
)


def make_user(n: int, *, base_ms: int = BASE_MS) -> User:
    """User number `n`. Everything about the user follows from the number."""
    user = _plain(n, base_ms)
    _KINDS[n % len(_KINDS)](user, n)
    if n % 200 == 199:
        user["public_metadata"] = {f"note_{i}": _token("note", n + i, 40) * 10 for i in range(100)}
    return user


def make_users(count: int, *, start: int = 0, base_ms: int = BASE_MS) -> list[User]:
    """Users number ``start`` to ``start + count - 1``, oldest first."""
    return [make_user(n, base_ms=base_ms) for n in range(start, start + count)]


def recent_users(count: int, now_ms: int, pictures: str) -> list[User]:
    """Users 0 to `count` - 1, oldest first: they joined over the last year, and were active up to now (ms).

    Each has a picture below the address `pictures`.
    """
    return [_recent(make_user(n), count, now_ms, pictures) for n in range(count)]


def broken_users() -> list[User]:
    """Payloads that cannot be read as a user, each wrong in one way (the last one in all)."""
    changes: tuple[User, ...] = (
        {"id": None},
        {"id": 42},
        {"updated_at": None},
        {"updated_at": "2024-05-01T10:00:00Z"},
        {"updated_at": True},
        {"created_at": {"ms": BASE_MS}},
        {"created_at": None},
        {"first_name": 7},
        {"first_name": ["Ada"]},
        {"last_name": "broken \ud800 half"},  # half of a surrogate pair: no UTF-8 for it
        {"username": {"value": "ada"}},
        {"image_url": 404},
        {"last_sign_in_at": "yesterday"},
        {"last_active_at": [BASE_MS]},
        {"email_addresses": None},
        {"email_addresses": "ada@mail.test"},
        {"email_addresses": [None, None]},
    )
    missing = ("id", "updated_at", "created_at", "email_addresses")
    # The rotation begins with plain users, so these have nothing else that is odd.
    bases = iter(range(900_000, 1_000_000, len(_KINDS)))
    users = [make_user(next(bases)) | change for change in changes]
    users += [_without(make_user(next(bases)), field) for field in missing]
    return [*users, {}]


def _recent(user: User, count: int, now_ms: int, pictures: str) -> User:
    latest = now_ms - _MINUTE_MS
    created: int = user["created_at"]
    joined = latest - (count - 1 - (created - BASE_MS) // _MINUTE_MS) * (_YEAR_MS // count)

    def moved(at: int) -> int:
        """From the days after the user was created to the time since they joined, most of it lately."""
        left = max(0, _SIGN_INS_MS - (at - created))
        return latest - (latest - joined) * left**3 // _SIGN_INS_MS**3

    recent: User = _with_times(user, moved) | {"image_url": f"{pictures}/{user['id']}.svg", "has_image": True}
    if signed_in := recent["last_sign_in_at"]:
        recent["last_active_at"] = signed_in - signed_in % _DAY_MS
    return recent


def _with_times(value: Any, moved: Callable[[int], int]) -> Any:
    """The payload with other times: those are the numbers whose names end with `_at`."""
    if isinstance(value, list):
        return [_with_times(one, moved) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: moved(one) if name.endswith("_at") and isinstance(one, int) else _with_times(one, moved)
        for name, one in value.items()
    }


def _token(kind: str, n: int, length: int = 27) -> str:
    number = int.from_bytes(hashlib.sha256(f"{kind}:{n}".encode()).digest())
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(digits)


def _without(user: User, field: str) -> User:
    return {name: value for name, value in user.items() if name != field}


def _plain(n: int, base_ms: int) -> User:
    # In every fifty, seven users share one created_at, as after a bulk import.
    minute = n - n % 50 + 20 if 20 <= n % 50 < 27 else n
    created = base_ms + minute * _MINUTE_MS
    signed_in = created + n * 7919 % 90 * (_SIGN_INS_MS // 90)
    email = _email(n, 0, created)
    image = _token("image", n, 40)
    return {
        "id": f"user_{_token('user', n)}",
        "object": "user",
        "external_id": f"crm-{n}" if n % 3 == 0 else None,
        "primary_email_address_id": email["id"],
        "primary_phone_number_id": None,
        "primary_web3_wallet_id": None,
        "username": f"{_FIRST[n % len(_FIRST)].lower()}_{n}" if n % 2 else None,
        "first_name": _FIRST[n % len(_FIRST)],
        "last_name": _LAST[n % len(_LAST)],
        "locale": "en-GB" if n % 4 else None,
        "profile_image_url": f"https://img.test/old/{image}",
        "image_url": f"https://img.test/{image}",
        "has_image": n % 5 == 0,
        "public_metadata": {"plan": ("free", "team", "business")[n % 3]},
        "private_metadata": {"score": n % 100},
        "unsafe_metadata": {},
        "email_addresses": [email],
        "phone_numbers": [],
        "web3_wallets": [],
        "passkeys": [],
        "password_enabled": n % 3 > 0,
        "two_factor_enabled": False,
        "totp_enabled": False,
        "backup_code_enabled": False,
        "mfa_enabled_at": None,
        "mfa_disabled_at": None,
        "password_last_updated_at": created if n % 3 > 0 else None,
        "external_accounts": [],
        "saml_accounts": [],
        "enterprise_accounts": [],
        "organization_memberships": [],
        "last_sign_in_at": signed_in,
        "banned": False,
        "locked": False,
        "deprovisioned": False,
        "lockout_expires_in_seconds": None,
        "verification_attempts_remaining": 100,
        "updated_at": signed_in + 1_234,
        "created_at": created,
        "delete_self_enabled": True,
        "create_organization_enabled": True,
        "create_organizations_limit": None,
        "last_active_at": signed_in - signed_in % _DAY_MS,  # Clerk keeps the day only
        "legal_accepted_at": None,
        "bypass_client_trust": False,
        "scim": None,
    }


def _verification(kind: str, strategy: str, at: int) -> User:
    return {
        "object": f"verification_{kind}",
        "status": "verified",
        "strategy": strategy,
        "attempts": 1,
        "expire_at": at + 600_000,
    }


def _email(n: int, index: int, created: int) -> User:
    box = _FIRST[n % len(_FIRST)].lower() + (f"+{index}" if index else "")
    return {
        "id": f"idn_{_token(f'email-{index}', n)}",
        "object": "email_address",
        "email_address": f"{box}.{n}@{'mail.test' if n % 4 else 'post.invalid'}",
        "reserved": False,
        "verification": _verification("otp", "email_code", created),
        "linked_to": [],
        "matches_sso_connection": False,
        "created_at": created,
        "updated_at": created,
    }


def _no_email(user: User, n: int) -> None:
    user |= {"primary_email_address_id": None, "email_addresses": []}


def _phone_only(user: User, n: int) -> None:
    _no_email(user, n)
    phone = {
        "id": f"idn_{_token('phone', n)}",
        "object": "phone_number",
        "phone_number": f"+1555{n:07d}",
        "reserved_for_second_factor": False,
        "default_second_factor": False,
        "reserved": False,
        "verification": _verification("otp", "phone_code", user["created_at"]),
        "linked_to": [],
        "backup_codes": None,
        "created_at": user["created_at"],
        "updated_at": user["created_at"],
    }
    user |= {"primary_phone_number_id": phone["id"], "phone_numbers": [phone]}


def _username_only(user: User, n: int) -> None:
    _no_email(user, n)
    user |= {
        "username": f"member_{n}",
        "passkeys": [
            {
                "id": f"idn_{_token('passkey', n)}",
                "object": "passkey",
                "name": "Laptop",
                "last_used_at": user["last_sign_in_at"],
                "verification": _verification("passkey", "passkey", user["created_at"]),
            }
        ],
    }


def _web3_only(user: User, n: int) -> None:
    _no_email(user, n)
    wallet = {
        "id": f"idn_{_token('wallet', n)}",
        "object": "web3_wallet",
        "web3_wallet": f"0x{hashlib.sha256(str(n).encode()).hexdigest()[:40]}",
        "verification": _verification("web3", "web3_metamask_signature", user["created_at"]),
        "created_at": user["created_at"],
        "updated_at": user["created_at"],
    }
    user |= {"primary_web3_wallet_id": wallet["id"], "web3_wallets": [wallet]}


def _primary_later(user: User, n: int) -> None:
    user["email_addresses"].insert(0, _email(n, 1, user["created_at"]))


def _no_primary(user: User, n: int) -> None:
    _primary_later(user, n)
    user["primary_email_address_id"] = None


def _hard_name(user: User, n: int) -> None:
    user["first_name"] = _HARD_NAMES[n // len(_KINDS) % len(_HARD_NAMES)]


def _no_name(user: User, n: int) -> None:
    user |= {"first_name": None, "last_name": None}


def _never_signed_in(user: User, n: int) -> None:
    user |= {"last_sign_in_at": None, "last_active_at": None, "updated_at": user["created_at"]}


def _banned(user: User, n: int) -> None:
    user["banned"] = True


def _locked(user: User, n: int) -> None:
    user |= {
        "locked": True,
        "lockout_expires_in_seconds": 1_800,
        "verification_attempts_remaining": 0,
    }


def _google(user: User, n: int) -> None:
    account, email = f"idn_{_token('google', n)}", user["email_addresses"][0]
    email["linked_to"] = [{"type": "oauth_google", "id": account}]
    user["external_accounts"] = [
        {
            "object": "google_account",
            "id": f"gac_{_token('google', n)}",
            "provider": "oauth_google",
            "identification_id": account,
            "provider_user_id": str(10**20 + n),
            "approved_scopes": "email openid profile",
            "email_address": email["email_address"],
            "first_name": user["first_name"],
            "last_name": user["last_name"],
            "image_url": user["image_url"],
            "username": None,
            "public_metadata": {},
            "label": None,
            "created_at": user["created_at"],
            "updated_at": user["created_at"],
            "verification": _verification("oauth", "oauth_google", user["created_at"]),
        }
    ]


def _saml(user: User, n: int) -> None:
    account, email = f"idn_{_token('saml', n)}", user["email_addresses"][0]
    email["linked_to"] = [{"type": "saml", "id": account}]
    user["saml_accounts"] = [
        {
            "id": account,
            "object": "saml_account",
            "provider": "saml_custom",
            "active": True,
            "email_address": email["email_address"],
            "first_name": user["first_name"],
            "last_name": user["last_name"],
            "provider_user_id": f"staff-{n}",
            "public_metadata": {},
            "verification": _verification("saml", "saml", user["created_at"]),
        }
    ]


def _unknown_fields(user: User, n: int) -> None:
    user |= {"risk": {"level": "low", "seen": [n, None]}, "mfa_grace_until": None, "v": 3.5}


def _as_is(user: User, n: int) -> None:
    pass


# What user n is like: the n-th entry, starting over at the end.
_KINDS: tuple[Callable[[User, int], None], ...] = (
    _as_is,
    _phone_only,
    _primary_later,
    _hard_name,
    _as_is,
    _username_only,
    _never_signed_in,
    _google,
    _web3_only,
    _as_is,
    _no_primary,
    _no_name,
    _banned,
    _as_is,
    _primary_later,
    _hard_name,
    _locked,
    _saml,
    _unknown_fields,
    _as_is,
)
