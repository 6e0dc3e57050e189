"""The Celery producer: sends wake-ups, from any process, without becoming its Celery app.

Its settings are the ones that producers and workers share; `celeryconfig` takes them from here.
"""

from typing import Any

from celery import Celery
from kombu.utils.objects import cached_property

from worker.runtime.broker_url import BrokerConnection, BrokerUrl, read_broker_url
from worker.runtime.settings import Settings
from worker.runtime.wake_ups import BROKER_PREFIX, EXPIRES_SECONDS, QUEUE, WAKE_UPS, WakeUp

QUEUES = {
    queue: {"exchange": queue, "routing_key": queue}
    for queue in dict.fromkeys((QUEUE, *(wake_up.queue for wake_up in WAKE_UPS)))
}
"""Webhooks have a queue of their own, so that they can have workers of their own: one started with
`-Q webhooks`, the others with `-Q publish`. Without -Q a worker serves both."""
ROUTES = {wake_up.task: {"queue": wake_up.queue} for wake_up in WAKE_UPS}
SERIALIZER = "json"
"""A message is data; unpickling one would run it."""
TRANSPORT_OPTIONS: dict[str, Any] = {
    "global_keyprefix": BROKER_PREFIX,
    # Redelivery of unacknowledged messages. Ours are acknowledged as they arrive, except
    # `publish.enqueue`, which takes seconds: ten minutes is ample.
    "visibility_timeout": 600,
    # A dead Redis must not hang an enqueue, nor a worker's reconnect.
    "socket_timeout": 5.0,
    "socket_connect_timeout": 0.5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    # How long a producer tries to get a connection: the sweep finds what gets lost.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.2,
}
RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.2}
"""A wake-up that cannot be sent now is not worth a wait: one more try, then the sweep."""
CONNECT_SECONDS = 1.0


class BrokerApp(Celery):
    """A Celery app that connects to the broker of its settings, and to no other.

    Celery prefers `CELERY_BROKER_URL` and `CELERY_RESULT_BACKEND`, which may be another app's.
    """

    backend_cls = "disabled"

    @cached_property
    def settings(self) -> Settings:
        """The environment's, unless they were set."""
        return Settings()

    @cached_property
    def broker(self) -> BrokerUrl:
        """The broker. Raises SettingsError and InvalidUrl."""
        return read_broker_url(self.settings.broker())

    def _connection(self, _url: str | None = None, **options: Any) -> BrokerConnection:
        """Every connection of Celery is made here."""
        return self.broker.connect(
            TRANSPORT_OPTIONS | (options.get("transport_options") or {}),
            connect_timeout=options.get("connect_timeout") or CONNECT_SECONDS,
            heartbeat=options.get("heartbeat") or 0,
        )


def make_producer(settings: Settings) -> BrokerApp:
    """Return a Celery app that only sends. It is not the process's current app, and reads no file.

    Raises SettingsError if neither BROKER_URL nor REDIS_URL is set, or the URL is not valid.
    """
    producer = BrokerApp("publish-worker", set_as_current=False)
    producer.settings = settings
    producer.conf.update(
        task_serializer=SERIALIZER,
        accept_content=[SERIALIZER],
        task_default_queue=QUEUE,
        task_create_missing_queues=False,
        task_queues=QUEUES,
        task_routes=ROUTES,
        task_ignore_result=True,
        task_publish_retry=True,
        task_publish_retry_policy=RETRY_POLICY,
    )
    _ = producer.broker
    return producer


def send_wake_up(producer: Celery, wake_up: WakeUp) -> None:
    """Send the message; it carries no state. Raises what Kombu raises when the broker is down."""
    producer.send_task(wake_up.task, expires=EXPIRES_SECONDS)
