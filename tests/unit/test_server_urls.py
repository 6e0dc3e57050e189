"""URLs of servers: a wrong one is one clear line when a process starts, and shows no password."""

from pathlib import Path

import pytest

from publish_worker_client.servers.database_url import read_url
from worker.runtime.broker_url import read_broker_url
from worker.runtime.settings import Settings, SettingsError
from worker.runtime.startup import check_settings

DATABASE = "postgresql://host/videos"
REDIS = "redis://host"
NOT_A_CERTIFICATE = Path(__file__)


def refuse(**settings: str) -> str:
    """The line that a start ends with."""
    given = {"database_url": DATABASE, "redis_url": REDIS, **settings}
    with pytest.raises(SettingsError) as refused:
        check_settings(Settings.model_validate(given))
    line = str(refused.value)
    assert "\n" not in line
    assert "secret" not in line
    return line


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("redis://:secret@host/0?socket_timeot=1", "socket_timeot"),
        ("redis://:secret@host/0?socket_timeout=soon", "socket_timeout"),
        ("redis://:secret@host/0?socket_timeout=-1", "out of range"),
        ("redis://:secret@host/0?socket_timeout=0", "out of range"),
        ("redis://:secret@host/0?socket_connect_timeout=nan", "out of range"),
        ("redis://:secret@host/0?max_connections=0", "out of range"),
        ("redis://:secret@ho st/0", "space"),
        (f"redis://:secret@{'a' * 64}.example/0", "host"),
        ("redis://:secret@host/0?db=1&db=2", "twice"),
        ("redis://:secret@host/videos", "db must be a number"),
        ("redis://:secret@host:port/0", "port"),
        ("redis://:sec#ret@host/0", "percent-encoded"),
        ("redis://:secret@host/0?ssl_cert_reqs=required", "rediss"),
        ("rediss://:secret@host/0?ssl_cert_req=required", "ssl_cert_req"),
        ("rediss://:secret@host/0?ssl_cert_reqs=always", "ssl_cert_reqs"),
        ("rediss://:secret@host/0?ssl_check_hostname=maybe", "ssl_check_hostname"),
        ("rediss://:secret@host/0?ssl_ca_certs=/nowhere.pem", "/nowhere.pem"),
        (f"rediss://:secret@host/0?ssl_ca_certs={NOT_A_CERTIFICATE}", NOT_A_CERTIFICATE.name),
        ("redis://:secret@one;redis://:secret@other", "db must be a number"),
        ("sentinel://:secret@one:26379;two:port/0", "port"),
        ("sentinel://:secret@one:26379/0?mastername=videos", "mastername"),
        ("redsi://:secret@host/0", "scheme"),
        ("host:6379", "scheme"),
    ],
)
def test_a_redis_url_that_is_not_valid_is_one_line(url: str, wrong: str) -> None:
    line = refuse(redis_url=url)
    assert line.startswith("REDIS_URL is not valid: ")
    assert wrong in line


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("amqps://me:secret@host//?verify=none", "verify"),
        ("amqp://me:secret@host//?ssl_cert_reqs=required", "amqps"),
        ("amqps://me:secret@host//?ssl_ca_certs=/nowhere.pem", "/nowhere.pem"),
        ("amqp://me:secret@one;amqps://me:secret@other", "same scheme"),
        ("amqp://me:secret@host:port//", "port"),
        ("amqp://me:secret@host//?heartbeat=often", "Kombu"),
    ],
)
@pytest.mark.parametrize("setting", ["broker_url", "amqp_url"])
def test_an_amqp_url_that_is_not_valid_is_one_line(setting: str, url: str, wrong: str) -> None:
    line = refuse(outlets="stream,amqp", **{setting: url})
    assert line.startswith(f"{setting.upper()} is not valid: ")
    assert wrong in line


@pytest.mark.parametrize("url", ["rabbit://me:secret@host", "SQS://me:secret@", "me:secret@host"])
def test_a_broker_that_kombu_cannot_reach_is_one_line(url: str) -> None:
    assert refuse(broker_url=url).startswith("BROKER_URL is not valid: ")


def test_a_redis_is_not_an_outlet_for_amqp() -> None:
    assert "amqp" in refuse(outlets="stream,amqp", amqp_url="redis://:secret@host")


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("postgresql://me:secret@host/videos?sslmod=require", "sslmod"),
        ("postgresql://me:secret@host/videos?sslmode=verify_full", "verify_full"),
        ("postgresql://me:secret@host/videos?sslmode=require&sslrootcert=system", "weak sslmode"),
        ("postgresql://me:secret@one,two/videos?target_session_attrs=rw", "rw"),
        ("postgresql://me:secret@one:1,two:2/videos?sslmod=require", "sslmod"),
        ("postgresql://me:secret@host:port/videos", "port"),
        ("postgresql:///videos?host=one,two&port=1,2,3", "port"),
        ("postgresql://me:sec/ret@one,two/videos", "DATABASE_URL"),
        ("postgresql://me:p@secret@host/videos", "percent-encode"),
        ("postgresql://me:1/secret@host/videos", "percent-encode"),
        ("postgresql://me:1@host/videos?secret", "percent-encode"),
        ("mysql://me:secret@host/videos", "scheme"),
        ("host=secret dbname=videos", "scheme"),
    ],
)
def test_a_database_url_that_is_not_valid_is_one_line(url: str, wrong: str) -> None:
    line = refuse(database_url=url)
    assert line.startswith("DATABASE_URL is not valid: ")
    assert wrong in line


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://me@one,two/videos?target_session_attrs=read-write", "one,two", ","),
        ("postgres://me:p%40ss@one:5432,two:5433/videos", "one,two", "5432,5433"),
        ("postgresql+psycopg2://me@one:5432,two:5433/videos", "one,two", "5432,5433"),
        ("postgresql://[::1]:5432,[::2]:5433/videos", "::1,::2", "5432,5433"),
        ("postgresql:///videos?host=one,two&port=5433", "one,two", "5433"),
    ],
)
def test_a_database_may_have_several_hosts(url: str, hosts: str, ports: str) -> None:
    check_settings(Settings(database_url=url, redis_url=REDIS))
    read = read_url(url)
    assert (read["host"], read.get("port", ",")) == (hosts, ports)
    assert read["dbname"] == "videos"


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://user:p%40ss@host:6379/3?client_name=worker",
        "rediss://:secret@host:6380/0?ssl_cert_reqs=CERT_REQUIRED",
        "unix:///run/valkey.sock?db=2",
        "sentinel://:secret@one:26379;sentinel://two:26379;three/1?master_name=videos",
    ],
)
def test_one_url_serves_stream_and_broker(url: str) -> None:
    check_settings(Settings(database_url=DATABASE, redis_url=url))


def test_a_database_of_a_socket_reaches_the_broker_too() -> None:
    assert read_broker_url("unix:///run/v.sock?db=2").url.endswith("/run/v.sock?virtual_host=2")
