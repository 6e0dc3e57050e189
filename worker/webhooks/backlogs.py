"""What endpoints have not received: deliveries that wait, and those that have failed."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Engine

from db.session import transaction
from db.webhooks import backlog
from db.webhooks.backlog import MOST, EndpointBacklog, FailedDeliveries

__all__ = ["MOST", "EndpointBacklog", "FailedDeliveries", "read_backlogs", "read_failed"]


def read_backlogs(engine: Engine, endpoint_ids: Iterable[UUID]) -> dict[UUID, EndpointBacklog]:
    """Return the backlog of each endpoint. The caller has checked that it may see them."""
    with transaction(engine) as tx:
        return backlog.read_each(tx, endpoint_ids)


def read_failed(engine: Engine, workspace_id: int | None) -> list[FailedDeliveries]:
    """Return the ten endpoints with the most failed deliveries, of one workspace (None: all)."""
    with transaction(engine) as tx:
        return backlog.read_failed(tx, workspace_id)
