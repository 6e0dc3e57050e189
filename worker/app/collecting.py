"""Collect `publish.enqueue` messages in the worker, so that one transaction accepts many of them.

No message waits for others: while a pool process is free, it gets what has arrived. Messages that
arrive while each process has a batch form the next one.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from celery import bootsteps
from celery.worker.request import Request
from celery.worker.strategy import default
from kombu import Message

from worker.app import batch
from worker.app.transport import acknowledge

RUN = cast("int", getattr(bootsteps, "RUN"))  # noqa: B009 - it has no type
MOST_MESSAGES = 250
"""Of a batch."""
MOST_BYTES = 2**20
"""Of a batch with more than one message. The worker holds as much again for the next one."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Held:
    """A message that was delivered and is not acknowledged."""

    id: str
    body: bytes
    """Its arguments, as `messages.rewrite_task` writes them."""
    message: Any
    """Kombu's."""
    reject: Callable[..., object]
    """Celery's: gives the message back to its queue."""


class Collector:
    """Decides which messages form a batch, and how many may be delivered meanwhile."""

    def __init__(
        self,
        count_processes: Callable[[], int],
        send: Callable[[list[Held]], object],
        widen: Callable[[int], object],
    ) -> None:
        """`send` gives a batch to the pool; `widen` changes the prefetch window by a number."""
        self._count_processes = count_processes
        self._send = send
        self._widen = widen
        self._waiting: deque[Held] = deque()
        self._batches = 0
        self._in_batches = 0
        self._granted = 0

    def add(self, message: Held) -> None:
        """Take a message that was delivered."""
        self._waiting.append(message)
        self._send_next()

    def end(self, messages: Sequence[Held]) -> None:
        """Note that a batch was acknowledged or rejected."""
        self._batches -= 1
        self._in_batches -= len(messages)
        self._send_next()

    def _send_next(self) -> None:
        while self._waiting and self._batches < self._count_processes():
            messages = [self._waiting.popleft() for _ in range(self._count_next())]
            self._batches += 1
            self._in_batches += len(messages)
            self._send(messages)
        self._adjust_window()

    def _count_next(self) -> int:
        """Return how many of the waiting messages fit into one batch."""
        size = 0
        for count, message in enumerate(self._waiting):
            size += len(message.body)
            if count == MOST_MESSAGES or (count and size > MOST_BYTES):
                return count
        return len(self._waiting)

    def _adjust_window(self) -> None:
        """Keep messages of batches, and those for the next one, out of the prefetch window.

        So it has its whole width for wake-ups. What does not fit into the next batch narrows it:
        then the worker reads no more until a batch ends.
        """
        granted = self._in_batches + self._count_next()
        self._widen(granted - self._granted)
        self._granted = granted


def count_processes(pool: Any) -> int:
    """Count the processes of Celery's pool. 0: it is ending."""
    return pool.num_processes if pool.active else 0


class BatchRequest(Request):
    """Celery's request of a batch: it may be acknowledged in part."""

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> None:
        """Pass on which messages go back to the queue."""
        error = exc_info.exception
        error = getattr(error, "exc", error)  # with its traceback
        if isinstance(error, batch.MessagesLeft):
            self.on_reject = partial(self.on_reject, left=frozenset(error.left))
        super().on_failure(exc_info, *args, **kwargs)


class Strategy:
    """Celery's handler of the messages of `publish.enqueue`, for one connection to the broker.

    Celery makes one for each connection, as the task's `Strategy`. When the connection is lost, or
    the worker ends, the held messages stay unacknowledged: the broker delivers them again.
    """

    def __init__(self, task: Any, app: Any, consumer: Any) -> None:
        self._handle_alone = default(task, app, consumer)
        self._handle_batch = default(app.tasks[batch.TASK], app, consumer)
        self._consumer = consumer
        self._connection = consumer.connection
        self._collector = Collector(self._count_processes, self._send, self._widen)

    def __call__(
        self, message: Message, body: Any, ack: Any, reject: Any, callbacks: Any
    ) -> object:
        """Take a message that was delivered and rewritten."""
        headers: Any = message.headers
        if headers["eta"] or headers["expires"]:
            return self._handle_alone(message, body, ack, reject, callbacks)
        text: Any = message.body
        return self._collector.add(
            Held(id=headers["id"], body=text, message=message, reject=reject)
        )

    @property
    def _is_current(self) -> bool:
        consumer = self._consumer
        return consumer.connection is self._connection and consumer.blueprint.state == RUN

    def _count_processes(self) -> int:
        return count_processes(self._consumer.pool) if self._is_current else 0

    def _widen(self, by: int) -> None:
        if not by or not self._is_current:
            return
        qos = self._consumer.qos
        if by > 0:
            qos.increment_eventually(by)
        else:
            qos.decrement_eventually(-by)
        self._consumer.call_soon(self._apply_window)

    def _apply_window(self) -> None:
        """Tell the broker. RabbitMQ may deliver messages before it answers, which widen it more.

        Celery's loop alone would then wait for another event before it tells the broker again.
        """
        qos = self._consumer.qos
        while self._is_current and qos.prev != qos.value:
            qos.update()

    def _send(self, messages: list[Held]) -> None:
        self._handle_batch(
            batch.build_message(messages),
            None,
            partial(self._acknowledge, messages),
            partial(self._reject, messages),
            self._consumer.on_task_message,
        )

    def _acknowledge(self, messages: Sequence[Held], *log: Any) -> None:
        originals = [each.message for each in messages]
        self._consumer.call_soon_ack(acknowledge, originals, *log)
        self._collector.end(messages)

    def _reject(
        self,
        messages: Sequence[Held],
        logger: Any,
        errors: Any,
        requeue: bool,
        left: Collection[int] | None = None,
    ) -> None:
        """Give back the messages with these indexes, or all; acknowledge the others."""
        done: list[Any] = []
        for index, each in enumerate(messages):
            if left is None or index in left:
                each.reject(logger, errors, requeue)
            else:
                done.append(each.message)
        self._consumer.call_soon_ack(acknowledge, done, logger, errors)
        self._collector.end(messages)
