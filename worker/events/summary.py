"""The summary: counts new events for charts, in bounded steps."""

from sqlalchemy import Engine

from db.events import summary
from db.session import transaction
from worker.runtime.budget import Budget


def summarise(engine: Engine) -> None:
    """Summarise the events that are not summarised yet; after five seconds the next sweep does."""
    budget = Budget()
    while not budget.is_spent:
        with transaction(engine) as tx:
            if summary.summarise(tx) < summary.LIMIT:
                return
