"""The edge to Clerk's webhook signatures (Svix, the Standard Webhooks scheme)."""

from collections.abc import Mapping, Sequence

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from clerk_sync.errors import SettingsError, SignatureError

_HEADERS = ("id", "timestamp", "signature")


def verify(body: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> None:
    """Raise SignatureError unless one of the secrets signed exactly these bytes, at most 5 minutes ago.

    `headers` have lower-case names. Several secrets are how a rotation leaves no gap: Svix signs with
    the old one for 24 hours more. https://docs.svix.com/receiving/verifying-payloads/how-manual
    """
    # The same scheme under another prefix.
    renamed = {f"webhook-{name}": headers.get(f"svix-{name}", "") for name in _HEADERS}
    reason = "no secret"
    for webhook in [_webhook(secret) for secret in secrets]:
        try:
            webhook.verify(body, renamed, json_parse=False)
        except WebhookVerificationError as error:
            reason = str(error)
        except ValueError:
            reason = "malformed header or body"
        else:
            return
    raise SignatureError(reason)


def _webhook(secret: str) -> Webhook:
    try:
        if secret.startswith("whsec_"):
            return Webhook(secret)
    except ValueError:
        pass
    raise SettingsError("A webhook signing secret is not one of Clerk's, which begin with whsec_")
