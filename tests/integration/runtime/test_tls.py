"""TLS to the stream and to the broker: a certificate is checked unless the URL says not to."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError

from publish_worker_client.run_blocking import run_blocking
from publish_worker_client.servers.redis_url import read_redis_url
from publish_worker_client.subscribe.connections import AsyncConnections, BlockingConnections
from tests.support.pipeline import Pipeline, stream
from tests.support.processes import celeries, count_published
from tests.support.tls_server import LOCALHOST, OTHER_NAME, tls_in_front_of
from tests.support.waiting import wait_until
from worker.operations.health import examine
from worker.runtime.broker_url import read_broker_url
from worker.runtime.producer import make_producer
from worker.runtime.redis_clients import open_hint_redis, open_redis
from worker.runtime.settings import Settings

REFUSED = (RedisConnectionError, OperationalError, OSError)
Url = Callable[..., str]


@contextmanager
def with_tls(redis_url: str, certificate: Path) -> Generator[Url]:
    """Valkey with TLS: a function from parameters to its URL."""
    plain = urlsplit(redis_url)
    assert plain.port
    with tls_in_front_of(plain.port, certificate) as port:

        def to_url(parameters: str = "") -> str:
            return f"rediss://:{plain.password}@localhost:{port}/0{parameters}"

        yield to_url


@pytest.fixture
def tls_url(redis_url: str) -> Generator[Url]:
    with with_tls(redis_url, LOCALHOST) as url:
        yield url


def ask_blocking(url: str) -> None:
    connections = BlockingConnections(url, None)
    [answer] = run_blocking(connections.send([("PING",)]))
    assert answer
    run_blocking(connections.close())


def ask_async(url: str) -> None:
    async def ask() -> None:
        connections = AsyncConnections(url, None)
        try:
            assert await connections.send([("PING",)])
        finally:
            await connections.close()

    asyncio.run(ask())


def ask_tail(url: str) -> None:
    async def ask() -> None:
        async with read_redis_url(url).open_async() as redis:
            assert await redis.ping()  # pyright: ignore[reportUnknownMemberType, reportGeneralTypeIssues]

    asyncio.run(ask())


def ping(broker: Connection) -> None:
    """Open a channel: Kombu's asks Redis whether it answers."""
    with broker.channel():
        pass


def ask_broker(url: str) -> None:
    with read_broker_url(url).connect({}) as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=1)
        ping(broker)


def ask_producer(url: str) -> None:
    with make_producer(Settings(redis_url=url)).connection_for_write() as broker:
        ping(broker)


CLIENTS: list[Callable[[str], object]] = [
    lambda url: open_redis(url).ping(),
    lambda url: open_hint_redis(url).ping(),
    ask_blocking,
    ask_async,
    ask_tail,
    ask_broker,
    ask_producer,
]
clients = pytest.mark.parametrize(
    "ask", CLIENTS, ids=["work", "hints", "subscriber", "async", "tail", "broker", "producer"]
)


@clients
def test_a_certificate_of_an_unknown_authority_is_refused(
    tls_url: Url, ask: Callable[[str], object]
) -> None:
    with pytest.raises(REFUSED, match=r"(?i)certificate.verify.failed"):
        ask(tls_url())


@clients
@pytest.mark.parametrize(
    "required", ["", "&ssl_cert_reqs=CERT_REQUIRED", "&ssl_cert_reqs=required"]
)
def test_a_certificate_of_a_given_authority_is_accepted(
    tls_url: Url, ask: Callable[[str], object], required: str
) -> None:
    ask(tls_url(f"?ssl_ca_certs={LOCALHOST}{required}"))


@clients
def test_an_authority_of_the_system_is_trusted(
    tls_url: Url, ask: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(LOCALHOST))
    ask(tls_url())


@clients
def test_a_valid_certificate_of_another_name_is_refused(
    redis_url: str, ask: Callable[[str], object]
) -> None:
    with with_tls(redis_url, OTHER_NAME) as url:
        with pytest.raises(REFUSED, match="Hostname mismatch"):
            ask(url(f"?ssl_ca_certs={OTHER_NAME}"))
        ask(url(f"?ssl_ca_certs={OTHER_NAME}&ssl_check_hostname=false"))


@clients
@pytest.mark.parametrize("value", ["none", "CERT_NONE"])
def test_the_check_can_be_switched_off(
    tls_url: Url, ask: Callable[[str], object], value: str
) -> None:
    ask(tls_url(f"?ssl_cert_reqs={value}"))


def test_the_health_check_sees_a_broker_with_a_wrong_certificate(
    pipeline: Pipeline, tls_url: Url
) -> None:
    checks = {c.name: c.ok for c in examine(pipeline.engine, pipeline.redis, tls_url())}
    assert not checks["broker"]
    trusted = tls_url(f"?ssl_ca_certs={LOCALHOST}")
    assert {c.name: c.ok for c in examine(pipeline.engine, pipeline.redis, trusted)}["broker"]


def test_a_worker_publishes_and_relays_with_its_certificates_checked(
    pipeline: Pipeline, database_url: str, tls_url: Url, tmp_path: Path
) -> None:
    url = tls_url(f"?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={LOCALHOST}")
    with celeries(tmp_path, database_url, url) as celery:
        worker = celery.worker()
        celery.beat()
        pipeline.accept(pipeline.video())
        wait_until(lambda: count_published(pipeline) == 1, "the video to be published")
        wait_until(lambda: stream(pipeline.redis), "its event on the stream")
        assert not worker.says("insecure")
