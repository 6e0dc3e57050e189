"""Sessions on an event loop: the same protections as those of the engine, without threads."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import Engine

from db.errors import NoAnswer
from db.loop_sessions import LoopPool
from db.session import Connection, connect, get_family
from tests.support.waiting import PATIENCE

WRITE = "UPDATE publisher.event_position SET position = position"
SESSION = "SELECT pg_backend_pid()"
END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def use(engine: Engine, act: Callable[[LoopPool], Awaitable[Any]], size: int = 2) -> Any:
    """Run `act` on an event loop with a pool."""

    async def main() -> Any:
        pool = LoopPool(engine, size)
        try:
            return await act(pool)
        finally:
            await pool.close()

    return asyncio.run(main())


def execute(tx: Connection, *statements: str) -> Any:
    """Execute statements; return the value of the last one, if it has one."""
    cursor = tx.cursor()
    for statement in statements:
        cursor.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]
    row = cursor.fetchone() if cursor.description else None
    return row and row[0]


def read_slowly(tx: Connection, engine: Engine) -> None:
    """Read for longer than this engine waits from now on."""
    get_family(engine).answer_seconds = 0.2
    execute(tx, "SELECT pg_sleep(20)")


def test_the_number_of_sessions_is_fixed_and_they_work_at_the_same_time(engine: Engine) -> None:
    async def act(pool: LoopPool) -> set[int]:
        many = (pool.run(execute, "SELECT pg_sleep(0.05)", SESSION) for _ in range(10))
        return set(await asyncio.gather(*many))

    assert len(use(engine, act)) == 2


def test_a_transaction_is_committed_or_rolled_back(engine: Engine) -> None:
    async def act(pool: LoopPool) -> tuple[int, int]:
        update = "UPDATE publisher.event_position SET position = position + 1"
        await pool.run(execute, update)
        with pytest.raises(errors.DivisionByZero):
            await pool.run(execute, update, "SELECT 1 / 0")
        read = "SELECT position FROM publisher.event_position"
        return await pool.run(execute, read), await pool.run_statements(execute, read)

    assert use(engine, act) == (1, 1)


def test_statements_are_transactions_of_their_own(engine: Engine) -> None:
    async def act(pool: LoopPool) -> int:
        with pytest.raises(errors.DivisionByZero):
            await pool.run_statements(
                execute, "UPDATE publisher.event_position SET position = 7", "SELECT 1 / 0"
            )
        return await pool.run(execute, "SELECT position FROM publisher.event_position")

    assert use(engine, act) == 7


def test_the_settings_of_sessions_are_in_effect(engine: Engine) -> None:
    async def act(pool: LoopPool) -> tuple[str, str]:
        return await pool.run(execute, "SHOW lock_timeout"), await pool.run(
            execute, "SHOW transaction_timeout"
        )

    assert use(engine, act) == ("10s", "30s")


@pytest.mark.parametrize("run", [LoopPool.run, LoopPool.run_statements])
def test_without_settings_in_the_session_they_are_applied_in_each_transaction(
    database_url: str, run: Any
) -> None:
    engine = connect(database_url, through_pooler=True, platform_schema="elsewhere")

    async def act(pool: LoopPool) -> tuple[str, str]:
        return await run(pool, execute, "SHOW search_path"), await run(
            pool, execute, "SHOW lock_timeout"
        )

    assert use(engine, act, size=1) == ("elsewhere,public", "10s")


def test_a_lost_session_is_an_error_once_and_a_reader_does_not_notice(engine: Engine) -> None:
    async def act(pool: LoopPool) -> None:
        await asyncio.gather(*(pool.run(execute, "SELECT pg_sleep(0.02)") for _ in range(2)))
        await asyncio.to_thread(_end_sessions, engine)
        with pytest.raises(psycopg.OperationalError):
            await pool.run(execute, "SELECT 1")
        assert await pool.run(execute, "SELECT 1") == 1
        await asyncio.to_thread(_end_sessions, engine)
        assert await pool.read(execute, "SELECT 1") == 1

    use(engine, act)


def test_the_first_read_only_error_replaces_every_session(engine: Engine) -> None:
    async def act(pool: LoopPool) -> None:
        read_only = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
        await asyncio.gather(
            *(pool.run(execute, "SELECT pg_sleep(0.02)", read_only) for _ in range(2))
        )
        with pytest.raises(errors.ReadOnlySqlTransaction):
            await pool.run(execute, WRITE)
        await asyncio.gather(*(pool.run(execute, WRITE, "SELECT pg_sleep(0.02)") for _ in range(2)))

    use(engine, act)


def test_a_server_that_does_not_answer_is_given_up(engine: Engine) -> None:
    async def act(pool: LoopPool) -> int:
        with pytest.raises(psycopg.OperationalError, match="no answer for"):
            await pool.run(read_slowly, engine)
        get_family(engine).answer_seconds = PATIENCE
        return await pool.run(execute, "SELECT 1")

    assert use(engine, act, size=1) == 1


def test_readers_that_wait_for_a_session_give_up_with_the_one_that_has_it(engine: Engine) -> None:
    reads: list[Connection] = []

    def read(tx: Connection) -> None:
        reads.append(tx)
        read_slowly(tx, engine)

    async def act(pool: LoopPool) -> int:
        asked = [pool.read(read) for _ in range(50)]
        errors = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(each, NoAnswer) for each in errors)
        assert len(reads) == 1
        get_family(engine).answer_seconds = PATIENCE
        return await pool.read(execute, "SELECT 1")

    assert use(engine, act, size=1) == 1


def test_a_caller_that_is_cancelled_does_not_cancel_its_transaction(engine: Engine) -> None:
    async def act(pool: LoopPool) -> int:
        leaves = asyncio.ensure_future(
            pool.run(
                execute,
                "UPDATE publisher.event_position SET position = 7",
                "SELECT pg_sleep(0.05)",
            )
        )
        for _ in range(3):
            await asyncio.sleep(0)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        return await pool.run(execute, "SELECT position FROM publisher.event_position")

    assert use(engine, act, size=1) == 7


def _end_sessions(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(END)
