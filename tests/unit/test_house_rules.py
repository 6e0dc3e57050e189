"""House rules that no linter knows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted(
    path for room in ("worker", "db", "schemas") for path in (ROOT / room).rglob("*.py")
)
REDIS_KEYS = {
    "video.events": "the relay: trimmed by age in operations/retention.py",
    "video.generation": "pipelines: trimmed by age in generation/stream.py",
    "publish-worker:wake": "expires",
    "publish-worker:wake:reports": "expires",
    "publish-worker:wake:webhooks": "expires",
    "publish-worker:wake:deliveries": "expires",
    "publish-worker:run-lock:webhooks": "expires",
    "publish-worker:subscriber:": "worker.subscribe: of a group, or expires; see its scripts",
    "publish-worker:heartbeat": "expires",
    "publish-worker:celery:": "Kombu",
}
MAY_HAVE_SQL = {
    "worker/subscribe/positions.py": "writes to the consumer's own database",
    "worker/local/engines/postgres.py": "asks a starting engine whether it answers",
    "worker/local/demo/scenarios.py": "plays the platform's render pipeline",
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_file_opens_with_a_line_that_says_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, path
    assert len(docstring.splitlines()[0]) > 20


def test_nothing_is_opened_at_import() -> None:
    """Importing every module without any setting neither connects nor fails."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in SOURCES
        if "migrations" not in path.parts
    ]
    code = "import socket; socket.socket.connect = None\n" + "\n".join(
        f"import {module}" for module in modules
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_redis_key_has_an_expiry_or_an_owner() -> None:
    """A key of ours is a constant in the code; each is known here with what ends it."""
    pattern = re.compile(r'"(publish-worker:[a-z:.-]*|video\.(?:events|generation))"')
    found = {
        match
        for path in [*SOURCES, ROOT / "celeryconfig.py"]
        for match in pattern.findall(path.read_text())
    }
    assert found <= REDIS_KEYS.keys(), found - REDIS_KEYS.keys()


def test_no_statement_is_sent_from_outside_db() -> None:
    """SQL lives in db; the worker calls functions with names."""
    statement = re.compile(r'"{1,3}\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM) ')
    outside = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.is_relative_to(ROOT / "worker") and statement.search(path.read_text())
    }
    assert outside <= MAY_HAVE_SQL.keys(), outside - MAY_HAVE_SQL.keys()
