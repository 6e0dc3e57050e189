"""Errors of the broker, of every transport: told apart from errors of a message, in one place.

Kombu divides each transport's errors into recoverable and irrecoverable ones, and retries the first
alone. For us all of them are recoverable: a refused login or a missing virtual host is resolved by
an operator, and we are to go on then without a restart.
"""

from amqp.exceptions import AccessRefused, AMQPError, MessageNacked, NotAllowed
from kombu.exceptions import OperationalError
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

BROKER_ERRORS = (RedisError, AMQPError, MessageNacked, OperationalError, OSError)
"""What a broker, or the way to it, may raise. Network errors are OSErrors."""
_REFUSALS = (
    AccessRefused,
    NotAllowed,
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
)


def explain_broker_error(error: BaseException) -> str:
    """Return in one line what the broker answered, or why it did not; without the password."""
    cause = error.__cause__ or error if isinstance(error, OperationalError) else error
    answer = " ".join(str(cause).split()).rstrip(".") or type(cause).__name__
    verb = "refuses us" if isinstance(cause, _REFUSALS) else "cannot be used"
    return f"The broker {verb}: {answer}. Check BROKER_URL and the broker."
