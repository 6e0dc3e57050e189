"""read_webhook accepts what the worker signs, for as long as Standard Webhooks says."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from publish_worker_client import WebhookRefused, read_webhook
from publish_worker_client.events.data import EndpointDisabled
from schemas.values.delivery import Receiver
from worker.webhooks.signing import build_headers, new_secret
from worker.webhooks.test_event import build_test_event

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


def test_a_test_event_is_read_and_has_no_position() -> None:
    body = build_test_event(RECEIVER, "c-1", "https://videos.example")
    event = read_webhook(body, sign(body), RECEIVER.secret)
    assert (event.type, event.sequence) == ("webhook.test", "")
    assert isinstance(event.data, dict)
    assert event.data["endpoint_id"] == str(RECEIVER.id)
    with pytest.raises(ValueError, match="''"):
        _ = event.position


def test_during_a_rotation_the_old_and_the_new_secret_pass() -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    rotated = replace(
        RECEIVER, secret=new_secret(), previous_secret=RECEIVER.secret, previous_secret_until=until
    )
    for secrets in (RECEIVER.secret, rotated.secret, [new_secret(), rotated.secret]):
        read_webhook(BODY, sign(receiver=rotated), secrets)


CHANGES: list[dict[str, str | None]] = [
    {"webhook-id": "0198"},
    {"webhook-id": None},
    {"webhook-timestamp": "soon"},
    {"webhook-timestamp": "9" * 5000},
    {"webhook-timestamp": "\N{ARABIC-INDIC DIGIT THREE}"},
    {"webhook-timestamp": None},
    {"webhook-signature": "v1,\udc80"},
    {"webhook-signature": "v2,AAAA"},
    {"webhook-signature": ""},
    {"webhook-signature": None},
]


@pytest.mark.parametrize("change", CHANGES)
def test_other_headers_are_refused(change: dict[str, str | None]) -> None:
    headers = {name: value for name, value in (sign() | change).items() if value is not None}
    with pytest.raises(WebhookRefused):
        read_webhook(BODY, headers, RECEIVER.secret)


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


@pytest.mark.parametrize("secret", ["", "whsec_"])
def test_an_empty_secret_is_an_error_because_anyone_can_sign_with_it(secret: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        read_webhook(b"{}", sign(), secret)
