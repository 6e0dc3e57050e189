"""Webhooks are signed as the library of Standard Webhooks verifies them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

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


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_library_verifies_what_is_signed(body: str) -> None:
    signed = build_headers(RECEIVER, "event-1", body, datetime.now(UTC))
    Webhook(RECEIVER.secret).verify(body, signed, json_parse=False)


def test_another_body_does_not_pass() -> None:
    signed = build_headers(RECEIVER, "event-1", "{}", datetime.now(UTC))
    with pytest.raises(WebhookVerificationError):
        Webhook(RECEIVER.secret).verify("[]", signed)


def test_secrets_are_32_random_bytes_and_never_shown() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
    assert len(new_secret().removeprefix("whsec_")) == 44
    assert RECEIVER.secret not in f"{RECEIVER} {RECEIVER!r}"


@pytest.mark.parametrize(("seconds", "signatures"), [(1, 2), (0, 1), (-1, 1)])
def test_the_previous_secret_signs_until_its_time_is_over(seconds: int, signatures: int) -> None:
    now = datetime.now(UTC)
    rotated = Receiver(
        id=UUID(int=1),
        workspace_id=1,
        url="https://hooks.example.com/",
        secret=new_secret(),
        previous_secret=new_secret(),
        previous_secret_until=now + timedelta(seconds=seconds),
    )
    signed = build_headers(rotated, "event-1", "{}", now)
    assert len(signed["webhook-signature"].split(" ")) == signatures
