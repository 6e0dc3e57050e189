"""Celery's signals and transport, installed in a process that is our worker or beat."""

import faulthandler
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog
from billiard.process import current_process
from celery import signals
from celery.concurrency.thread import TaskPool as ThreadPool
from kombu.transport import TRANSPORT_ALIASES

from db.processes import ProcessState
from schemas.values.process import ProcessRole
from worker.app.messages import read_unreadable_properties, refuse_compression
from worker.operations.processes import Identity, ProcessHeartbeat, describe_worker
from worker.runtime import logs
from worker.runtime.broker_errors import drop_traceback
from worker.runtime.database import open_engine
from worker.runtime.errors_explained import one_clear_line
from worker.runtime.interpreter import collect_less_often
from worker.runtime.metrics import name_process, prepare_metrics
from worker.runtime.settings import Settings
from worker.runtime.startup import check_database, check_settings
from worker.runtime.tracing import check_tracing, start_tracing, stop_tracing

if TYPE_CHECKING:
    from worker.app.celery_app import PublishWorkerApp

END_SECONDS = 150.0
"""How long the end of a worker may take: its tasks have 120 (`task_time_limit`)."""


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
        check_tracing("worker")
        prepare_metrics(needs_directory=settings.metrics_listen is not None)
        if settings.metrics_listen:
            app.metrics_server.start(settings.metrics_listen)

    _ = app.activity  # made before the fork of the pool, which shares it
    refuse_compression()
    read_unreadable_properties()
    _connect_common()
    _connect_main_process(app)
    _connect_pool_process(app)


def _connect_pool_process(app: "PublishWorkerApp") -> None:
    def start_pool_process(**_: Any) -> None:
        collect_less_often()
        place: int = getattr(current_process(), "index", 0)  # a replacement gets it, too
        name_process(f"{os.getppid()}-{place}")
        app.forget_inherited()
        start_tracing("worker")

    def end_pool_process(**_: Any) -> None:
        app.close_courier()
        stop_tracing()

    _connect(signals.worker_process_init, start_pool_process)
    _connect(signals.worker_process_shutdown, end_pool_process)


def _connect_main_process(app: "PublishWorkerApp") -> None:
    def start_main_process(sender: Any = None, **_: Any) -> None:
        collect_less_often()
        if isinstance(getattr(sender, "pool", None), ThreadPool):  # its tasks run in this process
            start_tracing("worker")

    heartbeats: list[ProcessHeartbeat] = []

    def start_heartbeat(sender: Any, **_: Any) -> None:
        if not heartbeats:  # the signal comes again after each loss of the broker
            heartbeats.append(open_worker_heartbeat(app, sender))
            heartbeats[0].start()

    def limit_end(**_: Any) -> None:
        faulthandler.dump_traceback_later(END_SECONDS, exit=True)

    def end_main_process(**_: Any) -> None:
        for heartbeat in heartbeats:
            heartbeat.stop()
        stop_tracing()

    _connect(signals.worker_ready, start_main_process)
    _connect(signals.worker_ready, start_heartbeat)
    _connect(signals.worker_shutting_down, limit_end)
    _connect(signals.worker_shutdown, end_main_process)
    _connect(signals.beat_init, start_main_process)


def _connect_common() -> None:
    _connect(signals.celeryd_init, check_before_start)
    _connect(signals.setup_logging, configure_logs)
    _connect(signals.task_prerun, bind_task)


def _connect(signal: Any, receiver: Any) -> None:
    """Connect once: a second `install` changes nothing."""
    signal.connect(receiver, weak=False, dispatch_uid=receiver.__qualname__)


def open_worker_heartbeat(app: "PublishWorkerApp", consumer: Any) -> ProcessHeartbeat:
    """Return the heartbeat of this worker, with a connection of its own.

    A pool process that is forked later must not share a lock with its thread.
    """
    identity = Identity(role=ProcessRole.WORKER, name=consumer.hostname)

    def describe() -> ProcessState:
        queues = sorted(consumer.app.amqp.queues.consume_from)
        return describe_worker(identity, app.activity, queues, count_processes(consumer.pool))

    engine = open_engine(Settings(), pool_size=1, overflow=0)
    return ProcessHeartbeat(engine, identity, describe, owns_engine=True)


def count_processes(pool: Any) -> int:
    """Return how many processes a pool has; 0 once it has stopped."""
    with suppress(AttributeError):  # then Celery's pool has none to ask
        return pool.num_processes
    return 0


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
