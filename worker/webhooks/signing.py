"""Signatures by the Standard Webhooks specification; https://www.standardwebhooks.com."""

import base64
import secrets
from datetime import datetime

from standardwebhooks import Webhook

from schemas.values.delivery import Receiver

SECRET_BYTES = 32


def new_secret() -> str:
    """A secret that signs, as the libraries of Standard Webhooks take it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(receiver: Receiver, event_id: str, body: str, now: datetime) -> dict[str, str]:
    """The headers that identify an event and sign it; `now` is in UTC.

    While a secret is being rotated both sign, so that the receiver may change over when it likes.
    """
    signatures = (
        Webhook(secret).sign(event_id, now, body) for secret in valid_secrets(receiver, now)
    )
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def valid_secrets(receiver: Receiver, now: datetime) -> list[str]:
    """The secrets that sign at that time, the newest first."""
    previous, until = receiver.previous_secret, receiver.previous_secret_until
    if previous is None or until is None or until <= now:
        return [receiver.secret]
    return [receiver.secret, previous]
