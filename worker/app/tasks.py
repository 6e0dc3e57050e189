"""The Celery tasks: each parses its message and calls one function."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from celery import Task
from celery.exceptions import Reject
from tenacity import retry, retry_if_exception, stop_after_delay, wait_exponential_jitter

from db.errors import is_passing
from db.events.outbox import Recorded
from worker.app import app, batch
from worker.enqueue import announcements, time_zone_updates
from worker.enqueue.queue_messages import MessageDoor, ReceivedMessage
from worker.events.outlets import relay_all
from worker.events.summary import summarise
from worker.generation import stream
from worker.operations import canary, retention
from worker.operations.processes import Work
from worker.publish import run
from worker.runtime.budget import RUN_SECONDS
from worker.runtime.wake_ups import (
    ANNOUNCE,
    CANARY,
    DELIVER,
    FAN_OUT,
    PRUNE,
    PUBLISH,
    RELAY,
    REPORTS,
    SUMMARISE,
    TIME_ZONES,
)
from worker.webhooks.fan_out import fan_out
from worker.webhooks.run_lock import acquire_run_lock


@app.task(shared=False, name=PUBLISH.task)
def run_due() -> None:
    """Carry out the commands that are due."""
    runtime = app.runtime
    runtime.waker.note_arrival()
    app.heartbeat.leave()
    ended = run.run_due(
        runtime.engine,
        base_url=runtime.settings.public_base_url,
        media_base_url=runtime.settings.media_base_url,
        wake=runtime.waker.wake,
        committed=_after_batch,
        start=app.next_claim,
    )
    if ended:
        app.activity.note(Work.BATCH)  # also of commands without an event


def _after_batch(recorded: Recorded | None) -> None:
    if recorded:
        app.activity.note(Work.BATCH)
    relayed = _relay(recorded)
    runtime = app.runtime
    if recorded.has_endpoints if recorded else relayed:
        runtime.waker.wake(FAN_OUT)
    app.heartbeat.leave()


@app.task(shared=False, name=RELAY.task)
def relay_events() -> None:
    """Relay the events that are not at every outlet yet."""
    _relay()


def _relay(recorded: Recorded | None = None) -> int:
    relayed = relay_all(app.outlets, recorded)
    if relayed:
        app.activity.note(Work.RELAY)
    return relayed


@app.task(shared=False, name=SUMMARISE.task)
def summarise_events() -> None:
    """Count the new events, for the charts of the console."""
    summarise(app.runtime.engine)


@app.task(shared=False, name=REPORTS.task)
def take_reports() -> None:
    """Apply generation reports from their stream, and wake Celery for commands they make due."""
    runtime = app.runtime
    runtime.waker.note_arrival(REPORTS)
    if stream.take_or_postpone(runtime.engine, runtime.redis):
        runtime.waker.wake()


@app.task(shared=False, name=ANNOUNCE.task)
def announce_commands() -> None:
    """Record that commands that were enqueued in SQL are scheduled."""
    runtime = app.runtime
    runtime.waker.note_arrival(ANNOUNCE)
    announcements.announce(runtime.engine, committed=_after_batch)


@app.task(shared=False, name=FAN_OUT.task)
def fan_out_events() -> None:
    """Make the webhook deliveries of new events."""
    runtime = app.runtime
    runtime.waker.note_arrival(FAN_OUT)
    if fan_out(runtime.engine):
        runtime.waker.wake(DELIVER)


@app.task(shared=False, name=DELIVER.task, bind=True)
def deliver(self: Task[Any, Any]) -> None:
    """Send the webhook deliveries that are due; one run at a time on each worker."""
    runtime = app.runtime
    runtime.waker.note_arrival(DELIVER)
    with acquire_run_lock(runtime.redis, str(self.request.hostname)) as acquired:
        more = acquired and app.courier.send_due()
    if more:
        runtime.waker.wake(DELIVER)


@app.task(shared=False, name=PRUNE.task)
def prune() -> None:
    """Delete old rows and stream entries."""
    runtime = app.runtime
    retention.prune(runtime.engine, runtime.redis, runtime.settings)


@app.task(shared=False, name=TIME_ZONES.task)
def recompute() -> None:
    """Compute the instants of local times again where a zone's rules have changed."""
    runtime = app.runtime
    done = time_zone_updates.recompute_instants(runtime.engine, RUN_SECONDS)
    if done.moved:
        runtime.waker.wake()
    if not done.finished:
        runtime.waker.wake(TIME_ZONES)


@app.task(shared=False, name=CANARY.task)
def schedule_canary() -> None:
    """Schedule the next canary, which shows that scheduling works."""
    runtime = app.runtime
    canary.schedule_canary(runtime.engine, runtime.waker, runtime.settings.canary_video_id)


@app.task(
    name="publish.enqueue",
    shared=False,
    bind=True,
    typing=False,  # the schema checks the arguments, with better messages
    Strategy="worker.app.collecting:Strategy",  # most messages are carried out as a batch
    acks_late=True,  # until the command is in the inbox, the message is its only copy
    reject_on_worker_lost=True,  # so the message of a worker that dies goes back to the queue
    acks_on_timeout=False,  # and that of a process that hangs
)
def enqueue_message(self: Task[Any, Any], *args: Any, **message: Any) -> None:
    """Accept commands from a producer that has only the broker.

    The message's id is the idempotency key unless the message has one, so a repeated message has no
    effect.
    """
    with _requeue_while_passing():
        received = ReceivedMessage(id=str(self.request.id), args=args, kwargs=message)
        open_door().accept(received)


@app.task(
    name=batch.TASK,
    shared=False,
    bind=True,
    Request="worker.app.collecting:BatchRequest",
    acks_late=True,  # as above, for every message of the batch
    reject_on_worker_lost=True,
    acks_on_timeout=False,
)
def enqueue_batch(_self: Task[Any, Any], messages: list[Any]) -> None:
    """Accept a batch of `publish.enqueue` messages: the id of each, and its body."""
    received = [
        ReceivedMessage(id=message_id, args=args, kwargs=kwargs)
        for message_id, (args, kwargs, _) in messages
    ]
    with _requeue_while_passing():
        if left := open_door().accept_batch(received):
            raise batch.MessagesLeft(f"{len(left)} messages go back to the queue", left=left)


def open_door() -> MessageDoor:
    """Return where `publish.enqueue` messages are accepted."""
    runtime = app.runtime
    return MessageDoor(engine=runtime.engine, waker=runtime.waker, retry=_retry_while_passing)


@contextmanager
def _requeue_while_passing() -> Generator[None]:
    """Give the message back to the queue if the database cannot take or quarantine it now."""
    try:
        yield
    except Exception as error:
        if is_passing(error):
            raise Reject(str(error), requeue=True) from error
        raise


_retry_while_passing = retry(
    retry=retry_if_exception(is_passing),
    wait=wait_exponential_jitter(multiplier=0.1, max=5),
    stop=stop_after_delay(30),
    reraise=True,
)
"""Retries while the database is unreachable, for half a minute."""
