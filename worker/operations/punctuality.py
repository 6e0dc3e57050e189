"""Punctuality: how late commands were carried out, for the API and the command line."""

from sqlalchemy import Engine

from db.commands import punctuality
from db.session import transaction
from schemas.punctuality import Punctuality


def measure(engine: Engine, *, seconds: int, workspace_id: int | None) -> Punctuality:
    """How late the commands were that were carried out within the last `seconds`."""
    with transaction(engine) as tx:
        return punctuality.measure(tx, seconds=seconds, workspace_id=workspace_id)
