"""A process of another project that imports publish-worker; it prints its state as JSON.

Arguments, all optional: DATABASE_URL, REDIS_URL, a video's id. With them it also enqueues.
"""

import json
import logging
import os
import signal
import sys
import threading
from importlib import import_module
from typing import Any

import structlog
from celery import signals
from celery.app import app_or_default
from celery.utils.dispatch import Signal
from kombu.transport import TRANSPORT_ALIASES

from tests.support.foreign_app import double

PUBLIC = (
    "worker.enqueue",
    "worker.runtime.runtime",
    "worker.subscribe",
    "worker.app",
    "worker.api",
)


def ignore(number: int, frame: object) -> None:
    """Do nothing: a signal handler."""


def set_up() -> None:
    """Configure logs and signal handlers as another project might."""
    logging.basicConfig(level=logging.ERROR, format="foreign %(message)s")
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, ignore)


def read_state() -> dict[str, Any]:
    """Return everything that an import must not change; objects as their `repr`."""
    root = logging.getLogger()
    task: Any = double
    return {
        "celery_app": [repr(app_or_default()), repr(task.app)],
        "shared_task": double(21),
        "transports": dict(TRANSPORT_ALIASES),
        "celery_signals": {
            name: repr(each.receivers)
            for name, each in vars(signals).items()
            if isinstance(each, Signal)
        },
        "logging": [root.level, *map(repr, root.handlers), *map(repr, root.filters)],
        "structlog": repr(structlog.get_config()),
        "environment": dict(os.environ),
        "signal_handlers": {each.name: repr(signal.getsignal(each)) for each in signal.Signals},
        "threads": [thread.name for thread in threading.enumerate()],
    }


def enqueue(database_url: str, redis_url: str, video_id: int) -> None:
    """Enqueue a publish command, and send a task of the other project."""
    from publish_worker_client.events.names import Trigger  # noqa: PLC0415
    from schemas.command import PublishRequest  # noqa: PLC0415
    from worker.enqueue import Origin, enqueue  # noqa: PLC0415
    from worker.runtime.runtime import Runtime  # noqa: PLC0415
    from worker.runtime.settings import Settings  # noqa: PLC0415

    settings = Settings(database_url=database_url, redis_url=redis_url)
    origin = Origin(trigger=Trigger.API, correlation_id="foreign", workspace_id=None)
    with Runtime.open(settings) as runtime:
        enqueue(runtime.engine, runtime.waker, [PublishRequest(video_id=video_id)], origin)
    double.delay(4)


def main() -> None:
    """Compare the state before and after the imports, or before and after an enqueue."""
    set_up()
    before = read_state()
    for module in PUBLIC:
        import_module(module)
    if arguments := sys.argv[1:]:
        enqueue(arguments[0], arguments[1], int(arguments[2]))
    print(json.dumps({"before": before, "after": read_state()}))


if __name__ == "__main__":
    main()
