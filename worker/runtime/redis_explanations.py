"""What is wrong with Redis, and what to do.

Apart from `explanations`: what needs only the database does not import the client of Redis.
"""

from redis.exceptions import RedisError

from publish_worker_client.servers.redis_errors import to_code, to_text
from worker.runtime.explanations import Explanation

REDIS_REMEDIES = {
    "NOAUTH": "The server wants a password: add user and password to {url}.",
    "WRONGPASS": "Correct the user or the password in {url}.",
    "NOPERM": "Give the Redis user the rights in docs/operations.md (ACL SETUSER publish-worker).",
    "READONLY": "The server is a replica: let {url} name the primary, or the sentinels.",
    "MASTERDOWN": "The server is a replica without its primary: start the primary, or promote it.",
    "OOM": "The server's memory is full: raise maxmemory, or lower STREAM_KEEP_DAYS.",
    "MISCONF": "The server cannot save its data: look at its disk and its log.",
    "NOREPLICAS": "The server has fewer replicas than min-replicas-to-write: start them.",
    "LOADING": "The server is loading its data: wait.",
    "BUSY": "A script of another program blocks the server: SCRIPT KILL ends it.",
    "CLUSTERDOWN": "Redis Cluster is not supported: use a server without it.",
}
"""What to do about a code that Redis answers with; `{url}` is the setting's name."""
CONNECT_REMEDIES = {
    "Protocol error, got": "Another kind of server answers there: correct host and port in {url}.",
    "Connection closed by server": "Another kind of server listens there, or one that wants TLS: "
    "correct host and port in {url}, or use rediss://.",
    "SSL": "Use redis:// in {url} if the server has no TLS; else look at its certificate.",
    "Name or service not known": "Correct the host in {url}.",
    "Connection refused": "Start the server, or correct host and port in {url}.",
}
"""What to do about a text in the error of a connection; the first one that is in it."""


def explain_redis(error: RedisError) -> Explanation:
    """Explain an error of Redis."""
    code = to_code(error)
    return Explanation(
        detail=f"Redis cannot be used: {to_text(error).rstrip('.')}.",
        remedy=find_redis_remedy(error, "REDIS_URL") or "Check REDIS_URL and the server.",
        public=f"Redis refuses: {code}." if code in REDIS_REMEDIES else "Redis cannot be used.",
    )


def find_redis_remedy(error: BaseException, url: str) -> str | None:
    """Return what to do about an error of Redis; None for other ones. `url` is the setting."""
    if not isinstance(error, RedisError):
        return None
    connecting = (remedy for text, remedy in CONNECT_REMEDIES.items() if text in str(error))
    remedy = REDIS_REMEDIES.get(to_code(error)) or next(connecting, None)
    return remedy.format(url=url) if remedy else None
