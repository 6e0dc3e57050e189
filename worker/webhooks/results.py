"""Settling: judge tries, and write them down with all that follows from them."""

from collections.abc import Sequence

import structlog
from psycopg import errors
from sqlalchemy import Engine
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter
from uuid_utils.compat import uuid7

from db.errors import DATABASE_ERRORS, is_passing
from db.events import outbox
from db.session import last_round_trip, transaction
from db.webhooks import deliveries
from db.webhooks.deliveries import ClaimedDelivery
from schemas.events import EndpointDisabled, EventType
from schemas.values.decision import NewEvent
from schemas.values.delivery import Attempt, DisabledEndpoint, Settled
from worker.webhooks import retry_policy as rules

WRITE_SECONDS = 10.0
"""How long results wait for a database that is away."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def settled(delivery: ClaimedDelivery, attempt: Attempt, chance: float) -> Settled:
    """Judge a try, and say so in the log if it failed."""
    verdict = rules.verdict(attempt, delivery.attempts, chance)
    if not attempt.succeeded:
        log.info(
            "webhooks.attempt_failed",
            endpoint_id=str(delivery.receiver.id),
            delivery_id=str(delivery.id),
            status=attempt.status,
            error=attempt.error,
            attempts=delivery.attempts + 1,
            state=verdict.state,
        )
    return Settled(
        delivery_id=delivery.id,
        endpoint_id=delivery.receiver.id,
        claimed_until=delivery.claimed_until,
        attempt=attempt,
        state=verdict.state,
        pause=verdict.pause,
    )


def record(engine: Engine, results: Sequence[Settled]) -> None:
    """Write tries down, with all that follows from them, in one transaction."""
    with transaction(engine) as tx:
        disabled = deliveries.judge(tx, rules.health(results), rules.PATIENCE)
        deliveries.settle(tx, results)
        if disabled:
            deliveries.cancel_pending(tx, *(endpoint.id for endpoint in disabled))
            with last_round_trip(tx):
                outbox.append(tx, [_event(endpoint) for endpoint in disabled])
    for endpoint in disabled:
        log.warning(
            "webhooks.endpoint_disabled",
            endpoint_id=str(endpoint.id),
            workspace_id=endpoint.workspace_id,
            reason=endpoint.reason,
        )


def record_or_lose(engine: Engine, results: Sequence[Settled]) -> None:
    """Write tries down; where that cannot be done, their deliveries are simply still due."""
    try:
        _patient()(record, engine, results)
    except DATABASE_ERRORS as error:
        log.error(  # noqa: TRY400 - a database that is away has nothing more to say
            "webhooks.results_lost",
            results=len(results),
            error=str(error),
            consequence="they are sent once more",
        )


def _may_pass(error: BaseException) -> bool:
    """Also what comes of an endpoint that is removed at this moment."""
    return is_passing(error) or isinstance(
        error, errors.ForeignKeyViolation | errors.DeadlockDetected
    )


def _patient() -> Retrying:
    return Retrying(
        retry=retry_if_exception(_may_pass),
        wait=wait_exponential_jitter(multiplier=0.1, max=2),
        stop=stop_after_delay(WRITE_SECONDS),
        reraise=True,
    )


def _event(endpoint: DisabledEndpoint) -> NewEvent:
    return NewEvent(
        id=uuid7(),
        type=EventType.ENDPOINT_DISABLED,
        video_id=None,
        subject=str(endpoint.id),
        workspace_id=endpoint.workspace_id,
        occurred_at=endpoint.disabled_at,
        revision=None,
        command_id=None,
        correlation_id=str(endpoint.id),
        traceparent=None,
        data=EndpointDisabled(
            endpoint_id=endpoint.id,
            workspace_id=endpoint.workspace_id,
            url=endpoint.url,
            reason=endpoint.reason,
            detail=endpoint.detail,
            disabled_at=endpoint.disabled_at,
        ),
    )
