"""Health: each failing check says what is wrong and what to do, and shows callers no names."""

import re
import time
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from redis import Redis
from sqlalchemy import Engine

from db import session
from db.errors import NotMigrated, OtherVersion, WrongPlatformSchema
from db.migrate import migrate
from db.rights import OURS
from db.session import Connection, connect, transaction
from db.tables.publisher import Publisher
from schemas.values.process import ProcessRole
from tests.support.api import serving
from tests.support.heartbeats import report
from tests.support.pipeline import Pipeline
from tests.support.valkey import Valkey
from tests.support.waiting import PATIENCE
from worker.operations import health
from worker.operations.checks import Check
from worker.operations.gauges import read_redis
from worker.operations.health import examine, read_health
from worker.operations.server_checks import PROBE
from worker.runtime.startup import check_database

ROLE = "pw_health_app"
RIGHTS = f"""
GRANT USAGE ON SCHEMA publisher TO {ROLE};
GRANT ALL ON ALL TABLES IN SCHEMA publisher, public TO {ROLE};
"""
SET_REVISION = """
UPDATE publisher.alembic_version SET version_num = %s WHERE version_num LIKE 'publisher%%'
"""
MOVE = "CREATE SCHEMA studio; ALTER TABLE video SET SCHEMA studio"


@pytest.fixture
def app(platform: Engine, admin: psycopg.Connection) -> Generator[Engine]:
    """What a role with every right on the tables connects with."""
    role = sql.Identifier(ROLE)
    admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    change(platform, RIGHTS)
    engine = connect(str(platform.url).replace("postgres@", f"{ROLE}@"))
    yield engine
    engine.dispose()
    change(platform, f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


@contextmanager
def connect_again(engine: Engine) -> Generator[Connection]:
    """Another program's transaction."""
    other = connect(engine.url.render_as_string(hide_password=False))
    with transaction(other) as tx:
        yield tx
    other.dispose()


def change(engine: Engine, statement: str) -> None:
    """Run a statement of the database's owner."""
    with transaction(engine) as tx:
        tx.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]


def find(name: str, engine: Engine, redis: Redis, broker_url: str = "memory://") -> Check:
    """Return one of the checks."""
    [check] = [each for each in examine(engine, redis, broker_url) if each.name == name]
    return check


def test_a_role_with_the_rights_of_the_documents_is_enough(app: Engine, redis: Redis) -> None:
    assert find("database", app, redis).ok


@pytest.mark.parametrize(
    ("statement", "table", "remedy"),
    [
        (f"REVOKE ALL ON video FROM {ROLE}; GRANT UPDATE ON video TO {ROLE}", "video",
         f"GRANT SELECT ON public.video TO {ROLE};"),
        (f"REVOKE UPDATE ON video FROM {ROLE}; GRANT UPDATE (title) ON video TO {ROLE}", "video",
         f"GRANT UPDATE (is_draft, updated_at) ON public.video TO {ROLE};"),
        (f"REVOKE ALL ON section FROM {ROLE}", "section",
         f"GRANT SELECT ON public.section TO {ROLE};"),
        (f"REVOKE INSERT, UPDATE ON publisher.outbox_event FROM {ROLE}", "publisher.outbox_event",
         f"GRANT INSERT ON publisher.outbox_event TO {ROLE};"),
        (f"REVOKE ALL ON publisher.process FROM {ROLE}", "publisher.process",
         f"GRANT DELETE, INSERT, SELECT, UPDATE ON publisher.process TO {ROLE};"),
        (f"REVOKE ALL ON publisher.event_summary FROM {ROLE}", "publisher.event_summary",
         f"GRANT DELETE, INSERT, SELECT, UPDATE ON publisher.event_summary TO {ROLE};"),
        (f"REVOKE UPDATE ON publisher.outlet FROM {ROLE}", "publisher.outlet",
         f"GRANT UPDATE ON publisher.outlet TO {ROLE};"),
    ],
)  # fmt: skip
def test_a_missing_right_is_named_with_its_grant(
    platform: Engine, app: Engine, redis: Redis, statement: str, table: str, remedy: str
) -> None:
    change(platform, statement)
    check = find("database", app, redis)
    assert check.detail == f"table {table}: permission denied for role {ROLE}."
    assert check.remedy == remedy
    change(platform, remedy)
    assert find("database", app, redis).ok


def test_every_table_of_ours_is_among_the_rights_that_are_checked() -> None:
    tables = {each.name for each in Publisher.metadata.sorted_tables}
    assert tables | {"alembic_version"} == set(OURS)


@pytest.mark.parametrize(
    ("at", "detail", "remedy"),
    [
        ("publisher_9999", "is at publisher_9999", "the newer version of publish-worker"),
        ("publisher_0001", "is at publisher_0001", "Run `publish-worker migrate`"),
    ],
)
def test_another_revision_is_named_with_the_side_that_must_change(
    pipeline: Pipeline, at: str, detail: str, remedy: str
) -> None:
    pipeline.execute(SET_REVISION, at)
    check = find("database", pipeline.engine, pipeline.redis)
    assert detail in check.detail
    assert remedy in check.remedy
    with pytest.raises((NotMigrated, OtherVersion), match=remedy):
        check_database(pipeline.engine)


def test_a_locked_table_delays_health_only_briefly(
    platform: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(session._SETTINGS, "lock_timeout", "600s")  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    engine = connect(platform.url.render_as_string(hide_password=False))
    with connect_again(platform) as other:
        other.execute("LOCK TABLE publisher.publish_command")
        checks = {each.name: each for each in examine(engine, redis, "memory://")}
    engine.dispose()
    assert checks["database"].detail == "Another transaction holds a lock for a long time."
    assert "pg_blocking_pids" in checks["database"].remedy
    assert checks["stream"].ok, "what needs no locked table is checked all the same"


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        (None, "Correct the user in DATABASE_URL"),
        ("postgresql://postgres@nowhere.invalid/", "Correct the host in DATABASE_URL."),
        ("postgresql://postgres@127.0.0.1:1/", "Start the server, or correct host and port"),
    ],
)
def test_a_refused_connection_has_its_own_remedy(
    platform: Engine, redis: Redis, url: str | None, remedy: str
) -> None:
    given = url or str(platform.url).replace("postgres@", "unknown_role@")
    assert remedy in find("database", connect(given), redis).remedy


def test_a_schema_that_may_not_be_used_is_named_with_its_grant(
    platform: Engine, app: Engine, redis: Redis
) -> None:
    change(platform, f"REVOKE USAGE ON SCHEMA publisher FROM {ROLE}")
    check = find("database", app, redis)
    assert check.remedy == f"GRANT USAGE ON SCHEMA publisher TO {ROLE};"


def test_callers_without_a_key_see_neither_role_nor_tables(
    platform: Engine, app: Engine, redis: Redis, redis_url: str
) -> None:
    with serving(app, redis, redis_url) as api:
        change(platform, f"REVOKE SELECT ON section FROM {ROLE}")
        answer = api.call("GET", "/readyz", None)
    [database] = [each for each in answer.json()["checks"] if each["name"] == "database"]
    assert database["detail"] == "The role of DATABASE_URL lacks a right."
    assert "publish-worker status" in database["remedy"]
    assert ROLE not in answer.text


def test_callers_read_that_a_right_is_missing_and_not_that_the_database_is_unreachable(
    platform: Engine, app: Engine, redis: Redis, redis_url: str
) -> None:
    with serving(app, redis, redis_url) as api:
        path = f"/videos/{api.video()}/"
        assert api.get(path).status_code == 200
        change(platform, f"REVOKE SELECT ON video FROM {ROLE}")
        answer = api.get(path)
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("The role of DATABASE_URL lacks a right. Nothing was")
    assert ROLE not in answer.text


def test_callers_without_a_key_do_not_see_where_a_server_is(redis: Redis) -> None:
    nowhere = connect("postgresql://me@127.0.0.1:1/nothing")
    with serving(nowhere, redis, "redis://127.0.0.1:1/0") as api:
        answer = api.call("GET", "/readyz", None)
    assert "127.0.0.1" not in answer.text
    assert "The database cannot be reached." in answer.text
    assert "The broker cannot be used." in answer.text


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        ("ALTER TABLE section RENAME COLUMN content TO other", "content does not exist"),
        ("ALTER TABLE video_engagement RENAME TO other", '"video_engagement" does not exist'),
    ],
)
def test_a_missing_column_or_table_is_named(
    platform: Engine, redis: Redis, statement: str, missing: str
) -> None:
    change(platform, statement)
    check = find("database", platform, redis)
    assert missing in check.detail
    assert "add it to its table or view" in check.remedy


# --- PLATFORM_SCHEMA -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "schema", "fault"),
    [
        ("SELECT", "typo", ("PLATFORM_SCHEMA=typo: there is no schema of this name, and thus no "
         "table video; the schema public has one. Set PLATFORM_SCHEMA=public")),
        ("CREATE SCHEMA typo", "typo", ("PLATFORM_SCHEMA=typo has no table video; the schema "
         "public has one. Set PLATFORM_SCHEMA=public")),
        (MOVE, "public", ("PLATFORM_SCHEMA=public has no table video; the schema studio has one. "
         "Set PLATFORM_SCHEMA=studio")),
        (f"{MOVE}; CREATE SCHEMA other; CREATE VIEW other.video AS TABLE studio.video", "public",
         "PLATFORM_SCHEMA=public has no table video; the schemas other, studio have one."),
        ("DROP TABLE video CASCADE", "typo", ("PLATFORM_SCHEMA=typo: there is no schema of this "
         "name. Correct PLATFORM_SCHEMA, or create the schema")),
    ],
)  # fmt: skip
def test_a_wrong_schema_is_called_by_its_name_at_the_start_and_by_health(
    platform: Engine, database_url: str, redis: Redis, statement: str, schema: str, fault: str
) -> None:
    change(platform, statement)
    engine = connect(database_url, platform_schema=schema)
    try:
        with pytest.raises(WrongPlatformSchema) as refused:
            check_database(engine)
        check = find("database", engine, redis)
    finally:
        engine.dispose()
    assert str(refused.value).startswith(fault)
    assert f"{check.detail} {check.remedy}" == str(refused.value)


def test_another_programs_table_video_is_not_taken_for_the_platforms(platform: Engine) -> None:
    change(platform, "DROP TABLE video CASCADE; CREATE SCHEMA cms; CREATE TABLE cms.video (id int)")
    check_database(platform)


def test_processes_may_start_before_the_platforms_tables_are_made(
    platform: Engine, redis: Redis
) -> None:
    change(platform, "DROP TABLE video CASCADE")
    check_database(platform)
    assert "table video is not in the schema public" in find("database", platform, redis).detail


def test_no_second_table_video_is_made(platform: Engine, database_url: str) -> None:
    change(platform, "DROP SCHEMA publisher CASCADE; CREATE SCHEMA studio")
    engine = connect(database_url, platform_schema="studio")
    with pytest.raises(WrongPlatformSchema, match="PLATFORM_SCHEMA=studio has no table video"):
        migrate(engine, with_platform=True)
    engine.dispose()
    with transaction(platform) as tx:
        query = "SELECT to_regclass('studio.video'), to_regnamespace('publisher')"
        assert tx.execute(query).fetchone() == (None, None), "nothing was changed"


# --- Redis ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code", "remedy"),
    [
        ("CONFIG SET requirepass secret", "NOAUTH", "add user and password to REDIS_URL"),
        ("CONFIG SET maxmemory 1", "OOM", "raise maxmemory"),
        ("REPLICAOF 127.0.0.1 1", "READONLY", "is a replica"),
        ("CONFIG SET min-replicas-to-write 1", "NOREPLICAS", "min-replicas-to-write"),
        ("ACL SETUSER default resetkeys ~other", "NOPERM", "ACL SETUSER publish-worker"),
    ],
)
def test_an_answer_of_redis_is_explained(
    pipeline: Pipeline, valkey: Valkey, command: str, code: str, remedy: str
) -> None:
    assert find("redis", pipeline.engine, valkey.client).ok
    valkey.client.execute_command(*command.split())
    with Redis.from_url(valkey.url) as client:
        check = find("redis", pipeline.engine, client)
    assert remedy in check.remedy
    assert check.public_detail == f"Redis refuses: {code}."


def test_a_server_that_drops_keys_when_it_is_full_is_a_failing_check(
    pipeline: Pipeline, valkey: Valkey
) -> None:
    valkey.client.config_set("maxmemory-policy", "allkeys-lru")
    assert find("redis", pipeline.engine, valkey.client).ok, "without maxmemory it is never full"
    valkey.client.config_set("maxmemory", "200mb")
    check = find("redis", pipeline.engine, valkey.client)
    assert "maxmemory-policy allkeys-lru" in check.detail
    valkey.client.config_set(*re.findall(r"SET (\S+) (\w+)", check.remedy)[0])
    assert find("redis", pipeline.engine, valkey.client).ok


def test_the_probe_of_redis_expires(pipeline: Pipeline) -> None:
    find("redis", pipeline.engine, pipeline.redis)
    assert pipeline.redis.pttl(PROBE) > 0


# --- the outbox ----------------------------------------------------------------------------------


def test_an_event_that_waits_for_the_relay_is_a_failing_check(pipeline: Pipeline) -> None:
    pipeline.publish(pipeline.video())
    assert find("stream", pipeline.engine, pipeline.redis).ok, "it was recorded just now"
    pipeline.execute("UPDATE publisher.outbox_event SET occurred_at = now() - interval '40 s'")
    check = find("stream", pipeline.engine, pipeline.redis)
    assert re.fullmatch(r"The next event has waited for the relay for 4\d s\.", check.detail)
    pipeline.events()
    assert find("stream", pipeline.engine, pipeline.redis).ok


# --- processes -----------------------------------------------------------------------------------


def test_a_queue_that_no_worker_serves_is_named_with_the_command(pipeline: Pipeline) -> None:
    report(pipeline.engine, ProcessRole.WORKER, queues=["webhooks"])
    check = find("queues", pipeline.engine, pipeline.redis)
    assert check.detail == "No worker serves the queue publish."
    assert "celery -A worker.app worker -Q publish" in check.remedy
    report(pipeline.engine, ProcessRole.WORKER, queues=["publish"])
    assert find("queues", pipeline.engine, pipeline.redis).ok


def test_a_worker_that_has_gone_serves_no_queue(pipeline: Pipeline) -> None:
    report(pipeline.engine, ProcessRole.WORKER, queues=["publish", "webhooks"], seconds_ago=20)
    check = find("queues", pipeline.engine, pipeline.redis)
    assert check.detail == "No worker serves the queues publish and webhooks."


def test_the_workers_are_summed_up(pipeline: Pipeline) -> None:
    engine = pipeline.engine
    report(engine, ProcessRole.WORKER, name="a", queues=["publish"], processes=3, batch_age=9.0)
    report(engine, ProcessRole.WORKER, name="b", queues=["webhooks"], batch_age=0.4)
    report(engine, ProcessRole.WORKER, name="c", queues=["webhooks"], seconds_ago=30)
    detail = find("worker", engine, pipeline.redis).detail
    assert "2 workers (4 processes) on queues publish, webhooks; last batch " in detail
    assert "1 gone without shutting down" in detail


def test_sweeps_that_do_not_run_ask_for_the_part_that_is_missing(pipeline: Pipeline) -> None:
    def find_remedy() -> str:
        return find("worker", pipeline.engine, pipeline.redis).remedy

    assert "celery -A worker.app worker" in find_remedy()
    report(pipeline.engine, ProcessRole.WORKER, queues=["publish", "webhooks"])
    assert find_remedy() == "Start beat: celery -A worker.app beat."
    report(pipeline.engine, ProcessRole.BEAT)
    assert "`redis` and `broker`" in find_remedy()


def test_the_age_of_a_sweep_does_not_depend_on_the_clock_of_its_host(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health.time, "time", lambda: 0.0)
    health.Heartbeat(pipeline.waker).leave()
    monkeypatch.undo()
    assert find("worker", pipeline.engine, pipeline.redis).ok
    readings = read_redis(pipeline.redis)
    assert readings is not None
    assert time.time() - readings.heartbeat < PATIENCE


def test_a_missing_beat_is_a_failing_check(pipeline: Pipeline) -> None:
    check = find("beat", pipeline.engine, pipeline.redis)
    assert "celery -A worker.app beat" in check.remedy
    report(pipeline.engine, ProcessRole.BEAT, seconds_ago=20)
    assert re.search(r"was 2\d s ago", find("beat", pipeline.engine, pipeline.redis).detail)
    report(pipeline.engine, ProcessRole.BEAT)
    assert find("beat", pipeline.engine, pipeline.redis).ok


def list_alive(pipeline: Pipeline) -> list[bool]:
    seen = read_health(pipeline.engine, pipeline.redis, "memory://").processes
    assert seen is not None
    return sorted(each.is_alive for each in seen)


def test_a_process_that_has_gone_is_not_listed_once_another_one_has_its_name(
    pipeline: Pipeline,
) -> None:
    report(pipeline.engine, ProcessRole.WORKER, seconds_ago=20)
    report(pipeline.engine, ProcessRole.WORKER, age=5.0)
    assert list_alive(pipeline) == [True]


def test_a_process_that_has_gone_is_listed_beside_one_that_had_its_name_before(
    pipeline: Pipeline,
) -> None:
    report(pipeline.engine, ProcessRole.API, seconds_ago=20)
    report(pipeline.engine, ProcessRole.API, age=300.0)
    report(pipeline.engine, ProcessRole.API, age=300.0)
    assert list_alive(pipeline) == [False, True, True]


def test_two_hundred_workers_are_all_counted_and_listed(pipeline: Pipeline) -> None:
    for number in range(200):
        report(pipeline.engine, ProcessRole.WORKER, name=f"w{number}@host", queues=["publish"])
    assert list_alive(pipeline) == [True] * 200
    detail = find("worker", pipeline.engine, pipeline.redis).detail
    assert "200 workers (200 processes) on queue publish" in detail
