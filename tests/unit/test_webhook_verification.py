"""read_webhook accepts what the worker signs, for as long as Standard Webhooks says."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from publish_worker_client import WebhookRefused, read_webhook
from publish_worker_client.events.data import EndpointDisabled
from schemas.values.delivery import Receiver
from worker.webhooks.signing import build_headers, new_secret

RECEIVER = Receiver(
    id=UUID(int=1),
    workspace_id=1,
    url="https://hooks.example.com/",
    secret=new_secret(),
    previous_secret=None,
    previous_secret_until=None,
)
BODY = json.dumps(
    {
        "specversion": "1.0",
        "id": "0199",
        "source": "/workspaces/1",
        "type": "webhook.endpoint_disabled",
        "dataschema": "https://example.com/api/v1/schemas/webhook.endpoint_disabled/1",
        "sequence": "7",
        "data": {
            "endpoint_id": str(UUID(int=1)),
            "workspace_id": 1,
            "url": "https://hooks.example.com/ä",
            "reason": "gone",
            "detail": "410",
            "disabled_at": "2026-11-30T00:00:00Z",
        },
    },
    ensure_ascii=False,
)


def sign(body: str = BODY, receiver: Receiver = RECEIVER, **ago: float) -> dict[str, str]:
    return build_headers(receiver, "0199", body, datetime.now(UTC) - timedelta(**ago))


@pytest.mark.parametrize("body", [BODY, BODY.encode()])
def test_what_the_worker_signs_is_an_event(body: str | bytes) -> None:
    headers = {name.title(): value for name, value in sign().items()}
    event = read_webhook(body, headers, RECEIVER.secret)
    assert event.position == 7
    assert isinstance(event.data, EndpointDisabled)


def test_during_a_rotation_the_old_and_the_new_secret_pass() -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    rotated = replace(
        RECEIVER, secret=new_secret(), previous_secret=RECEIVER.secret, previous_secret_until=until
    )
    for secrets in (RECEIVER.secret, rotated.secret, [new_secret(), rotated.secret]):
        read_webhook(BODY, sign(receiver=rotated), secrets)


def without(name: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda headers: {key: value for key, value in headers.items() if key != name}


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: {**headers, "webhook-id": "0198"},
        lambda headers: {**headers, "webhook-timestamp": "soon"},
        lambda headers: {**headers, "webhook-timestamp": "9" * 5000},
        lambda headers: {**headers, "webhook-timestamp": "٣"},
        lambda headers: {**headers, "webhook-signature": "v1,\udc80"},
        lambda headers: {**headers, "webhook-signature": headers["webhook-signature"][3:]},
        lambda headers: {**headers, "webhook-signature": ""},
        without("webhook-id"),
        without("webhook-timestamp"),
        without("webhook-signature"),
    ],
)
def test_other_headers_are_refused(change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    with pytest.raises(WebhookRefused):
        read_webhook(BODY, change(sign()), RECEIVER.secret)


@pytest.mark.parametrize("seconds", [301, -301])
def test_an_old_or_early_request_is_refused(seconds: float) -> None:
    with pytest.raises(WebhookRefused, match="clock"):
        read_webhook(BODY, sign(seconds=seconds), RECEIVER.secret)


@pytest.mark.parametrize("body", ["[]", "null", "{}", "{", '{"id": 1}'])
def test_a_signed_body_that_is_not_an_event_is_refused(body: str) -> None:
    with pytest.raises(WebhookRefused, match="CloudEvent"):
        read_webhook(body, sign(body), RECEIVER.secret)


def test_another_body_or_secret_is_refused() -> None:
    with pytest.raises(WebhookRefused, match="signature"):
        read_webhook(BODY + " ", sign(), RECEIVER.secret)
    with pytest.raises(WebhookRefused, match="signature"):
        read_webhook(BODY, sign(), new_secret())


def test_a_secret_that_is_not_one_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="whsec_"):
        read_webhook(BODY, sign(), "whsec_ä")
