"""What endpoints have not received: deliveries that wait, and those that have failed."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Engine

from db.session import transaction
from db.webhooks import backlog
from db.webhooks.backlog import MOST, EndpointBacklog

__all__ = ["MOST", "EndpointBacklog", "read_backlogs"]


def read_backlogs(engine: Engine, endpoint_ids: Iterable[UUID]) -> dict[UUID, EndpointBacklog]:
    """Return the backlog of each endpoint. The caller has checked that it may see them."""
    with transaction(engine) as tx:
        return backlog.read_each(tx, endpoint_ids)
