"""Webhooks: whether a request is an event of publish-worker, by Standard Webhooks.

event = read_webhook(request.body, request.headers, "whsec_…")
"""

import base64
import hmac
import time
from collections.abc import Mapping, Sequence
from hashlib import sha256

from pydantic_core import from_json

from publish_worker_client.events.event import Event, from_document

TOLERANCE_SECONDS = 300.0
PREFIX = "whsec_"
VERSION = "v1,"


class WebhookRefused(Exception):
    """The request is not an event that a holder of the secret has signed now: answer 400."""


def read_webhook(
    body: bytes | str,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> Event:
    """Return the event of a request. Raises WebhookRefused.

    - `body`: the body as it was received, before any parsing.
    - `headers`: the request's headers, in any case.
    - `secrets`: the endpoint's secret, or several during a rotation.
    - `tolerance_seconds`: how old or early the request may be by this machine's clock. Default:
      300, as Standard Webhooks has it.

    The same event may come again: its `id` is the same. Effects may use `once`.
    """
    content = body.encode(errors="surrogatepass") if isinstance(body, str) else body
    found = {name.lower(): value for name, value in headers.items()}
    event_id, timestamp = found.get("webhook-id"), found.get("webhook-timestamp", "")
    if not event_id or "webhook-signature" not in found:
        raise WebhookRefused("The headers webhook-id, -timestamp and -signature are missing.")
    _check_time(timestamp, tolerance_seconds)
    signed = f"{event_id}.{timestamp}.".encode(errors="replace") + content
    expected = [_sign(each, signed) for each in _to_list(secrets)]
    given = [
        each.removeprefix(VERSION)
        for each in found["webhook-signature"].split(" ")
        if each.startswith(VERSION)
    ]
    if not any(
        hmac.compare_digest(a.encode(), b.encode(errors="replace")) for a in expected for b in given
    ):
        raise WebhookRefused("No signature is that of the secret.")
    return _to_event(content)


def _to_list(secrets: str | Sequence[str]) -> list[bytes]:
    texts = [secrets] if isinstance(secrets, str) else secrets
    wrong = "a secret is whsec_ and Base64, as the endpoint's creation shows it"
    try:
        found = [base64.b64decode(text.removeprefix(PREFIX), validate=True) for text in texts]
    except ValueError as error:
        raise ValueError(wrong) from error
    if not all(found):  # anyone can sign with an empty secret, as of a setting that is not set
        raise ValueError(f"{wrong}; one is empty")
    return found


def _sign(secret: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.new(secret, signed, sha256).digest()).decode()


def _check_time(timestamp: str, tolerance_seconds: float) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 15):  # noqa: PLR2004 - digits of seconds
        raise WebhookRefused("webhook-timestamp is not a time in seconds.")
    if abs(time.time() - int(timestamp)) > tolerance_seconds:
        raise WebhookRefused("The request is too old or too early; check this machine's clock.")


def _to_event(content: bytes) -> Event:
    try:
        return from_document(from_json(content))
    except (ValueError, TypeError, AttributeError) as error:
        raise WebhookRefused("The body is not a CloudEvent.") from error
