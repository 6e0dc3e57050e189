"""Redis errors: classified by the code that the server sends as the first word of its answer."""

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError

_REPLICA = ("READONLY", "MASTERDOWN", "UNBLOCKED")
"""The server has become a replica: after a failover, another one is the primary."""
_PASSING = (
    *_REPLICA,
    "BUSY",
    "CLUSTERDOWN",
    "EXECABORT",
    "LOADING",
    "MISCONF",
    "NOAUTH",
    "NOPERM",
    "NOREPLICAS",
    "OOM",
    "TRYAGAIN",
    "WRONGPASS",
)
"""Out of memory or disk, starting, without replicas; a password or right is being changed."""

_NO_RIGHT_IN_SCRIPT = ("ACL failure in script", "The user executing the script can't")
"""What is NOPERM elsewhere: the answers of Valkey and Redis to a command in a script."""
_NOT_LOGGED_IN = "Protocol error: unauthenticated"
"""What is NOAUTH elsewhere: the answer to a long command of a client that has not logged in."""


def is_passing(error: BaseException) -> bool:
    """Whether the error is not caused by the command: time, or an operator, resolves it.

    A lost connection, a time-out and a refused login are passing errors too.
    """
    if isinstance(error, RedisConnectionError | RedisTimeoutError):
        return True
    if not isinstance(error, ResponseError):
        return False
    has_no_right = str(error).startswith((*_NO_RIGHT_IN_SCRIPT, _NOT_LOGGED_IN))
    return to_code(error) in _PASSING or has_no_right


def needs_new_connection(error: BaseException) -> bool:
    """Whether the server that answered is a replica: connect again to find the primary."""
    return isinstance(error, ResponseError) and to_code(error) in _REPLICA


def to_code(error: BaseException) -> str:
    """Return the code of a server's answer; "" for any other error.

    The code is taken out of the texts of errors that redis-py has a class for.
    """
    if not isinstance(error, RedisError):
        return ""
    code = error.status_code
    return code or (str(error).partition(" ")[0] if isinstance(error, ResponseError) else "")


def to_text(error: BaseException) -> str:
    """Return what an error says in one line, without redis-py's names of the Sentinels' clients."""
    text = " ".join(str(error).split())
    return text.partition(" : ")[0] if isinstance(error, MasterNotFoundError) else text
