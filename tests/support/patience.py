"""The short time limits of production, and how long the tests that are not about them wait.

Each protects a caller from a part that hangs. A test whose machine pauses would meet one without a
cause: `tests/conftest.py` lets every part in the process of a test have the patience of the tests.
"""

from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType

import pytest

from db import gauges as gauge_statements
from db import session
from publish_worker_client.subscribe import connections, outbox
from tests.support.waiting import PATIENCE
from worker.operations import gauges, health, processes, server_checks
from worker.operations.doctor import examination
from worker.runtime import producer, redis_clients, tracing
from worker.webhooks import attempt, look_ups

LIMITS: tuple[tuple[ModuleType, str], ...] = (
    (session, "BRIEF_SECONDS"),
    (health, "ANSWER_SECONDS"),
    (examination, "LONGEST_SECONDS"),
    (server_checks, "BROKER_SECONDS"),
    (gauges, "WAIT_SECONDS"),
    (gauge_statements, "SECONDS"),
    (processes, "END_SECONDS"),
    (redis_clients, "HINT_TIMEOUT_SECONDS"),
    (producer, "CONNECT_SECONDS"),
    (tracing, "FLUSH_SECONDS"),
    (attempt, "BODY_SECONDS"),
    (look_ups, "LOOK_UP_SECONDS"),
    (look_ups, "REGISTRATION_SECONDS"),
    (connections, "ANSWER_SECONDS"),
    (outbox, "ANSWER_SECONDS"),
)
"""Modules and names, in seconds."""
IDLE = "idle_in_transaction_session_timeout"
"""The server ends a session whose transaction does nothing for this long."""


@contextmanager
def patient() -> Generator[pytest.MonkeyPatch]:
    """Wait long for every part while the block runs; `undo` brings the limits back."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in LIMITS:
            patch.setattr(module, name, PATIENCE)
        patch.setitem(session._SETTINGS, IDLE, f"{PATIENCE:g}s")  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        yield patch
