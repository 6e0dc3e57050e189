"""Errors of the broker, of every transport: told apart from errors of a message, in one place.

Kombu divides each transport's errors into recoverable and irrecoverable ones, and retries the first
alone. For us all of them are recoverable: a refused login or a missing virtual host is resolved by
an operator, and we are to go on then without a restart.
"""

import logging
import time
from socket import gaierror
from ssl import SSLError

import structlog
from amqp.exceptions import AccessRefused, AMQPError, MessageNacked, NotAllowed
from kombu.exceptions import OperationalError
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from publish_worker_client.servers.redis_errors import to_text
from worker.runtime.explanations import Explanation
from worker.runtime.redis_explanations import find_redis_remedy

_ANSWERS = (RedisError, AMQPError, MessageNacked, OperationalError)
BROKER_ERRORS = (*_ANSWERS, OSError)
"""What a broker, or the way to it, may raise. Network errors are OSErrors."""
_OUTAGES = (*_ANSWERS, ConnectionError, TimeoutError, gaierror, SSLError)
"""The same without other OSErrors: a missing file, or too many open ones, may be a bug."""
LONGEST_PAUSE_SECONDS = 60.0
"""Between two log lines of one outage."""
_REFUSALS = (
    AccessRefused,
    NotAllowed,
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
)

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def explain_broker(error: BaseException) -> Explanation:
    """Explain what the broker answered, or why it did not; without the password."""
    cause = error.__cause__ or error if isinstance(error, OperationalError) else error
    answer = to_text(cause).rstrip(".") or type(cause).__name__
    verb = "refuses us" if isinstance(cause, _REFUSALS) else "cannot be used"
    return Explanation(
        detail=f"The broker {verb}: {answer}.",
        remedy=find_redis_remedy(cause, "BROKER_URL") or "Check BROKER_URL and the broker.",
        public=f"The broker {verb}.",
    )


def explain_broker_error(error: BaseException) -> str:
    """Return the same in one line."""
    return str(explain_broker(error))


def drop_traceback(record: logging.LogRecord) -> bool:
    """Remove the traceback from a log record of Celery or Kombu about an error of the broker.

    A filter of a log handler. The line already has the error, and an outage is not a bug.
    """
    error = record.exc_info[1] if record.exc_info else None
    if record.name.startswith(("celery.worker.", "kombu.")) and isinstance(error, _OUTAGES):
        record.exc_info = None
    return True


class BrokerOutage:
    """An outage of the broker: logged as it begins, then with growing pauses, and as it ends."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._next = 0.0

    def note(self, error: BaseException) -> None:
        """Log an error unless one was logged a short while ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._pause = min(self._pause * 2 or 1.0, LONGEST_PAUSE_SECONDS)
        self._next = now + self._pause
        log.warning("broker.unreachable", error=explain_broker_error(error), repeated=self._pause)

    def end(self) -> None:
        """Log that the outage is over, if there was one."""
        if self._pause:
            log.warning("broker.reachable")
        self._pause = self._next = 0.0
