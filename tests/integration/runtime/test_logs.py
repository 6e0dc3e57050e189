"""Logs: one line each, in the configured format, whichever library writes it."""

import json
import subprocess
import sys

PROGRAM = """
import sys
import psycopg
from db.session import connect, transaction
from worker.runtime import logs
from worker.runtime.settings import LogFormat
logs.configure(LogFormat.JSON, "INFO")
end = "SELECT pg_terminate_backend(pg_backend_pid())"
try:
    with transaction(connect(sys.argv[1])) as tx, tx.pipeline():
        tx.execute(end)
        tx.execute("SELECT 1").fetchone()
except psycopg.OperationalError:
    pass
"""


def test_a_session_that_dies_in_a_pipeline_writes_json_lines(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, database_url], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines] == ["psycopg"]
    assert {"event", "level", "timestamp"} <= lines[0].keys()
