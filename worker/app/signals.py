"""Celery's signals and transport, installed in a process that is our worker or beat."""

import logging
import os
from typing import TYPE_CHECKING, Any

import structlog
from billiard.process import current_process
from celery import signals
from kombu.transport import TRANSPORT_ALIASES

from worker.app.messages import read_unreadable_properties, refuse_compression
from worker.runtime import logs
from worker.runtime.broker_errors import drop_traceback
from worker.runtime.database import open_engine
from worker.runtime.errors_explained import one_clear_line
from worker.runtime.interpreter import collect_less_often
from worker.runtime.metrics import name_process, prepare_metrics
from worker.runtime.settings import Settings
from worker.runtime.startup import check_database, check_settings

if TYPE_CHECKING:
    from worker.app.celery_app import PublishWorkerApp


def install(app: "PublishWorkerApp") -> None:
    """Make this process our worker or beat; a second call changes nothing.

    Ends the process with one clear line if a setting is missing or not valid.
    """
    # With Kombu's own transport one unreadable list entry ends the worker: see app/transport.py.
    # Kombu looks a name up once, so this comes before the first connection is made.
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "worker.app.transport:Transport"))
    TRANSPORT_ALIASES["sentinel"] = "worker.app.transport:SentinelTransport"
    with one_clear_line():
        settings = Settings()
        check_settings(settings)
        prepare_metrics(needs_directory=settings.metrics_listen is not None)
        if settings.metrics_listen:
            app.metrics_server.start(settings.metrics_listen)

    refuse_compression()
    read_unreadable_properties()

    def start_pool_process(**_: Any) -> None:
        collect_less_often()
        place: int = getattr(
            current_process(), "index", 0
        )  # of the pool; a replacement gets it too
        name_process(f"{os.getppid()}-{place}")
        app.forget_inherited()

    def start_main_process(**_: Any) -> None:
        collect_less_often()

    def end_pool_process(**_: Any) -> None:
        app.close_courier()

    def connect_to(signal: Any, receiver: Any) -> None:
        signal.connect(receiver, weak=False, dispatch_uid=receiver.__qualname__)

    connect_to(signals.celeryd_init, check_before_start)
    connect_to(signals.setup_logging, configure_logs)
    connect_to(signals.task_prerun, bind_task)
    connect_to(signals.worker_ready, start_main_process)
    connect_to(signals.beat_init, start_main_process)
    connect_to(signals.worker_process_init, start_pool_process)
    connect_to(signals.worker_process_shutdown, end_pool_process)


def check_before_start(**_: Any) -> None:
    """End the process with one clear line unless the database answers and is migrated.

    The worker waits for a database that becomes unreachable later.
    """
    with one_clear_line():
        settings = Settings()
        engine = open_engine(settings)
        try:
            check_database(engine)
        finally:
            engine.dispose()


def configure_logs(**_: Any) -> None:
    """Send all log lines through structlog, those about an outage without a traceback."""
    settings = Settings()
    logs.configure(settings.log_format, settings.log_level)
    for handler in logging.getLogger().handlers:
        handler.addFilter(drop_traceback)


def bind_task(task_id: str, task: Any, **_: Any) -> None:
    """Name the task in each of its log lines."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id)
