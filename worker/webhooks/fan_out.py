"""Fan-out: make a delivery of each event for each endpoint that asks for it.

The fan-out position is stored in the transaction that makes the deliveries, so a crash neither
skips an event nor fans it out twice.
"""

import structlog
from sqlalchemy import Engine

from db.session import transaction
from db.webhooks import fan_out as statements
from worker.runtime.budget import Budget

BATCH = 200
"""Events per transaction; each makes up to fifty deliveries."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def fan_out(engine: Engine) -> int:
    """Fan out new events until none is left or the budget is spent; return the deliveries made."""
    budget = Budget()
    total, events = 0, BATCH
    while events == BATCH and not budget.is_spent:
        with transaction(engine) as tx:
            events, made = statements.fan_out(tx, BATCH)
        total += made
    if total:
        log.info("webhooks.fanned_out", deliveries=total)
    return total
