"""Redis URLs: one reading, for our clients and for Kombu.

    redis://user:password@host:6379/0        rediss://…  with TLS        unix:///path?db=0
    sentinel://user:password@host1:26379;sentinel://host2:26379/0?master_name=mymaster

The parameters are in `PARAMETERS`, and those of TLS in `server_urls.py`. A sentinel's own are in
`SENTINEL_PARAMETERS`; `ssl=true` uses TLS for the sentinels and the servers that they name.
"""

from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from publish_worker_client.servers.sentinel_connections import (
    SentinelConnection,
    SentinelTlsConnection,
)
from publish_worker_client.servers.server_urls import (
    InvalidUrl,
    Tls,
    refuse_unknown,
    split_parameters,
    take_tls,
    to_boolean,
)

Client = TypeVar("Client", bound=Redis)
SCHEMES = ("redis", "rediss", "unix", "sentinel")
SECONDS = ("socket_timeout", "socket_connect_timeout", "health_check_interval")
LEAST = {"db": 0, "max_connections": 1, "health_check_interval": 0}
TINY, LONGEST = 0.001, 2**31 - 1
"""A timeout of 0 never waits, so each answer would be too late."""
PARAMETERS = ("db", "client_name", "max_connections", *SECONDS)
SENTINEL_PARAMETERS = ("master_name", "sentinel_username", "sentinel_password", "ssl")
SENTINEL_PORT = 26379
LONGEST_LABEL = 63
"""The longest part of a host name, in characters."""
QUICK = {"socket_connect_timeout": 1, "socket_timeout": 1}
"""A sentinel that is down must not hold us up: another one is asked, without redis-py's ten retries
of some seconds. Each connection to the primary begins with this question."""


@dataclass(frozen=True, kw_only=True)
class RedisUrl:
    """A URL that was read. Nothing connects before it is used."""

    base: str
    """The URL without parameters."""
    options: dict[str, Any]
    """redis-py's keyword arguments: who we are, the database, and the URL's parameters."""
    tls: Tls | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    master_name: str = "mymaster"
    sentinel_login: dict[str, str] = field(default_factory=dict[str, str])

    def open(self, kind: type[Client] = Redis, **defaults: Any) -> Client:
        """Return a client; the URL's parameters replace `defaults`. It connects on first use."""
        options = {**defaults, **self.options, **self._tls()}
        if not self.sentinels:
            client: Any = kind.from_url(self.base, **options)
            return client
        asked: Any = Sentinel(self.sentinels, sentinel_kwargs=self.to_sentinel(), **options)
        connection = SentinelTlsConnection if self.tls else SentinelConnection
        return asked.master_for(self.master_name, kind, connection_class=connection)

    def open_async(self, **defaults: Any) -> AsyncRedis:
        """Return a client for asyncio."""
        options = {**defaults, **self.options, **self._tls()}
        if not self.sentinels:
            return AsyncRedis.from_url(self.base, **options)
        login = self.to_sentinel(AsyncRetry(NoBackoff(), 0))
        asked = AsyncSentinel(self.sentinels, sentinel_kwargs=login, **options)
        return asked.master_for(self.master_name)

    def to_sentinel(self, retry: Retry | AsyncRetry | None = None) -> dict[str, Any]:
        """Return the keyword arguments of connections to sentinels."""
        none = {"retry": retry or Retry(NoBackoff(), 0)}
        return QUICK | none | self._tls() | self.sentinel_login

    def _tls(self) -> dict[str, Any]:
        """Of a sentinel's URL, the scheme does not say whether to use TLS."""
        if self.tls is None:
            return {}
        return self.tls.to_redis() | ({"ssl": True} if self.sentinels else {})


def read_redis_url(url: str) -> RedisUrl:
    """Read a URL. Raises InvalidUrl."""
    base, parameters = split_parameters(url)
    if base.startswith("sentinel://"):
        return _read_sentinel_url(base, parameters)
    parts = _split(base)
    tls = take_tls(parameters) if parts.scheme == "rediss" else None
    refuse_unknown(parameters, PARAMETERS)
    path = "" if parts.scheme == "unix" else parts.path
    return RedisUrl(base=base, options=_to_options(parts, path, parameters), tls=tls)


def _read_sentinel_url(base: str, parameters: dict[str, str]) -> RedisUrl:
    """Take the login from the first URL, and the database from whichever names one."""
    urls = [each if "://" in each else f"sentinel://{each}" for each in base.split(";")]
    parts = [_split(each) for each in urls]
    has_tls = to_boolean("ssl", parameters.pop("ssl", "false"))
    tls = take_tls(parameters) if has_tls else None
    master_name = parameters.pop("master_name", "mymaster")
    names = {"sentinel_username": "username", "sentinel_password": "password"}
    login = {names[name]: parameters.pop(name) for name in names if name in parameters}
    refuse_unknown(parameters, (*PARAMETERS, *SENTINEL_PARAMETERS))
    path = next((each.path for each in parts if each.path.strip("/")), "")
    return RedisUrl(
        base=base,
        options=_to_options(parts[0], path, parameters),
        tls=tls,
        sentinels=tuple(
            (unquote(each.hostname or "localhost"), each.port or SENTINEL_PORT) for each in parts
        ),
        master_name=master_name,
        sentinel_login=login,
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InvalidUrl("its host or port is not valid") from None
    if parts.scheme not in SCHEMES:
        raise InvalidUrl(f"its scheme must be one of {', '.join(SCHEMES)}")
    if max(map(len, unquote(parts.hostname or "").split("."))) > LONGEST_LABEL:
        raise InvalidUrl("its host or port is not valid")  # Python raises UnicodeError for it
    return parts


def _to_options(parts: SplitResult, path: str, parameters: dict[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {"db": unquote(path).strip("/") or "0", **parameters}
    for name in ("db", "max_connections", *SECONDS):
        if name in options:
            options[name] = _to_number(name, options[name])
    login = {"username": parts.username, "password": parts.password}
    return options | {name: unquote(value) for name, value in login.items() if value}


def _to_number(name: str, text: str) -> int | float:
    try:
        number = float(text) if name in SECONDS else int(text)
    except ValueError:
        raise InvalidUrl(f"{name} must be a number") from None
    if not LEAST.get(name, TINY) <= number <= LONGEST:
        raise InvalidUrl(f"{name} is out of range")
    return number
