"""The span of a submission: from the call until its commands are in the inbox, or refused.

Its commands carry its `traceparent`: what happens to them later hangs below it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from publish_worker_client.events.names import Trigger
from schemas.command import PublishRequest
from worker.enqueue.origin import Origin
from worker.enqueue.refusals import EnqueueRefused
from worker.enqueue.submission import Accepted, Submission
from worker.runtime.tracing import (
    COMMAND_ID,
    ERROR_TYPE,
    OUTCOME,
    VIDEO_ID,
    WORKSPACE_ID,
    get_tracer,
)


def submit(requests: Sequence[PublishRequest], origin: Origin) -> Submission:
    """Return a submission, with a span if traces are on. The canary's has none."""
    tracer = get_tracer()
    if tracer is None or origin.trigger is Trigger.CANARY:
        return Submission(requests=requests, origin=origin)
    span = tracer.start("enqueue commands", origin.traceparent, "producer")
    span.set_attribute("messaging.operation.type", "create")
    span.set_attribute("messaging.batch.message_count", len(requests))
    if len(requests) == 1:
        span.set_attribute(VIDEO_ID, requests[0].video_id)
    if origin.workspace_id is not None:
        span.set_attribute(WORKSPACE_ID, origin.workspace_id)
    carried = replace(origin, traceparent=tracer.carry(span, origin.traceparent))
    return Submission(requests=requests, origin=carried, span=span)


def end_span(submission: Submission, outcome: Accepted | BaseException) -> None:
    """End a submission's span, if it has one, with its outcome."""
    tracer, span = get_tracer(), submission.span
    if tracer is None or span is None:
        return
    if isinstance(outcome, Accepted):
        if len(outcome.commands) == 1:
            span.set_attribute(COMMAND_ID, str(outcome.commands[0].id))
        span.set_attribute(OUTCOME, "replayed" if outcome.replayed else "accepted")
        tracer.end(span)
    elif isinstance(outcome, EnqueueRefused):
        span.set_attribute(OUTCOME, "refused")
        span.set_attribute(ERROR_TYPE, type(outcome).__name__)
        tracer.end(span)  # the caller's error, not ours
    else:
        tracer.end(span, type(outcome).__name__)


def end_spans(submissions: Iterable[Submission], outcomes: Iterable[Accepted | Exception]) -> None:
    """End the spans of several submissions."""
    for submission, outcome in zip(submissions, outcomes, strict=True):
        end_span(submission, outcome)
