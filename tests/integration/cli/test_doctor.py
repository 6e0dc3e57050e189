"""`publish-worker doctor`: each broken set-up is named, with what to do about it."""

import json
import signal
import socket
import time
from collections.abc import Callable, Generator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from db.revision import NEEDED
from tests.support.clones import named
from tests.support.command_line import Run
from tests.support.pipeline import Pipeline
from tests.support.valkey import Valkey
from worker.local.engines import Engines
from worker.operations.doctor.examination import LONGEST_SECONDS

NOBODY_LISTENS = "127.0.0.1:1"
ROLE = "test_doctor"

Examine = Callable[..., dict[str, list[dict[str, Any]]]]


@pytest.fixture
def examine(run: Run) -> Examine:
    """Run doctor with these settings; the findings that are not ok, by name."""

    def doctor(**environment: str) -> dict[str, list[dict[str, Any]]]:
        done = run("doctor", "--json", **environment)
        report = json.loads(done.out)
        bad = [each for each in report["findings"] if each["level"] != "ok"]
        has_error = any(each["level"] == "error" for each in bad)
        assert (done.code, report["healthy"]) == ((1, False) if has_error else (0, True))
        assert "secret" not in done.out + done.err
        assert all(each["remedy"] for each in bad)
        return {
            each["name"]: [other for other in bad if other["name"] == each["name"]] for each in bad
        }

    return doctor


@pytest.fixture
def silent_port() -> Generator[int]:
    """A port that accepts connections and never answers, as a frozen server does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def powerless_url(here: Pipeline, admin: psycopg.Connection, database_url: str) -> Generator[str]:
    """The database's URL with a role that may log in and do nothing else."""
    assert here
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(ROLE)))
    yield database_url.replace("//postgres@", f"//{ROLE}@")
    admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(ROLE)))


def says(findings: list[dict[str, Any]], detail: str, remedy: str, level: str = "error") -> bool:
    """Whether one finding has these words."""
    return any(
        detail in each["detail"] and remedy in each["remedy"] and each["level"] == level
        for each in findings
    )


# Settings.


@pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL"])
@pytest.mark.usefixtures("here")
def test_a_missing_url(examine: Examine, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delenv(missing)
    assert says(examine()["settings"], f"{missing} is not set", "Set it too")


@pytest.mark.usefixtures("here")
def test_an_invalid_setting_does_not_hide_the_rest(examine: Examine) -> None:
    found = examine(LOG_LEVEL="trace", REDIS_URL=f"redis://:secret@{NOBODY_LISTENS}/0")
    assert says(found["settings"], "LOG_LEVEL is not valid", "Use DEBUG, INFO")
    assert says(found["redis"], "Connection refused", "REDIS_URL")


@pytest.mark.usefixtures("here")
def test_misspelt_settings(examine: Examine) -> None:
    given = {"DATABSE_URL": "x", "PUBLISH_WORKER_LOGLEVEL": "INFO", "CELERY_BROKER_URL": "x"}
    found = examine(**given)["settings"]
    for name, right in (
        ("DATABSE_URL", "DATABASE_URL"),
        ("PUBLISH_WORKER_LOGLEVEL", "PUBLISH_WORKER_LOG_LEVEL"),
        ("CELERY_BROKER_URL", "BROKER_URL"),
    ):
        assert says(found, f"{name} is set, and nothing reads it", f"Use {right}.", "warning")


# PostgreSQL.


@pytest.mark.usefixtures("here")
def test_a_wrong_host(examine: Examine) -> None:
    found = examine(DATABASE_URL=f"postgresql://u:secret@{NOBODY_LISTENS}/d")
    assert says(found["database"], "Connection refused", "correct host and port in DATABASE_URL")


def test_a_wrong_user(examine: Examine, here: Pipeline, database_url: str) -> None:
    assert here
    found = examine(DATABASE_URL=database_url.replace("//postgres@", "//stranger:secret@"))
    assert says(found["database"], 'role "stranger" does not exist', "Correct the user")


@pytest.mark.usefixtures("here", "limits")
def test_a_frozen_database_ends_within_the_deadline(examine: Examine, silent_port: int) -> None:
    begun = time.monotonic()
    found = examine(DATABASE_URL=f"postgresql://u:secret@127.0.0.1:{silent_port}/d")
    assert time.monotonic() - begun < LONGEST_SECONDS + 10
    assert says(found["database"], "does not answer", "Look at the server's load")


def test_a_database_without_tables(
    examine: Examine, here: Pipeline, running: Engines, admin: psycopg.Connection
) -> None:
    assert here
    admin.execute("CREATE DATABASE test_doctor_empty")
    found = examine(DATABASE_URL=named(running.database_url, "test_doctor_empty"))
    admin.execute("DROP DATABASE test_doctor_empty WITH (FORCE)")
    assert says(found["database"], "Not migrated", "publish-worker migrate")


@pytest.mark.parametrize(
    ("revision", "detail", "remedy"),
    [
        ("publisher_0001", "it is at publisher_0001", "publish-worker migrate"),
        ("publisher_9999", "migrated for a newer version", "newer version of publish-worker"),
    ],
)
def test_another_migration(
    examine: Examine, here: Pipeline, revision: str, detail: str, remedy: str
) -> None:
    move = "UPDATE publisher.alembic_version SET version_num = '{}' WHERE version_num = '{}'"
    here.execute(move.format(revision, NEEDED))
    assert says(examine()["database"], detail, remedy)


def test_a_role_without_rights(examine: Examine, powerless_url: str) -> None:
    found = examine(DATABASE_URL=powerless_url)
    assert says(found["database"], f"permission denied for role {ROLE}", f"TO {ROLE};")


def test_no_trigger_on_the_videos(examine: Examine, here: Pipeline) -> None:
    here.execute("ALTER TABLE video DISABLE TRIGGER USER")
    assert says(examine()["trigger"], "within a minute", "docs/adopting.md", "warning")


@pytest.mark.usefixtures("here")
def test_a_wrong_platform_schema(examine: Examine) -> None:
    found = examine(PLATFORM_SCHEMA="elsewhere")
    assert says(found["database"], "PLATFORM_SCHEMA=elsewhere", "PLATFORM_SCHEMA=public")


def test_a_read_only_database(examine: Examine, here: Pipeline) -> None:
    name = here.value("SELECT quote_ident(current_database())")
    here.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert says(examine()["database"], "read-only", "use the primary")


# Redis and the broker.


@pytest.mark.usefixtures("here")
def test_a_wrong_password_of_redis(examine: Examine, valkey: Valkey) -> None:
    valkey.client.config_set("requirepass", "another")
    found = examine(REDIS_URL=f"redis://:secret@127.0.0.1:{valkey.port}/0")
    assert says(
        found["redis"], "invalid username-password", "Correct the user or the password in REDIS_URL"
    )
    assert says(
        found["broker"],
        "invalid username-password",
        "Correct the user or the password in BROKER_URL",
    )


@pytest.mark.usefixtures("here")
def test_a_redis_that_may_lose_what_it_holds(examine: Examine, valkey: Valkey) -> None:
    valkey.client.config_set("maxmemory-policy", "allkeys-lru")
    valkey.client.config_set("maxmemory", "100mb")
    found = examine(REDIS_URL=valkey.url)
    assert says(found["eviction"], "allkeys-lru, maxmemory: 100 MiB", "noeviction")
    assert says(found["persistence"], "no append-only file", "appendonly yes", "warning")


@pytest.mark.usefixtures("here")
def test_a_replica(examine: Examine, valkey: Valkey) -> None:
    valkey.client.replicaof("127.0.0.1", "1")
    found = examine(REDIS_URL=valkey.url)
    assert says(found["redis server"], "is a replica of 127.0.0.1:1", "name the primary")
    assert says(found["redis"], "", "let REDIS_URL name the primary")


@pytest.mark.usefixtures("here", "limits")
def test_a_frozen_redis_ends_within_the_deadline(examine: Examine, valkey: Valkey) -> None:
    valkey.process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    found = examine(REDIS_URL=valkey.url)
    assert time.monotonic() - begun < LONGEST_SECONDS + 10
    valkey.process.send_signal(signal.SIGCONT)
    assert says(found["redis"], "no answer within", "Check REDIS_URL")


@pytest.mark.usefixtures("here")
def test_a_broker_that_is_down_and_no_worker(examine: Examine) -> None:
    found = examine(BROKER_URL=f"amqp://u:secret@{NOBODY_LISTENS}//")
    assert says(found["broker"], "Connection refused", "BROKER_URL")
    assert says(found["worker"], "No worker has run a sweep", "celery -A worker.app worker")
    assert says(found["beat"], "Beat does not run", "celery -A worker.app beat")


def test_messages_without_our_prefix(examine: Examine, here: Pipeline) -> None:
    here.redis.lpush("publish", "a message of a producer without global_keyprefix")
    remedy = '{"global_keyprefix": "publish-worker:celery:"}'
    assert says(examine()["celery"], "Messages lie in publish", remedy, "warning")


# The surroundings.


@pytest.mark.usefixtures("here")
def test_an_identity_provider_that_does_not_answer(examine: Examine) -> None:
    issuer = f"http://{NOBODY_LISTENS}"
    access = '[{"group": "g", "scope": "read", "workspace_id": null}]'
    found = examine(OIDC_ISSUER=issuer, OIDC_CLIENT_ID="c", OIDC_ACCESS=access)
    assert says(found["identity provider"], "Connection refused", "Check OIDC_ISSUER")


@pytest.mark.usefixtures("here")
def test_what_is_printed_has_a_mark_and_a_remedy_and_no_secret(run: Run) -> None:
    done = run("doctor", BROKER_URL=f"redis://:secret@{NOBODY_LISTENS}/0")
    assert done.code == 1
    assert f"BROKER_URL   redis://:***@{NOBODY_LISTENS}/0\n" in done.out
    assert "\n✗ broker" in done.out
    assert "\n! postgres     PostgreSQL 18" in done.out
    assert "\n✓ clock" in done.out
    assert "→ Start a worker" in done.out
    assert " errors, " in done.complaint
