"""Celery's own environment variables, which may be another app's, do not reach our processes."""

import pytest
from kombu import Connection

from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries, count_published
from tests.support.waiting import wait_until
from worker.runtime.producer import make_producer
from worker.runtime.settings import Settings

ELSEWHERE = {
    "CELERY_BROKER_URL": "amqp://nobody@127.0.0.1:1//",
    "CELERY_BROKER_READ_URL": "amqp://nobody@127.0.0.1:1//",
    "CELERY_BROKER_WRITE_URL": "amqp://nobody@127.0.0.1:1//",
    "CELERY_RESULT_BACKEND": "django-db",
}


def ping(broker: Connection) -> None:
    """Open a channel: Kombu's asks Redis whether it answers."""
    with broker.channel():
        pass


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the platform's own Celery."""
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("elsewhere")
def test_worker_and_beat_use_our_broker(pipeline: Pipeline, celery: Celeries) -> None:
    worker = celery.worker()
    celery.beat()
    pipeline.accept(pipeline.video())
    wait_until(lambda: count_published(pipeline) == 1, "the video to be published")
    assert worker.is_running


@pytest.mark.usefixtures("elsewhere")
def test_a_producer_sends_to_our_broker(redis_url: str) -> None:
    with make_producer(Settings(redis_url=redis_url)).connection_for_write() as broker:
        ping(broker)
