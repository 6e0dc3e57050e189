"""Messages that a worker alone has as it ends: Redis had not noted them, and is still full."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import structlog
from kombu import Message
from kombu.utils.json import loads

from db.errors import DATABASE_ERRORS
from worker.app.messages import InvalidMessage, is_wake_up, rewrite_task
from worker.app.tasks import open_door
from worker.app.transport import quarantine_message
from worker.enqueue.queue_messages import MessageDoor, ReceivedMessage
from worker.runtime.quarantine import quarantine

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def accept_last(envelopes: Iterable[dict[str, Any]]) -> None:
    """Accept messages in this process; quarantine those whose `eta` is still to come.

    Wake-ups and expired messages are dropped, as at any time. Each message that the database cannot
    take now is logged whole.
    """
    door, received = open_door(), list[ReceivedMessage]()
    for envelope in envelopes:
        message: Any = Message(
            body=envelope["body"],
            content_type=envelope["content-type"],
            headers=envelope["headers"],
        )
        try:
            rewrite_task(message)
        except Exception as error:  # noqa: BLE001 - it is the reason for the quarantine
            body = [message.headers, message.body]
            quarantine_message(body, f"not a task message: {error!r}")
            continue
        if not is_wake_up(message.headers):
            received += _sort(door, message)
    try:
        left = door.accept_batch(received)
    except DATABASE_ERRORS:
        left = range(len(received))
    for index in left:
        _log_lost(received[index], remedy="send it again")


def _sort(door: MessageDoor, message: Any) -> list[ReceivedMessage]:
    """Return a message that may be accepted now. One that may not is dropped or quarantined."""
    headers, now = message.headers, datetime.now(UTC)
    eta, expires = (_to_time(headers[name]) for name in ("eta", "expires"))
    args, kwargs, _ = loads(message.body)
    received = ReceivedMessage(id=headers["id"], args=args, kwargs=kwargs)
    if expires and expires < max(now, eta or now):
        log.info("message.expired", id=received.id, eta=headers["eta"], expires=headers["expires"])
    elif eta and eta > now:
        _quarantine(door, received, headers)
    else:
        return [received]
    return []


def _quarantine(door: MessageDoor, message: ReceivedMessage, headers: dict[str, Any]) -> None:
    """Keep a message as one that a person can retry."""
    times = f"eta={headers['eta']}, expires={headers['expires']}"
    reason = f"Its worker ended while Redis was full, before the time of the message: {times}."
    try:
        quarantine(door.engine, message.to_body(), InvalidMessage(f"{reason} Retry it then."))
    except DATABASE_ERRORS:
        _log_lost(message, remedy=f"send it again with {times}")


def _log_lost(message: ReceivedMessage, *, remedy: str) -> None:
    log.error("message.lost", id=message.id, **message.to_body(), remedy=remedy)


def _to_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
