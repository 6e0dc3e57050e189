"""Signatures as Standard Webhooks specifies them; https://www.standardwebhooks.com."""

import base64
import secrets
from datetime import datetime

from standardwebhooks import Webhook

from schemas.values.delivery import Receiver

SECRET_BYTES = 32


def new_secret() -> str:
    """Return a random secret in the format of the Standard Webhooks libraries."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def build_headers(receiver: Receiver, event_id: str, body: str, now: datetime) -> dict[str, str]:
    """Return the headers that identify and sign an event; `now` is in UTC.

    During a rotation both secrets sign, so that the receiver can switch at any time.
    """
    signatures = (
        Webhook(secret).sign(event_id, now, body) for secret in find_valid_secrets(receiver, now)
    )
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def find_valid_secrets(receiver: Receiver, now: datetime) -> list[str]:
    """Return the secrets that sign at the time `now`, the newest first."""
    previous, until = receiver.previous_secret, receiver.previous_secret_until
    if previous is None or until is None or until <= now:
        return [receiver.secret]
    return [receiver.secret, previous]
