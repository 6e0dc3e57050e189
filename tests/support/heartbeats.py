"""Rows of processes, as their heartbeats leave them."""

from typing import Any
from uuid import uuid4

from sqlalchemy import Engine

from db import processes
from db.processes import ProcessState
from db.session import transaction
from schemas.values.process import ProcessRole

LEFT_AT = """
UPDATE publisher.process SET seen_at = seen_at - make_interval(secs => %(ago)s) WHERE id = %(id)s
"""


def report(engine: Engine, role: ProcessRole, *, seconds_ago: float = 0, **state: Any) -> None:
    """Write the row of a process whose last heartbeat was `seconds_ago`."""
    values: dict[str, Any] = {
        "id": uuid4(),
        "name": f"{role}@here",
        "pid": 1,
        "version": "0.1.0",
        "processes": 1,
        "queues": [],
        "age": 60.0,
    }
    made = ProcessState(role=role, **values | state)
    with transaction(engine) as tx:
        processes.beat(tx, made)
        tx.execute(LEFT_AT, {"ago": seconds_ago, "id": made.id})
