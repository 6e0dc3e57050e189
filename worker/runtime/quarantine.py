"""Quarantine: keep an unreadable message or entry for a person, and go on."""

import json

import structlog
from sqlalchemy import Engine

from db.commands import inbox
from db.session import transaction

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def quarantine(engine: Engine, body: object, error: Exception) -> None:
    """Keep `body` with the error that it caused. Raises the database's error if it is unreachable.

    `body` may be anything: what JSON cannot hold is kept as its `repr`.
    """
    text = json.dumps(body, default=repr)  # ASCII, so the database holds whatever it is
    reason = str(error).encode("ascii", "backslashreplace").decode().replace("\x00", "")
    with transaction(engine) as tx:
        inbox.quarantine(tx, body=text, error=reason)
    log.error("message.quarantined", error=str(error))
