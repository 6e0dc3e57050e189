"""`/metrics`: what a scrape reads, in which format, and without a part that is unreachable."""

import asyncio
import time

import pytest
from redis import Redis
from sqlalchemy import Engine

from db.session import connect
from tests.support.api import Api
from tests.support.free_port import free_port
from tests.support.prometheus import value_of
from tests.support.raw_http import exchange
from tests.support.served import served
from tests.support.waiting import PATIENCE
from worker.operations.canary import schedule_canary
from worker.operations.gauges import GaugeReader, Gauges
from worker.operations.health import Heartbeat
from worker.runtime.metrics import get_metrics, make_registry
from worker.runtime.settings import Settings

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is slow is not a dead one, and two scrapes are within two seconds."""
    monkeypatch.setattr("db.gauges.SECONDS", PATIENCE)
    monkeypatch.setattr("worker.operations.gauges.WAIT_SECONDS", PATIENCE)
    monkeypatch.setattr("worker.operations.gauges.FRESH_SECONDS", PATIENCE)


def scrape(api: Api) -> str:
    answer = api.call("GET", "/metrics", None)
    assert answer.status_code == 200
    return answer.text


def http_requests(route: str, method: str, status: str) -> float:
    labels = {"route": route, "method": method, "status": status}
    return make_registry().get_sample_value("publish_worker_http_requests_total", labels) or 0


def test_it_needs_no_key_and_is_in_the_text_format(api: Api) -> None:
    answer = api.call("GET", "/metrics", None)
    assert answer.headers["Content-Type"] == TEXT
    assert value_of(answer.text, "database_up") == 1
    assert value_of(answer.text, "redis_up") == 1


def test_a_scraper_that_asks_for_openmetrics_gets_it(api: Api) -> None:
    answer = api.call("GET", "/metrics", None, headers={"Accept": OPENMETRICS})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.usefixtures("long_pauses")
def test_the_gauges_are_those_of_the_database_and_redis(api: Api) -> None:
    api.publish(api.video())
    api.publish(api.video(status="in_progress"))
    api.accept(api.video(), api.video())
    Heartbeat(api.waker).leave()
    text = scrape(api)
    assert value_of(text, "open_commands", state="scheduled") == 2
    assert value_of(text, "open_commands", state="waiting") == 1
    assert value_of(text, "due_commands") == 2
    assert 0 < (value_of(text, "oldest_due_command_age_seconds") or 0) < 60
    assert value_of(text, "failed_commands") == 0
    assert value_of(text, "last_event_position") == 1
    assert value_of(text, "relay_lag_events", outlet="stream") == 1
    assert (value_of(text, "relay_lag_seconds", outlet="stream") or 0) > 0
    assert (value_of(text, "heartbeat_timestamp_seconds") or 0) > 0
    assert value_of(text, "canary_last_success_timestamp_seconds") is None
    assert value_of(text, "canary_first_scheduled_timestamp_seconds") is None


def test_a_canary_that_was_never_carried_out_is_seen(api: Api) -> None:
    schedule_canary(api.engine, api.waker, None)
    text = scrape(api)
    assert (value_of(text, "canary_first_scheduled_timestamp_seconds") or 0) > time.time() - 60
    assert value_of(text, "canary_last_success_timestamp_seconds") is None


def test_the_lag_of_the_fan_out_is_that_of_an_outlet(api: Api) -> None:
    endpoint = {"url": "https://hooks.example.com/", "event_types": ["video.published"]}
    assert api.post("/webhook-endpoints", "admin", json=endpoint).status_code == 201
    api.publish(api.video())
    text = scrape(api)
    assert value_of(text, "relay_lag_events", outlet="webhooks") == 1
    assert value_of(text, "webhook_endpoints", state="enabled") == 1
    assert value_of(text, "webhook_pending_deliveries") == 0


def test_scrapes_within_two_seconds_read_the_database_once(api: Api) -> None:
    assert value_of(scrape(api), "due_commands") == 0
    api.accept(api.video())
    assert value_of(scrape(api), "due_commands") == 0


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("POST", "/api/v1/videos/{id}/publish/", "/api/v1/videos/{video_id}/publish", "2xx"),
        ("POST", "/api/v1/videos/{id}/publish", "/api/v1/videos/{video_id}/publish", "2xx"),
        ("POST", "/api/v1/videos/0/publish/", "/api/v1/videos/{video_id}/publish", "4xx"),
        ("GET", "/api/v1/videos/{id}/", "/api/v1/videos/{video_id}", "2xx"),
        ("HEAD", "/api/v1/videos/{id}/", "/api/v1/videos/{video_id}", "2xx"),
        ("GET", "/healthz", "/healthz", "2xx"),
        ("GET", "/v/a/b/c", "/v/{path:path}", "4xx"),
        ("GET", "/nonsense/17", "other", "4xx"),
    ],
)
def test_requests_are_counted_by_the_routes_template(
    api: Api, method: str, path: str, route: str, status: str
) -> None:
    path = path.format(id=api.video())
    before = http_requests(route, method, status)
    api.call(method, path)
    assert http_requests(route, method, status) == before + 1


def test_a_method_without_a_meaning_and_a_broken_request_add_no_series(
    platform: Engine, redis_url: str
) -> None:
    before = http_requests("other", "OTHER", "4xx")
    with served(platform, redis_url) as server:
        assert exchange(server.url, b"\x00\x01 nonsense\r\n\r\n").status == 400
        exchange(server.url, b"LOCK /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    families = {
        sample.name for metric in get_metrics().registry.collect() for sample in metric.samples
    }
    assert families
    assert http_requests("other", "OTHER", "4xx") == before + 2


def read_gauges(engine: Engine, redis: Redis) -> Gauges:
    async def read() -> Gauges:
        reader = GaugeReader(engine, redis, Settings())
        gauges = await reader.read()
        await reader.close()
        return gauges

    return asyncio.run(read())


def test_without_the_database_a_scrape_says_so_and_has_the_rest(redis: Redis) -> None:
    engine = connect(f"postgresql://nowhere@127.0.0.1:{free_port()}/none")
    registry = make_registry(read_gauges(engine, redis))
    assert registry.get_sample_value("publish_worker_database_up") == 0
    assert registry.get_sample_value("publish_worker_redis_up") == 1
    assert registry.get_sample_value("publish_worker_due_commands") is None
    assert registry.get_sample_value("publish_worker_command_failed_attempts_total") is not None


def test_without_redis_a_scrape_says_so_and_has_the_rest(engine: Engine) -> None:
    redis = Redis.from_url(f"redis://127.0.0.1:{free_port()}", retry=None)
    registry = make_registry(read_gauges(engine, redis))
    assert registry.get_sample_value("publish_worker_redis_up") == 0
    assert registry.get_sample_value("publish_worker_database_up") == 1
    labels = {"outlet": "stream"}
    assert registry.get_sample_value("publish_worker_relay_lag_events", labels) is None
