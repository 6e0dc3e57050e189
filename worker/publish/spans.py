"""The spans of a batch: one of the batch, in a trace of its own, and one of each command.

A command's span is in the command's trace, which began with its caller; its event carries on from
there. The batch's span has links to those of its commands, and each of them a link to the batch.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID

from publish_worker_client.events.names import Trigger
from schemas.values.decision import Decision
from schemas.values.video_facts import ClaimedCommand
from worker.runtime.tracing import (
    ATTEMPTS,
    COMMAND_ID,
    OUTCOME,
    VIDEO_ID,
    WORKSPACE_ID,
    get_tracer,
)

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from publish_worker_client.spans import Tracer

MAX_LINKS = 128
"""Links of a batch's span: the SDK's default limit, of which it would keep the last ones."""


def trace_batch() -> "BatchSpans | None":
    """Return the spans of a batch that begins now; None: traces are off."""
    tracer = get_tracer()
    return None if tracer is None else BatchSpans(tracer)


class BatchSpans:
    """The spans of one batch; a context manager that ends the batch's span if the batch failed.

    Spans of commands are started before the decisions, so that events can carry them, and are
    exported only if the transaction was committed.
    """

    def __init__(self, tracer: "Tracer") -> None:
        self._tracer = tracer
        self._started = time.time_ns()
        self._batch: Span | None = None
        self._commands: dict[UUID, tuple[ClaimedCommand, Span]] = {}
        self._stack = ExitStack()

    def open(self, commands: Sequence[ClaimedCommand]) -> None:
        """Start the spans, and give each command the `traceparent` of its own."""
        for command in commands:
            if command.trigger != Trigger.CANARY:
                self._open_command(command)
        if any(span.is_recording() for _, span in self._commands.values()):
            size = {"messaging.batch.message_count": len(commands)}
            self._batch = self._start("publish batch", None, size)
            self._stack.enter_context(self._tracer.use(self._batch))

    def _open_command(self, command: ClaimedCommand) -> None:
        known = {
            COMMAND_ID: str(command.id),
            VIDEO_ID: command.video_id,
            WORKSPACE_ID: command.workspace_id,
            "messaging.operation.type": "process",
        }
        name = f"{command.action} command"
        span = self._tracer.start(name, command.traceparent, "consumer", known, self._started)
        command.traceparent = self._tracer.carry(span, command.traceparent)
        self._commands[command.id] = command, span

    def _start(self, name: str, parent: str | None, known: dict[str, int]) -> "Span":
        return self._tracer.start(name, parent, "internal", known, self._started)

    def close(self, decisions: Sequence[Decision], error: BaseException | None = None) -> None:
        """End the spans: the transaction was committed. `error` is why a command's try failed.

        A command that still waits has a span only for its first check.
        """
        ended = time.time_ns()
        linked = 0
        for decision in decisions:
            _, span = self._commands.get(decision.command_id, (None, None))
            if span is None or not span.is_recording() or not _has_news(decision, error):
                continue
            if self._batch is not None and self._batch.is_recording():
                self._tracer.link(span, self._batch)
                if linked < MAX_LINKS:
                    self._tracer.link(self._batch, span)
                linked += 1
            span.set_attribute(OUTCOME, decision.state)
            span.set_attribute(ATTEMPTS, decision.attempts)
            self._tracer.end(span, type(error).__name__ if error else None, ended)
        if self._batch is not None:
            if linked > MAX_LINKS:
                self._batch.set_attribute("publish_worker.batch.unlinked", linked - MAX_LINKS)
            self._tracer.end(self._batch, end_ns=ended)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the batch's span, and end it if the batch failed."""
        self._stack.close()
        if error is not None and self._batch is not None and self._batch.is_recording():
            cause = error.__cause__ or error
            self._tracer.end(self._batch, type(cause).__name__)


def _has_news(decision: Decision, error: BaseException | None) -> bool:
    return bool(error) or decision.finished_at is not None or decision.checks == 1
