"""The Celery producer: sends wake-ups, from any process, without becoming its Celery app.

Its settings are the ones that producers and workers share; `celeryconfig` takes them from here.
"""

from typing import Any

from celery import Celery

from worker.runtime.settings import Settings
from worker.runtime.wake_ups import EXPIRES_SECONDS, WAKE_UPS, WakeUp

QUEUE = "publish"
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
    # A prefix for every key that Kombu makes on Redis: they are told from ours and from others'.
    "global_keyprefix": "publish-worker:celery:",
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


def make_producer(settings: Settings) -> Celery:
    """Return a Celery app that only sends. It is not the process's current app, and reads no file.

    Raises SettingsError if neither BROKER_URL nor REDIS_URL is set.
    """
    producer = Celery("publish-worker", set_as_current=False)
    producer.conf.update(
        broker_url=settings.broker(),
        broker_connection_timeout=CONNECT_SECONDS,
        broker_transport_options=TRANSPORT_OPTIONS,
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
    return producer


def send_wake_up(producer: Celery, wake_up: WakeUp) -> None:
    """Send the message; it carries no state. Raises what Kombu raises when the broker is down."""
    producer.send_task(wake_up.task, expires=EXPIRES_SECONDS)
