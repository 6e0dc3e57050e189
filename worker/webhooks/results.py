"""Results: the next state of a delivery after an attempt, written in batches."""

from collections.abc import Sequence
from dataclasses import replace

import structlog
from psycopg import errors
from sqlalchemy import Engine
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter
from uuid_utils import uuid7

from db.errors import DATABASE_ERRORS, is_passing
from db.events import outbox
from db.session import transaction
from db.webhooks import deliveries
from db.webhooks.deliveries import ClaimedDelivery
from publish_worker_client.events.data import EndpointDisabled
from publish_worker_client.events.names import EventType
from schemas.values.decision import NewEvent
from schemas.values.delivery import Attempt, DeliveryResult
from worker.webhooks.retry_policy import PATIENCE, decide_next_step, summarize_health

WRITE_SECONDS = 10.0
"""How long the write of a batch is retried while the database is unreachable."""
REFUSED = "The attempt's texts could not be stored."

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def to_result(delivery: ClaimedDelivery, attempt: Attempt, chance: float) -> DeliveryResult:
    """Decide a delivery's next state, and log the attempt if it failed; `chance` is in [0, 1)."""
    step = decide_next_step(attempt, delivery.attempts, chance)
    if not attempt.succeeded:
        log.info(
            "webhooks.attempt_failed",
            endpoint_id=str(delivery.receiver.id),
            delivery_id=str(delivery.id),
            status=attempt.status,
            error=attempt.error,
            attempts=delivery.attempts + 1,
            state=step.state,
        )
    return DeliveryResult(
        delivery_id=delivery.id,
        endpoint_id=delivery.receiver.id,
        claimed_until=delivery.claimed_until,
        attempt=attempt,
        state=step.state,
        pause=step.pause,
    )


def write_results(engine: Engine, results: Sequence[DeliveryResult]) -> None:
    """Write results in one transaction; disable endpoints that are gone or failed too long."""
    with transaction(engine) as tx:
        disabled = deliveries.update_health(tx, summarize_health(results), PATIENCE)
        deliveries.write_results(tx, results)
        if disabled:
            deliveries.cancel_pending(tx, *(each.endpoint_id for each in disabled))
            outbox.append(tx, list(map(_build_event, disabled)))
    for each in disabled:
        log.warning(
            "webhooks.endpoint_disabled",
            endpoint_id=str(each.endpoint_id),
            workspace_id=each.workspace_id,
            reason=each.reason,
        )


def try_write_results(engine: Engine, results: Sequence[DeliveryResult]) -> None:
    """Write results with retries; nothing is raised.

    While the database is unreachable they are lost: the claims expire and the events are resent. A
    value that it refuses loses no other result: it is found by halving the batch.
    """
    try:
        _retry_while_passing(engine, results)
    except DATABASE_ERRORS as error:
        if isinstance(error, errors.DataError):
            _write_apart(engine, results, error)
        else:
            _log_lost(results, error)
    except Exception as error:  # noqa: BLE001 - a value that cannot be sent; `_write_apart` logs it
        _write_apart(engine, results, error)


def _write_apart(engine: Engine, results: Sequence[DeliveryResult], error: Exception) -> None:
    """Write the halves of a refused batch; write a single result without the receiver's texts."""
    if len(results) > 1:
        half = len(results) // 2
        try_write_results(engine, results[:half])
        try_write_results(engine, results[half:])
        return
    delivery_id = str(results[0].delivery_id)
    log.error("webhooks.result_refused", delivery_id=delivery_id, exc_info=error)
    bare = replace(results[0].attempt, answer=None, error=REFUSED)
    if results[0].attempt != bare:
        try_write_results(engine, [replace(results[0], attempt=bare)])


def _retry_while_passing(engine: Engine, results: Sequence[DeliveryResult]) -> None:
    retrying = Retrying(
        retry=retry_if_exception(_is_retryable),
        wait=wait_exponential_jitter(multiplier=0.1, max=2),
        stop=stop_after_delay(WRITE_SECONDS),
        reraise=True,
    )
    retrying(write_results, engine, results)


def _log_lost(results: Sequence[DeliveryResult], error: BaseException) -> None:
    """Log without a traceback, which adds nothing to an unreachable database."""
    log.error(
        "webhooks.results_lost",
        results=len(results),
        error=str(error),
        consequence="they are sent once more",
    )


def _is_retryable(error: BaseException) -> bool:
    """Whether it passes by itself, or an endpoint was deleted at the same moment."""
    return is_passing(error) or isinstance(
        error, errors.ForeignKeyViolation | errors.DeadlockDetected
    )


def _build_event(disabled: EndpointDisabled) -> NewEvent:
    return NewEvent(
        id=str(uuid7()),
        type=EventType.ENDPOINT_DISABLED,
        video_id=None,
        subject=str(disabled.endpoint_id),
        workspace_id=disabled.workspace_id,
        occurred_at=disabled.disabled_at,
        revision=None,
        command_id=None,
        correlation_id=str(disabled.endpoint_id),
        traceparent=None,
        data=disabled,
    )
