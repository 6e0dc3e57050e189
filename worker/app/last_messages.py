"""Messages that a worker alone has as it ends: Redis had not noted them, and is still full."""

from collections.abc import Iterable
from typing import Any

import structlog
from kombu import Message
from kombu.utils.json import loads

from db.errors import DATABASE_ERRORS
from worker.app.messages import InvalidMessage, rewrite_task
from worker.app.tasks import open_door
from worker.app.transport import quarantine_message
from worker.enqueue.queue_messages import ReceivedMessage

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def accept_last(envelopes: Iterable[dict[str, Any]]) -> None:
    """Accept messages in this process; quarantine those that must wait for a time.

    Each one that the database cannot take now is logged whole.
    """
    received: list[ReceivedMessage] = []
    for envelope in envelopes:
        try:
            received.append(_read(envelope))
        except Exception as error:  # noqa: BLE001 - it is the reason for the quarantine
            quarantine_message(envelope, f"its worker ended while Redis was full: {error!r}")
    try:
        left = open_door().accept_batch(received)
    except DATABASE_ERRORS:
        left = range(len(received))
    for index in left:
        message = received[index]
        log.error("message.lost", id=message.id, **message.to_body(), remedy="send it again")


def _read(envelope: dict[str, Any]) -> ReceivedMessage:
    """Raises InvalidMessage if it may not be accepted now, and any error if it is unreadable."""
    headers: Any = envelope["headers"]
    message: Any = Message(
        body=envelope["body"], content_type=envelope["content-type"], headers=headers
    )
    rewrite_task(message)
    headers = message.headers
    if headers["eta"] or headers["expires"]:
        raise InvalidMessage("It has a time to wait for. Send it again.")
    args, kwargs, _ = loads(message.body)
    return ReceivedMessage(id=headers["id"], args=args, kwargs=kwargs)
