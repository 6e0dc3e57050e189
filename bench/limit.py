"""The limit: our own SQL statements, replayed without any Python per publish.

A dry run (`enqueue()`, then `run_due()` with the relay's reads, in this process) records each
statement with its parameters, as libpq gets them. A copy of the same database then gets the same
statements again, prepared and over two connections (bench/replay.py): PostgreSQL does the same work
for the same videos, and nothing else is done. The stream is left out.

So the statements are those of the modules at run time; there are no copies of them here.
"""

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict
from unittest import mock

import psycopg
from psycopg import _queries as queries
from psycopg.adapt import Transformer
from psycopg.pq import TransactionStatus

from bench import check, costs, ours
from bench.contest import Outcome
from bench.processes import ROOT
from bench.setup import Run, Setup
from db.session import transaction
from worker.events.redis_stream import relay
from worker.publish.run import run_due

LATE_SECONDS = 1.2
"""Between the commands and the claims, in the dry run and in the replay: commands are then late, so
that a claim takes the same ones in both."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as libpq gets it."""

    text: bytes
    values: Sequence[bytes | None] | None
    """None: a simple query, with its values in the text."""
    types: Sequence[int]
    formats: Sequence[int]
    rows: int
    """How many rows it returned or changed; in a replay it must be the same number."""


Transaction = list[Statement]


@dataclass(frozen=True)
class Recording:
    """The transactions of a dry run, in order."""

    videos: int
    enqueue: list[Transaction]
    publish: list[Transaction]


class Replay(TypedDict):
    """What the process that replays a recording prints."""

    seconds: float
    """Both parts, without the wait between them."""
    send_seconds: float
    cpu_seconds: float
    differs: str
    """Where the replay took other rows than the dry run. Empty: nowhere."""


class _Recorder:
    """Takes down each statement that psycopg executes, with its transaction."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self._open: dict[int, Transaction] = {}
        self._pending: list[tuple[psycopg.Cursor[Any], Transaction, int]] = []
        self._execute: Callable[..., Any] = psycopg.Cursor.execute
        self._commit: Callable[..., Any] = psycopg.Connection.commit

    def execute(self, cursor: Any, query: Any, values: Any = None, **options: Any) -> Any:
        """Stands for Cursor.execute."""
        connection = cursor.connection
        begins = connection.pgconn.transaction_status == TransactionStatus.IDLE
        result = self._execute(cursor, query, values, **options)
        if connection.autocommit:  # the pool asks whether the connection works
            return result
        if begins and id(connection) not in self._open:
            self._open[id(connection)] = []
            self.transactions.append(self._open[id(connection)])
        transaction = self._open[id(connection)]
        transaction.append(_read_statement(cursor, query, values))
        if cursor.rowcount < 0:  # in a pipeline; its result comes later
            self._pending.append((cursor, transaction, len(transaction) - 1))
        if transaction[-1].text.rstrip().endswith(b"COMMIT"):
            self.commit(connection, real=False)
        return result

    def commit(self, connection: Any, *, real: bool = True) -> None:
        """Stands for Connection.commit."""
        if real:
            self._commit(connection)
        for cursor, statements, place in self._pending:
            statements[place] = replace(statements[place], rows=cursor.rowcount)
        self._pending.clear()
        self._open.pop(id(connection), None)

    def take(self) -> list[Transaction]:
        """Return what was recorded since the last call."""
        taken = [transaction for transaction in self.transactions if transaction]
        self.transactions = []
        return taken


def _read_statement(cursor: Any, query: Any, values: Any) -> Statement:
    if isinstance(cursor, psycopg.ClientCursor):
        return Statement(cursor.mogrify(query, values).encode(), None, (), (), -1)
    converted = queries.PostgresQuery(Transformer(cursor.connection))
    converted.convert(query, values)
    bytes_or_none = [bytes(each) if each is not None else None for each in converted.params or ()]
    return Statement(
        bytes(converted.query),
        bytes_or_none,
        tuple(converted.types),
        tuple(int(each) for each in converted.formats or ()),
        cursor.rowcount,
    )


@contextmanager
def _recording() -> Generator[_Recorder]:
    recorder = _Recorder()

    def execute(cursor: Any, query: Any, values: Any = None, **options: Any) -> Any:
        return recorder.execute(cursor, query, values, **options)

    def commit(connection: Any) -> None:
        recorder.commit(connection)

    with (
        mock.patch.object(psycopg.Cursor, "execute", execute),
        mock.patch.object(psycopg.Connection, "commit", commit),
    ):
        yield recorder


def record(setup: Setup, videos: int) -> Recording:
    """Publish this number of videos in this process and return the statements."""
    with setup.run() as run:
        video_ids = run.video_ids[:videos]
        recording = record_run(run, video_ids)
        check.check(run, video_ids, check.OURS)
    return recording


def record_run(run: Run, video_ids: Sequence[int]) -> Recording:
    """Publish these videos in this process and return the statements."""
    waker = ours.make_waker(run)

    def copy_events(_: object) -> None:
        relay(run.engine, run.redis, base_url)

    base_url = run.environment["PUBLIC_BASE_URL"]
    with transaction(run.engine):
        pass  # the connection is opened before the recording
    with _recording() as recorder:
        ours.enqueue_all(run.engine, waker, video_ids)
        enqueued = recorder.take()
        time.sleep(LATE_SECONDS)
        while run_due(run.engine, base_url=base_url, wake=lambda: None, committed=copy_events):
            pass
        return Recording(videos=len(video_ids), enqueue=enqueued, publish=recorder.take())


def replay_run(run: Run, file: Path) -> Replay:
    """Replay the recording in this file, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.replay", str(file)],
        cwd=ROOT,
        env=os.environ | run.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the replay failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def carry_out(setup: Setup, videos: int) -> Outcome:
    """Replay the publication of this number of videos; a failure is an outcome, too."""
    file = setup.home / f"recording-{videos}"
    try:
        if not file.exists():
            file.write_bytes(pickle.dumps(record(setup, videos)))
        with setup.run() as run:
            return _carry_out(setup, run, file, run.video_ids[:videos])
    except (check.Incorrect, RuntimeError) as error:
        return Outcome(failure=str(error))


def _carry_out(setup: Setup, run: Run, file: Path, video_ids: Sequence[int]) -> Outcome:
    data, n = setup.home / "data", len(video_ids)
    trees = costs.engine_trees(data)
    rows_before, cpu_before = costs.count_rows(run.engine), costs.measure_cpu(trees)
    wal_start = costs.wal_position(run.engine)
    replay = replay_run(run, file)
    cpu, wal_end = costs.measure_cpu(trees), costs.wal_position(run.engine)
    rows = costs.count_rows(run.engine).since(rows_before)
    if replay["differs"]:
        raise check.Incorrect(replay["differs"])
    check.check(run, video_ids, check.SQL_ONLY)
    wal = costs.measure_wal(run.engine, data, wal_start, wal_end)
    cpu["worker"] = replay["cpu_seconds"]
    return Outcome(
        published=n,
        seconds=replay["seconds"],
        send_seconds=replay["send_seconds"],
        cpu=costs.per_publish(cpu, cpu_before, n),
        wal=wal.total / n,
        wal_records=wal.records / n if wal.records is not None else None,
        commits=rows.commits / n,
        dead_rows=rows.dead / n,
        hot_updates=rows.hot / n,
    )
