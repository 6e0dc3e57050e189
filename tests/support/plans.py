"""Every statement that PostgreSQL executes, with the plan that it used, from `auto_explain`.

It sees statements however they are sent (pipelines, prepared and asynchronous ones, triggers), and
needs none of their names. Utility statements such as COMMIT and SET have no plan and are left out.
"""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Engine

from db.commands import claim
from db.session import transaction

SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_format": "json",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_nested_statements": "on",
}
START = " plan:"


@dataclass(frozen=True)
class Plan:
    """One execution of a statement."""

    text: str
    root: dict[str, Any]

    def scans(self) -> Iterator[tuple[str, str]]:
        """Give each scan of a table: the table, and the kind of scan."""
        for node in _nodes(self.root):
            if "Relation Name" in node and "Scan" in node["Node Type"]:
                yield node["Relation Name"], node["Node Type"]

    def count_read(self, table: str) -> float:
        """Return how many rows of a table the scans have read, those that they dropped included."""
        return sum(
            node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
            for node in _nodes(self.root)
            if node.get("Relation Name") == table and "Scan" in node["Node Type"]
        )

    def count_fetched(self, table: str) -> float:
        """Return how many rows were read from a table itself, and not from an index alone."""
        return sum(
            node["Heap Fetches"]
            if "Heap Fetches" in node
            else node["Actual Loops"] * node["Actual Rows"]
            for node in _nodes(self.root)
            if node.get("Relation Name") == table and "Scan" in node["Node Type"]
        )


@contextmanager
def executed(engine: Engine) -> Generator[list[Plan]]:
    """Collect what is executed in this database; the list is filled at the end.

    `record_plans` must have been called before.
    """
    with transaction(engine) as tx:
        row = tx.execute("SHOW data_directory").fetchone()
    assert row
    log = Path(row[0]).parent / "postgres.log"
    start = log.stat().st_size
    plans: list[Plan] = []
    yield plans
    with log.open("rb") as file:
        file.seek(start)
        plans += _parse(file.read().decode(errors="replace"))


def record_plans(engine: Engine, admin: psycopg.Connection) -> None:
    """Let the server log the plan of each statement in this database."""
    assert engine.url.database
    database = sql.Identifier(engine.url.database)
    for name, value in SETTINGS.items():
        setting = sql.SQL(".").join(map(sql.Identifier, name.split(".")))
        admin.execute(sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, setting, value))
    engine.dispose()  # sessions that are open already do not log


def count_claimed_pages(engine: Engine, start: claim.NextClaim | None = None) -> int:
    """Return how many pages the next claim reads at most, by EXPLAIN; it is undone."""
    since = start.since if start else claim.EVER
    counts: list[int] = []
    for statement in (claim.CLAIM_FEW, claim.CLAIM_DUE):
        explain: Any = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
        with transaction(engine) as tx:
            [[[plan]]] = tx.execute(explain, claim.claim_parameters(250, since=since))
            tx.rollback()
        counts.append(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])
    return max(counts)


def _parse(text: str) -> Iterator[Plan]:
    """Read the plans: lines that continue an entry of the log begin with a tab."""
    lines = iter(text.splitlines())
    document: list[str] | None = None
    for line in lines:
        if document is not None and line.startswith("\t"):
            document.append(line)
            continue
        if document:
            yield _to_plan(document)
        document = [] if line.endswith(START) else None
    if document:
        yield _to_plan(document)


def _to_plan(lines: list[str]) -> Plan:
    found = json.loads("\n".join(lines))
    return Plan(text=found["Query Text"], root=found["Plan"])


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from _nodes(each)
