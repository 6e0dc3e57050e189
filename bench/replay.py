"""Replay recorded statements over two connections: libpq calls with values that are ready.

`python -m bench.replay FILE`: prints the seconds, and the CPU seconds of this process, as JSON.
Each statement is prepared before the clock starts. Results are received, not read.
"""

import json
import os
import pickle
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock, Thread

from psycopg import pq
from psycopg.pq.abc import PGresult

from bench.limit import LATE_SECONDS, Recording, Replay, Statement, Transaction

CONNECTIONS = 2
BINARY = 1


class Connection:
    """A connection with its prepared statements."""

    def __init__(self) -> None:
        self._link = pq.PGconn.connect(os.environ["DATABASE_URL"].encode())
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}

    def prepare(self, transactions: list[Transaction]) -> None:
        """Prepare each statement that has not been prepared."""
        for statement in (each for transaction in transactions for each in transaction):
            key = (statement.text, tuple(statement.types))
            if statement.values is not None and key not in self._names:
                self._names[key] = f"replay_{len(self._names)}".encode()
                self._link.prepare(self._names[key], statement.text, statement.types)

    def simple(self, text: bytes) -> PGresult:
        """Run a simple query."""
        return _checked(self._link.exec_(text))

    def execute(self, statement: Statement) -> int:
        """Run a statement; return the number of its rows."""
        if statement.values is None:
            self.simple(statement.text)
            return statement.rows
        result = _checked(
            self._link.exec_prepared(
                self._names[statement.text, tuple(statement.types)],
                statement.values,  # pyright: ignore[reportArgumentType] - None is NULL
                statement.formats,
                BINARY,
            )
        )
        return result.ntuples or result.command_tuples or 0


def _checked(result: PGresult) -> PGresult:
    if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
        raise RuntimeError(result.get_error_message())
    return result


class Replayer:
    """Hands transactions to the connections; each begins in the recorded order."""

    def __init__(self, recording: Recording) -> None:
        self.differs = ""
        self._connections = [Connection() for _ in range(CONNECTIONS)]
        self._begin = Lock()
        for connection in self._connections:
            connection.simple(b"SET random_page_cost = 1.1")  # as our sessions have it
            connection.prepare(recording.enqueue + recording.publish)

    def run(self, transactions: list[Transaction], *, compare: bool) -> float:
        """Run these transactions; return the seconds."""
        rest = iter(transactions)
        threads = [
            Thread(target=self._work, args=(connection, rest, compare))
            for connection in self._connections
        ]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - started

    def _work(self, connection: Connection, rest: Iterator[Transaction], compare: bool) -> None:
        try:
            while not self.differs and self._next(connection, rest, compare):
                pass
        except RuntimeError as error:
            self.differs = str(error)

    def _next(self, connection: Connection, rest: Iterator[Transaction], compare: bool) -> bool:
        """Run the next transaction; return False after the last one.

        Its claim ends before another one begins: so it takes the same rows as in the dry run. The
        other statements of both connections overlap.
        """
        with self._begin:
            transaction = next(rest, None)
            if transaction is None:
                return False
            connection.simple(b"BEGIN")
            claims, others = _split(transaction)
            claimed = [connection.execute(statement) for statement in claims]
        if compare and others and claimed[-1] != claims[-1].rows:
            raise RuntimeError(f"{claimed[-1]} rows claimed, {claims[-1].rows} in the dry run")
        for statement in others:
            connection.execute(statement)
        if not transaction[-1].text.rstrip().endswith(b"COMMIT"):
            connection.simple(b"COMMIT")
        return True


def _split(transaction: Transaction) -> tuple[Transaction, Transaction]:
    """Return the statements up to the one that claimed the commands, or the first; the others."""
    claims = [
        n for n, each in enumerate(transaction) if b" AS video_held" in each.text and each.rows
    ]
    end = claims[-1] + 1 if claims else 1
    return transaction[:end], transaction[end:]


def main() -> None:
    """Replay the file."""
    recording: Recording = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301 - our own file
    replayer = Replayer(recording)
    before = time.process_time()
    send_seconds = replayer.run(recording.enqueue, compare=False)
    time.sleep(LATE_SECONDS)
    seconds = send_seconds + replayer.run(recording.publish, compare=True)
    done = Replay(
        seconds=seconds,
        send_seconds=send_seconds,
        cpu_seconds=time.process_time() - before,
        differs=replayer.differs,
    )
    sys.stdout.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main()
