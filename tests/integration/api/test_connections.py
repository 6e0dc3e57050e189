"""The connections of an API process: a fixed number, and one that is lost costs no answer."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, event

from db.session import connect, transaction
from tests.support.api import Api, serving
from tests.support.waiting import wait_until

READ = "/webhook-endpoints"
LIST = "/publish-commands"
SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
LOCK = """
SET LOCAL idle_in_transaction_session_timeout = 0;
LOCK TABLE publisher.publish_command IN ACCESS EXCLUSIVE MODE
"""
BLOCKED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
END_BLOCKED = BLOCKED.replace("count(*)", "pg_terminate_backend(pid)")


@pytest.fixture
def two(platform: Engine, database_url: str, redis: Redis, redis_url: str) -> Generator[Api]:
    """The API with two connections for threads; the test uses others."""
    engine = connect(database_url, pool_size=2, overflow=0)
    with serving(engine, redis, redis_url) as api:
        api.secret("read")
        api.engine = platform
        yield api
    engine.dispose()


def test_many_reads_at_once_open_no_more_than_the_pools_connections(two: Api) -> None:
    assert two.client is not None
    app: Any = two.client.app
    opened: list[object] = []
    event.listen(app.state.runtime.engine, "connect", lambda *session: opened.append(session))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(two.get, [READ] * 200, ["read"] * 200))
    assert {each.status_code for each in answers} == {200}
    assert len(opened) <= 2


def test_a_request_without_a_connection_in_time_is_refused_as_overload(two: Api) -> None:
    with ThreadPoolExecutor(2) as pool, transaction(two.engine) as tx:
        assert two.get(READ, "read").status_code == 200
        tx.execute(LOCK)
        slow = [pool.submit(two.get, LIST, "read") for _ in range(2)]
        wait_until(lambda: two.value(BLOCKED) == 2, "both connections to be in use")
        answer = two.get(READ, "read")
        tx.execute("ROLLBACK")
        assert {each.result().status_code for each in slow} <= {200, 503}
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["type"] == "/problems/overloaded"


def test_sessions_that_were_ended_cost_no_answer(two: Api) -> None:
    paths = [READ, LIST, f"/videos/{two.video()}/", f"/videos/{two.video()}/publish/"]
    for path in paths:
        assert two.get(path, "read").status_code == 200
    for path in paths:
        two.end_other_sessions()
        assert two.get(path, "read").status_code == 200
    two.end_other_sessions()
    wait_until(lambda: two.value(SESSIONS) == 0, "the sessions to end")
    commands = [{"video_id": two.video()}] * 60
    assert two.post(LIST, "publish", json={"commands": commands}).status_code == 202


def test_a_read_whose_session_ends_meanwhile_is_repeated(two: Api) -> None:
    assert two.get(LIST, "read").status_code == 200
    with ThreadPoolExecutor(1) as pool, transaction(two.engine) as tx:
        tx.execute(LOCK)
        reading = pool.submit(two.get, LIST, "read")
        wait_until(lambda: two.value(BLOCKED) == 1, "it to be read")
        assert two.value(END_BLOCKED)
        wait_until(lambda: two.value(BLOCKED) == 1, "it to be read again")
        tx.execute("ROLLBACK")
        assert reading.result().status_code == 200
