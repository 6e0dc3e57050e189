"""Celery's signals and transport, installed in a process that is our worker or beat."""

import logging
from typing import TYPE_CHECKING, Any

import structlog
from celery import signals
from celery.concurrency.thread import TaskPool as ThreadPool
from kombu.transport import TRANSPORT_ALIASES

from worker.app.messages import read_unreadable_properties, refuse_compression
from worker.runtime import logs
from worker.runtime.broker_errors import drop_traceback
from worker.runtime.database import open_engine
from worker.runtime.errors_explained import one_clear_line
from worker.runtime.interpreter import collect_less_often
from worker.runtime.settings import Settings
from worker.runtime.startup import check_database, check_settings
from worker.runtime.tracing import start_tracing, stop_tracing

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
        check_settings(Settings())

    refuse_compression()
    read_unreadable_properties()

    def start_pool_process(**_: Any) -> None:
        collect_less_often()
        app.forget_inherited()
        start_tracing("worker")

    def start_main_process(sender: Any = None, **_: Any) -> None:
        collect_less_often()
        if isinstance(getattr(sender, "pool", None), ThreadPool):  # its tasks run in this process
            start_tracing("worker")

    def end_pool_process(**_: Any) -> None:
        app.close_courier()
        stop_tracing()

    def end_main_process(**_: Any) -> None:
        stop_tracing()

    def connect_to(signal: Any, receiver: Any) -> None:
        signal.connect(receiver, weak=False, dispatch_uid=receiver.__qualname__)

    connect_to(signals.celeryd_init, check_before_start)
    connect_to(signals.setup_logging, configure_logs)
    connect_to(signals.task_prerun, bind_task)
    connect_to(signals.worker_ready, start_main_process)
    connect_to(signals.beat_init, start_main_process)
    connect_to(signals.worker_process_init, start_pool_process)
    connect_to(signals.worker_process_shutdown, end_pool_process)
    connect_to(signals.worker_shutdown, end_main_process)


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
