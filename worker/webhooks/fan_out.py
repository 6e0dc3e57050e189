"""Fan-out: make a delivery of each event for each endpoint that asks for it, from positions.

The place up to which that was done is a row, moved in the same transaction: so no event is
forgotten and none is fanned out twice, whoever dies when.
"""

import time

import structlog
from sqlalchemy import Engine

from db.session import transaction
from db.webhooks import deliveries

BATCH = 200
"""Events at a time; each makes up to fifty deliveries."""
BUDGET_SECONDS = 5.0

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def fan_out(engine: Engine) -> int:
    """Fan out what has not been yet, as far as the budget goes; return how many deliveries."""
    deadline = time.monotonic() + BUDGET_SECONDS
    made = 0
    while time.monotonic() < deadline:
        with transaction(engine) as tx:
            batch = deliveries.fan_out(tx, BATCH)
        made += batch.deliveries
        if batch.events < BATCH:
            break
    if made:
        log.info("webhooks.fanned_out", deliveries=made)
    return made
