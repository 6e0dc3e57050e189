"""API keys are kept for less than a second: fewer look-ups, and revocation takes effect."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from db.loop_sessions import LoopPool
from db.session import connect, transaction
from schemas.values.caller import Scope
from tests.support.statements import counted
from tests.support.waiting import wait_until
from worker.api import key_cache
from worker.api.key_cache import KEPT_SECONDS, REFRESHED_AFTER, KeyCache
from worker.operations.api_keys import create_key, list_keys, revoke_key

READER = """
CREATE ROLE key_reader LOGIN;
GRANT USAGE ON SCHEMA publisher TO key_reader;
GRANT SELECT ON publisher.api_key TO key_reader
"""


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def use(engine: Engine, act: Callable[[KeyCache, Clock], Awaitable[Any]]) -> Any:
    """Run `act` on an event loop with a cache."""

    async def main() -> Any:
        pool, clock = LoopPool(engine, 1), Clock()
        keys = KeyCache(pool, clock)
        try:
            return await act(keys, clock)
        finally:
            await keys.close()
            await pool.close()

    return asyncio.run(main())


@pytest.fixture
def key(platform: Engine) -> str:
    return create_key(platform, name="any", scope=Scope.PUBLISH, workspace_id=1)


def look_ups(statements: list[str]) -> int:
    return sum("WHERE digest" in each for each in statements)


def test_requests_at_the_same_time_share_one_look_up(platform: Engine, key: str) -> None:
    async def act(keys: KeyCache, _: Clock) -> None:
        with counted() as statements:
            callers = await asyncio.gather(*(keys.identify(key) for __ in range(50)))
        assert {caller.workspace_id for caller in callers if caller} == {1}
        assert look_ups(statements) == 1

    use(platform, act)


def test_a_busy_key_is_refreshed_while_its_requests_go_on(platform: Engine, key: str) -> None:
    async def act(keys: KeyCache, clock: Clock) -> None:
        await keys.identify(key)
        with counted() as statements:
            for _ in range(10):
                clock.now += REFRESHED_AFTER + 0.1
                known = keys.identify(key)
                with pytest.raises(StopIteration):  # without waiting
                    known.send(None)  # pyright: ignore[reportAttributeAccessIssue]
                await keys.close()
        assert look_ups(statements) == 10

    use(platform, act)


def test_a_revoked_key_is_unknown_when_its_time_is_over(platform: Engine, key: str) -> None:
    async def act(keys: KeyCache, clock: Clock) -> None:
        assert await keys.identify(key)
        [known] = list_keys(platform)
        revoke_key(platform, known.id)
        assert await keys.identify(key)
        clock.now = KEPT_SECONDS
        assert await keys.identify(key) is None

    use(platform, act)
    assert KEPT_SECONDS < 1


def test_the_time_counts_from_before_the_look_up(platform: Engine, key: str) -> None:
    async def act(keys: KeyCache, clock: Clock) -> None:
        asked = asyncio.ensure_future(keys.identify(key))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        clock.now = KEPT_SECONDS  # the answer took this long
        assert await asked
        [known] = list_keys(platform)
        revoke_key(platform, known.id)
        assert await keys.identify(key) is None

    use(platform, act)


def test_unknown_keys_are_not_kept_and_known_ones_are_limited(
    platform: Engine, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "MAX_KEYS", 2)
    others = [create_key(platform, name=n, scope=Scope.READ, workspace_id=1) for n in ("b", "c")]

    async def act(keys: KeyCache, _clock: Clock) -> None:
        for secret in ("pw_unknown", key, *others):
            await keys.identify(secret)
        with counted() as statements:
            for secret in others:
                assert await keys.identify(secret)
            assert look_ups(statements) == 0
            assert await keys.identify("pw_unknown") is None
            assert await keys.identify(key)
        assert look_ups(statements) == 2

    use(platform, act)


def uses(statements: list[str]) -> int:
    return sum("last_used_at = used_at" in each for each in statements)


def test_the_last_use_of_many_keys_is_recorded_in_one_statement(platform: Engine, key: str) -> None:
    others = [create_key(platform, name=n, scope=Scope.READ, workspace_id=1) for n in ("b", "c")]

    async def act(keys: KeyCache, clock: Clock) -> list[str]:
        with counted() as statements:
            for secret in (key, *others[:1], "pw_unknown"):
                await keys.identify(secret)
            clock.now += 20
            assert uses(statements) == 0  # not within the requests
            await keys.close()
        return statements

    assert uses(use(platform, act)) == 1
    first, second, unused = (each.last_used_at for each in list_keys(platform))
    assert first is not None
    assert second is not None
    assert 19 < (datetime.now(UTC) - first).total_seconds() < 80  # when it was used
    assert unused is None


def test_a_key_in_use_is_recorded_while_the_process_runs(
    platform: Engine, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_cache, "NOTED_EVERY", 0.01)

    async def act(keys: KeyCache, _: Clock) -> None:
        await keys.identify(key)
        await asyncio.to_thread(
            wait_until, lambda: list_keys(platform)[0].last_used_at, "the use to be recorded"
        )

    use(platform, act)


def test_the_last_use_changes_at_most_once_a_minute(platform: Engine, key: str) -> None:
    async def act(keys: KeyCache, _: Clock) -> None:
        await keys.identify(key)

    recorded: set[datetime | None] = set()
    for _ in range(2):  # two processes
        use(platform, act)
        recorded.add(list_keys(platform)[0].last_used_at)
    assert len(recorded) == 1
    with transaction(platform) as tx:
        tx.execute("UPDATE publisher.api_key SET last_used_at = last_used_at - interval '1 minute'")
    use(platform, act)
    recorded.add(list_keys(platform)[0].last_used_at)
    assert len(recorded) == 2


def test_a_missing_right_to_record_the_use_is_explained_once(
    platform: Engine, key: str, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with transaction(platform) as tx:
        tx.execute(READER)
    reader = connect(database_url.replace("postgres@", "key_reader@"))

    async def act(keys: KeyCache, clock: Clock) -> None:
        for _ in range(2):
            assert await keys.identify(key)
            await keys.close()
            clock.now += 60

    use(reader, act)
    reader.dispose()
    with transaction(platform) as tx:
        tx.execute("DROP OWNED BY key_reader; DROP ROLE key_reader")
    logged = [each for each in caplog.records if each.msg == "api_keys.use_not_recorded"]
    assert len(logged) == 1
    assert "GRANT UPDATE (last_used_at)" in str(vars(logged[0]))


def test_an_unreachable_database_is_an_error_and_not_an_unknown_key() -> None:
    async def act(keys: KeyCache, _clock: Clock) -> None:
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError):
                await keys.identify("pw_any")

    use(connect("postgresql://127.0.0.1:1/nothing"), act)
