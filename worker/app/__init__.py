"""The Celery app, and all of Celery's plumbing: the tasks know none of it."""

import gc
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog
from celery import Celery, signals
from kombu.transport import TRANSPORT_ALIASES
from redis import Redis
from sqlalchemy import Engine

from db.session import connect
from worker.events.outlets import Outlet, switched_on
from worker.runtime import logs
from worker.runtime.settings import Settings, resolve
from worker.runtime.startup import check_database, check_settings, one_clear_line
from worker.runtime.wake_ups import (
    DELIVERIES_MARK,
    FAN_OUT_MARK,
    REPORTS_MARK,
    Waker,
    impatient,
    patient,
)
from worker.webhooks.courier import Courier, Rules

RUN_DUE = "publish.run_due"
TAKE_REPORTS = "generation.take"
FAN_OUT = "webhooks.fan_out"
DELIVER = "webhooks.deliver"
WAKE_EXPIRES = 60.0
"""Seconds; the sweep is there long before, so an old wake-up says nothing."""

# Kombu's own transport lets one senseless list entry end the worker: see worker.app.consumer.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "worker.app.consumer:Transport"))

app = Celery("publish-worker")
app.config_from_object("celeryconfig")


@dataclass(frozen=True, kw_only=True)
class Process:
    """What this process works with."""

    settings: Settings
    engine: Engine
    redis: Redis
    waker: Waker


@lru_cache(maxsize=1)
def process() -> Process:
    """This process's engine and clients, made when it first needs them."""
    settings = resolve()
    return Process(
        settings=settings,
        engine=connect(settings.database(), platform_schema=settings.platform_schema),
        redis=patient(settings.redis()),
        waker=Waker(redis=impatient(settings.redis()), send=send_wake_up),
    )


def send_wake_up() -> None:
    """Send the message that there may be work; no state is in it."""
    app.send_task(RUN_DUE, expires=WAKE_EXPIRES)


def reports_waker(here: Process) -> Waker:
    """Wakes whoever takes generation reports off their stream."""
    return _waker(here, TAKE_REPORTS, REPORTS_MARK)


def fan_out_waker(here: Process) -> Waker:
    """Wakes whoever makes webhook deliveries of new events."""
    return _waker(here, FAN_OUT, FAN_OUT_MARK)


def deliveries_waker(here: Process) -> Waker:
    """Wakes whoever sends webhook deliveries."""
    return _waker(here, DELIVER, DELIVERIES_MARK)


def _waker(here: Process, task: str, mark: str) -> Waker:
    def send() -> None:
        app.send_task(task, expires=WAKE_EXPIRES)

    return Waker(redis=here.waker.redis, send=send, mark=mark)


@lru_cache(maxsize=1)
def outlets() -> Sequence[Outlet]:
    """Where this process hands events on to."""
    here = process()
    return switched_on(here.engine, here.redis, here.settings)


@lru_cache(maxsize=1)
def courier() -> Courier:
    """This process's sender of webhooks, started when it first has any to send."""
    here = process()
    return Courier(
        here.engine,
        Rules(
            base_url=here.settings.public_base_url,
            allow_private=here.settings.webhooks_allow_private,
        ),
    )


@signals.celeryd_init.connect
def _start_only_with_a_database(**_: Any) -> None:
    """A worker ends with one clear line if it could do nothing; what goes away later, it awaits."""
    with one_clear_line():
        settings = resolve()
        check_settings(settings)
        engine = connect(settings.database(), platform_schema=settings.platform_schema)
        try:
            check_database(engine)
        finally:
            engine.dispose()


@signals.worker_process_init.connect
def _start_afresh(**_: Any) -> None:
    """A pool process is a fork: connections made before must not be shared with its parent.

    What is loaded by now stays, so the collector need not look at it again and again; and a batch
    makes tens of thousands of short-lived objects, so it looks less often.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    if process.cache_info().currsize:
        inherited = process()
        inherited.engine.dispose(close=False)
        process.cache_clear()


@signals.worker_process_shutdown.connect
def _finish_sending(**_: Any) -> None:
    """What is in flight may end; what is cut off is simply sent again."""
    if courier.cache_info().currsize:
        courier().close()


@signals.setup_logging.connect
def _log_through_structlog(**_: Any) -> None:
    settings = resolve()
    logs.configure(settings.log_format, settings.log_level)


@signals.task_prerun.connect
def _bind_task(task_id: str, task: Any, **_: Any) -> None:
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id)


@contextmanager
def closing(opened: Process) -> Generator[Process]:
    """Close a process's connections at the end."""
    try:
        yield opened
    finally:
        opened.engine.dispose()
        opened.redis.close()
        opened.waker.redis.close()
