"""The edge to Clerk's webhook signatures (Svix, the Standard Webhooks scheme)."""

import re
from collections.abc import Mapping, Sequence

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

from clerk_sync.errors import SettingsError, SignatureError

_SIGNATURE = re.compile(r"(?<!\S)v1,[A-Za-z0-9+/]{43}=(?!\S)")


def verify(body: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> None:
    """Raise SignatureError unless one of the secrets signed exactly these bytes, at most 5 minutes ago.

    `headers` have lower-case names. Several secrets are how a rotation leaves no gap: Svix signs with
    the old one for 24 hours more. https://docs.svix.com/receiving/verifying-payloads/how-manual
    """
    # The same scheme under another prefix; a malformed signature must not hide a good one behind it.
    renamed = {f"webhook-{name}": headers.get(f"svix-{name}", "") for name in ("id", "timestamp")}
    renamed["webhook-signature"] = " ".join(_SIGNATURE.findall(headers.get("svix-signature", "")))
    reason = "no secret"
    webhooks = [webhook for secret in secrets if (webhook := _webhook(secret))]
    if not webhooks:
        raise SettingsError("The webhook's signing secret is not one of Clerk's, which begin with whsec_")
    for webhook in webhooks:
        try:
            webhook.verify(body, renamed, json_parse=False)
        except WebhookVerificationError as error:
            reason = str(error)
        except ValueError:
            reason = "the timestamp is no time, or the body no text"
        else:
            return
    raise SignatureError(reason)


def _webhook(secret: str) -> Webhook | None:
    """None for what is no secret of Clerk's: one that is mistyped must not hide a good one beside it."""
    try:
        return Webhook(secret) if secret.startswith("whsec_") else None
    except (ValueError, EmptyWebhookSecretError):
        return None
