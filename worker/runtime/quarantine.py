"""Quarantine: keep an unreadable message or entry for a person, and go on."""

import json
from datetime import datetime

import structlog
from sqlalchemy import Engine

from db.commands import inbox
from db.errors import DATABASE_ERRORS
from db.session import transaction
from publish_worker_client.servers.database_errors import describe_error
from worker.runtime.metrics import get_metrics

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


KEPT_CHARACTERS = 8 * 2**20
"""Of a body; longer than any message that is read."""
KEPT_REASON = 2_000


def quarantine(engine: Engine, body: object, error: Exception) -> None:
    """Keep `body` with the error that it caused. Raises the database's error if it is unreachable.

    `body` may be anything: a time is kept as a message may give it, so that it can be retried; what
    else JSON cannot hold is kept as its `repr`.
    """
    of_database = isinstance(error, DATABASE_ERRORS)
    reason = (describe_error(error) if of_database else str(error))[:KEPT_REASON]
    reason = reason.encode("ascii", "backslashreplace").decode().replace("\x00", "")
    with transaction(engine) as tx:
        inbox.quarantine(tx, body=_to_text(body), error=reason)
    get_metrics().quarantined.inc()
    log.error("message.quarantined", error=reason, exc_info=error if of_database else None)


def _to_text(body: object) -> str:
    """Return ASCII, which the database holds whatever it is."""
    try:
        text = json.dumps(body, default=_to_plain)
    except (TypeError, ValueError, RecursionError) as error:
        text = json.dumps(f"not kept, for JSON cannot hold it: {error}")
    return text[:KEPT_CHARACTERS]


def _to_plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)
