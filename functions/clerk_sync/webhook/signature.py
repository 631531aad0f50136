"""The edge to Clerk's webhook signatures (Svix, the Standard Webhooks scheme)."""

import re
from collections.abc import Mapping

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

from clerk_sync.aws.secrets import CachedSecret
from clerk_sync.errors import SettingsError, Unauthorized

_SIGNATURE = re.compile(r"(?<!\S)v1,[A-Za-z0-9+/]{43}=(?!\S)")


def verify_with(secret: CachedSecret, body: bytes, headers: Mapping[str, str]) -> int:
    """`verify` with the secret in SSM. If it does not fit, it is read again, as it may have been replaced.
    Raises AwsError too."""
    try:
        return verify(body, headers, secret.get().value)
    except (Unauthorized, SettingsError):
        if (replaced := secret.replaced()) is None:
            raise
    return verify(body, headers, replaced.value)


def verify(body: bytes, headers: Mapping[str, str], secrets: str) -> int:
    """The time (ms) at which one of the secrets, separated by commas or spaces, signed exactly these bytes.

    `headers` have lower-case names. Several secrets let a rotation leave no gap: Svix signs with the old one
    for 24 hours more. https://docs.svix.com/receiving/verifying-payloads/how-manual
    Raises Unauthorized unless one signed, at most 5 minutes ago, and SettingsError if none can be Clerk's.
    """
    # The same scheme under another prefix; a malformed signature must not hide a good one behind it.
    renamed = {f"webhook-{name}": headers.get(f"svix-{name}", "") for name in ("id", "timestamp")}
    renamed["webhook-signature"] = " ".join(_SIGNATURE.findall(headers.get("svix-signature", "")))
    webhooks = [webhook for secret in re.split(r"[,\s]+", secrets) if (webhook := _webhook(secret))]
    if not webhooks:
        raise SettingsError(
            "The signing secret is not one of Clerk's (whsec_…). Store the endpoint's, unquoted."
        )
    for webhook in webhooks:
        try:
            webhook.verify(body, renamed, json_parse=False)
            return int(float(renamed["webhook-timestamp"]) * 1000)
        except WebhookVerificationError as error:
            reason = str(error)
        except ValueError:
            reason = "the timestamp is not a time, or the body is not text"
    raise Unauthorized(reason)


def _webhook(secret: str) -> Webhook | None:
    """None for text that is not a secret of Clerk's: a mistyped one must not hide a good one beside it."""
    try:
        return Webhook(secret) if secret.startswith("whsec_") else None
    except (ValueError, EmptyWebhookSecretError):
        return None
