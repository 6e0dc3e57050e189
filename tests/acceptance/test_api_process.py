"""`uvicorn worker.api:app` as an operator starts it, without options: limits and logs."""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from db.session import transaction
from schemas.values.caller import Scope
from tests.support.forked import Forked, run_uvicorn
from tests.support.free_port import free_port
from tests.support.raw_http import exchange
from tests.support.waiting import PATIENCE, wait_until
from worker.operations.api_keys import create_key

LOCK = """
SET LOCAL idle_in_transaction_session_timeout = 0;
LOCK TABLE publisher.publish_command IN ACCESS EXCLUSIVE MODE
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "api.log"


@pytest.fixture
def url(log: Path, platform: Engine, database_url: str, redis_url: str) -> Generator[str]:  # noqa: ARG001
    port = free_port()
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LOG_LEVEL": "DEBUG"}
    process = Forked(
        run_uvicorn,
        ["uvicorn", "worker.api:app", f"--port={port}", "--log-level=debug"],
        log=log,
        environment={**os.environ, **environment},
    )
    wait_until(lambda: log.exists() and "Uvicorn running" in log.read_text(), "the API to listen")
    yield f"http://127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE)


@pytest.mark.parametrize("body", [b"", b'{"expected_revision": 0}', b"{"])
def test_an_upgrade_to_a_websocket_is_answered_and_its_key_is_not_logged(
    url: str, log: Path, platform: Engine, body: bytes
) -> None:
    key = create_key(platform, name="any", scope=Scope.PUBLISH, workspace_id=1)
    head = (
        "POST /api/v1/videos/7/publish/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4eHh4eHh4eHg=\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    assert exchange(url, head.encode() + body).status == (400 if body == b"{" else 404)
    wait_until(lambda: "request.handled" in log.read_text(), "the request to be logged")
    assert key not in log.read_text()


def test_a_head_without_end_is_refused(url: str) -> None:
    line = b"X: " + b"y" * 1000 + b"\r\n"
    answer = exchange(url, [b"GET / HTTP/1.1\r\n", *[line] * 5_000])
    assert answer.status == 431


def test_a_statement_that_takes_too_long_is_answered_with_503(url: str, platform: Engine) -> None:
    key = create_key(platform, name="any", scope=Scope.READ, workspace_id=1)
    with transaction(platform) as tx:
        tx.execute(LOCK)
        answer = httpx.get(
            f"{url}/api/v1/publish-commands?order=due",
            headers={"Authorization": f"Bearer {key}"},
            timeout=PATIENCE,
        )
    assert answer.status_code == 503
    # From PostgreSQL 17 on, the whole transaction has the same limit: the session may end first.
    assert answer.json()["type"] in ("/problems/too-slow", "/problems/database-away")
    assert answer.headers["Retry-After"] == "5"
