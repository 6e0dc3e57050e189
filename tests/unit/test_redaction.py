"""Secrets in log lines: replaced, whatever writes them, and nothing else is."""

import subprocess
import sys
from pathlib import Path

import pytest

from worker.runtime.redaction import redact

ROOT = Path(__file__).parent.parent.parent
KEY = "pw_" + "aB3-_xyz" * 5


@pytest.mark.parametrize(
    "text",
    [
        "< Authorization: Bearer {}",
        "Authorization: Bearer {}",
        "authorization:{}",
        "(b'authorization', b'Bearer {}')",
        '{{"authorization": "Basic {}"}}',
        '"error": "{{\\"Authorization\\": \\"Bearer {}\\"}}"',
        "headers={{'Authorization': 'Bearer {}'}}",
        "GET /api/v1/events/stream?access_token={}&after=1 HTTP/1.1",
        "postgresql://user:{}@host:5432/db",
        "redis://:{}@host:6379/0, and more",
        "amqp://user:{}@host// amqp://user:{}@host//",
        "sentinel://:{}@host1:26379;sentinel://:{}@host2:26379",
        "host=a user=b password={} dbname=c",
        "'password': '{}'",
        "The key pw_{} is not valid",
        "secret whsec_{}, of the endpoint",
    ],
)
@pytest.mark.parametrize("secret", ["Zx9kLm2nQr5tUv8w", "Zx9kL/m2n+Qr=="])
def test_a_secret_is_replaced(text: str, secret: str) -> None:
    line = redact(text.format(secret, secret))
    assert "Zx9k" not in line
    assert "***" in line


@pytest.mark.parametrize("password", ["p@ss:w/rd", "p%40ss", "a,b;c"])
def test_a_password_in_a_url_may_have_any_character(password: str) -> None:
    assert redact(f"postgresql://u:{password}@host/db") == "postgresql://u:***@host/db"


@pytest.mark.parametrize(
    "text",
    [
        'FATAL: password authentication failed for user "x"',
        "http://localhost:8000/api/v1/videos/7/",
        "Basic authentication is not supported by the bearer of this",
        "webhook-signature: v1,abc",
        "key pw_ is a prefix",
        '{"event": "request.handled", "path": "/api/v1/videos/7/publish/", "ms": 3.4}',
        "connection to server at 10.0.0.1:5432 failed @ 3",
    ],
)
def test_other_text_is_not_changed(text: str) -> None:
    assert redact(text) == text


PROGRAM = """
import logging, sys, structlog
from worker.runtime import logs
from worker.runtime.settings import LogFormat
logs.configure(LogFormat(sys.argv[1]), "DEBUG")
key = sys.argv[2]
for name in ("", "uvicorn.error", "websockets.server", "psycopg", "httpx", "amqp", "celery"):
    logging.getLogger(name).warning("< Authorization: Bearer %s of %s", key, name)
ours = structlog.stdlib.get_logger("ours")
ours.warning("a.line", url=f"redis://:{key}@host", headers={"k": key})
try:
    raise RuntimeError(f"postgresql://u:{key}@host")
except RuntimeError:
    logging.getLogger("theirs").exception("failed")
    ours.exception("failed")
"""


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_logger_writes_a_secret(log_format: str) -> None:
    command = [sys.executable, "-c", PROGRAM, log_format, KEY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert KEY not in done.stderr
    assert "aB3-_xyz" not in done.stderr
    assert done.stderr.count("***") == 11
    assert "websockets.server" in done.stderr


def test_the_address_of_a_feed_is_logged_without_its_token() -> None:
    secret = "Zx9kLm2nQr5tUv8w-_" * 2 + "Zx9kLm2"
    line = f'{{"event": "request.handled", "path": "/calendar/{secret}.ics", "status": 200}}'
    assert redact(line) == line.replace(secret, "***")
    page = "/console/calendar/commands/019f3c1e-7a51-7c43-9d7e-0d5f8a2b6c11/reschedule"
    assert redact(page) == page
