"""Broker URLs: read once, for every connection of Kombu, with TLS that checks the broker.

Redis as in `redis_url.py`. `amqp://user:password@host:5672/vhost`, with TLS `amqps://`; several
brokers are separated by `;`. Other URLs are Kombu's, as they are.
"""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import kombu
from kombu.utils.url import url_to_parts

from publish_worker_client.servers.redis_url import SCHEMES, RedisUrl, read_redis_url
from publish_worker_client.servers.server_urls import (
    InvalidUrl,
    refuse_unknown,
    split_parameters,
    take_tls,
)

AMQP_SCHEMES = ("amqp", "amqps", "pyamqp")
AMQP_PARAMETERS = ("heartbeat", "login_method")
REDIS_TRANSPORT_OPTIONS = (
    "client_name",
    "health_check_interval",
    "max_connections",
    "socket_connect_timeout",
    "socket_timeout",
)


class BrokerConnection(kombu.Connection):
    """Kombu's connection; the certificate must be for the broker that it connects to now.

    Kombu compares with the first of several brokers only.
    """

    def _establish_connection(self) -> Any:
        options: Any = self.ssl
        # Kombu itself makes 127.0.0.1 of localhost, which is in few certificates.
        if self.hostname != "127.0.0.1" and options and "server_hostname" in options:
            self.ssl = options | {"server_hostname": self.hostname}
        return super()._establish_connection()


@dataclass(frozen=True, kw_only=True)
class BrokerUrl:
    """A URL that was read: what Kombu needs. Nothing connects before it is used."""

    url: str
    tls: dict[str, Any] = field(default_factory=dict[str, Any])
    transport_options: dict[str, Any] = field(default_factory=dict[str, Any])
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def _scheme(self) -> str:
        return self.url.partition(":")[0]

    def connect(self, transport_options: dict[str, Any], **options: Any) -> BrokerConnection:
        """Return a connection that opens on first use. Raises InvalidUrl."""
        try:
            connection = BrokerConnection(
                self.url,
                ssl=self.tls or False,
                transport_options={**transport_options, **self.transport_options},
                **{**options, **self.parameters},
            )
            _ = connection.transport  # connects to nothing; some import their client only here
        except KeyError as error:
            raise InvalidUrl(f"Kombu has no transport {self._scheme!a}") from error
        except (ImportError, NameError, RuntimeError) as error:  # a transport imports its client
            scheme = self._scheme
            raise InvalidUrl(f"Kombu has no transport {scheme!a}: {error.args[0]}") from error
        except (TypeError, ValueError) as error:
            raise InvalidUrl("it is not one that Kombu can read") from error
        return connection


def read_broker_url(url: str) -> BrokerUrl:
    """Read a URL. Raises InvalidUrl."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise InvalidUrl("it has no scheme")
    if scheme in SCHEMES:
        return _from_redis(read_redis_url(url))
    if scheme in AMQP_SCHEMES:
        return read_amqp_url(url)
    return BrokerUrl(url=url)


def read_amqp_url(url: str) -> BrokerUrl:
    """Read the URL of an AMQP broker. Raises InvalidUrl."""
    pairs = [split_parameters(each) for each in url.split(";")]
    parameters = {name: value for _, found in pairs for name, value in found.items()}
    schemes = {_to_scheme(base) for base, _ in pairs}
    if len(schemes) > 1:
        raise InvalidUrl("all brokers must have the same scheme")
    tls = take_tls(parameters) if schemes == {"amqps"} else None
    refuse_unknown(parameters, AMQP_PARAMETERS)
    return BrokerUrl(
        url=";".join(base for base, _ in pairs),
        tls=tls.to_amqp() if tls else {},
        parameters=parameters,
    )


def _to_scheme(url: str) -> str:
    try:
        scheme = url_to_parts(url).scheme
    except ValueError:
        raise InvalidUrl("its host or port is not valid") from None
    if scheme not in AMQP_SCHEMES:
        raise InvalidUrl(f"its scheme must be one of {', '.join(AMQP_SCHEMES)}")
    return scheme


def _from_redis(redis: RedisUrl) -> BrokerUrl:
    kept = {name: redis.options[name] for name in REDIS_TRANSPORT_OPTIONS if name in redis.options}
    tls = redis.tls.to_redis() if redis.tls else {}
    if redis.sentinels:
        kept |= {"master_name": redis.master_name, "sentinel_kwargs": redis.to_sentinel()}
        return BrokerUrl(url=_to_sentinel_urls(redis), tls=tls, transport_options=kept)
    parts, database = urlsplit(redis.base), redis.options["db"]
    if parts.scheme == "unix":
        url = f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"
    else:
        url = f"{parts.scheme}://{parts.netloc}/{database}"
    return BrokerUrl(url=url, tls=tls, transport_options=kept)


def _to_sentinel_urls(redis: RedisUrl) -> str:
    """Every URL has the login and the database: Kombu takes them from one of them."""
    login, at, _ = urlsplit(redis.base.partition(";")[0]).netloc.rpartition("@")
    return ";".join(
        f"sentinel://{login}{at}{f'[{host}]' if ':' in host else host}:{port}/{redis.options['db']}"
        for host, port in redis.sentinels
    )
