"""The SQL of docs/adopting.md, run as it stands there: the whole path over Django's tables.

The worker's role has the rights that the page grants and no others.
"""

import importlib
import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from redis import Redis
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError

from db import api_keys
from db.errors import DATABASE_ERRORS
from db.migrate import migrate
from db.revision import is_migrated
from db.session import connect, transaction
from db.tables.platform import Platform
from db.videos import lookup
from publish_worker_client import AccessRefused, Publisher, UnknownVideo
from schemas.command import PublishRequest
from schemas.generation import GenerationReport, ReportKind
from schemas.values.caller import Scope
from schemas.video import VideoInput
from tests.support.api import serving
from tests.support.clones import libpq, named
from tests.support.pipeline import Pipeline
from tests.support.waiting import PATIENCE
from worker.enqueue.announcements import announce
from worker.generation.apply import apply_reports
from worker.local.engines import Engines
from worker.operations.api_keys import (
    KeyRightsMissing,
    create_key,
    identify,
    list_keys,
    revoke_key,
)
from worker.operations.health import examine
from worker.operations.retention import prune
from worker.runtime.settings import Settings
from worker.webhooks.fan_out import fan_out

PAGE = Path(__file__).parents[3] / "docs" / "adopting.md"
DJANGO = Path(__file__).parents[2] / "support" / "django_platform.sql"
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SQL_BLOCK = re.compile(r"^```sql\n-- (\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS: dict[str, str] = dict(SQL_BLOCK.findall(PAGE.read_text()))
NOT_READ = {("section", "internal_notes")}
SAME_TO_US = {"character varying": "text", "integer": "bigint"}
MINE = {"django", "publish_worker", "publish_migrate"}


@dataclass(frozen=True)
class Adopted:
    """A Django platform's database: as its superuser sees it, and as the worker does."""

    admin: psycopg.Connection
    pipeline: Pipeline
    """As `publish_worker`."""
    owner: Engine
    """As `publish_migrate`."""

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the superuser reads."""
        return self.admin.execute(query, values or None).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

    def run(self, block: str, role: str | None = None) -> None:
        """Run a block of the page, as a role."""
        if role:
            self.admin.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        self.admin.execute(BLOCKS[block])  # pyright: ignore[reportArgumentType, reportCallIssue]
        self.admin.execute("RESET ROLE")

    def everything(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Every row of every table of Django's, by table and id."""
        tables = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            (table, row["id"]): row
            for (table,) in tables
            for (row,) in self.rows(f"SELECT to_jsonb(t) FROM public.{table} t")
        }

    def relations(self) -> set[tuple[str, str]]:
        """Every table, view, index and sequence outside `publisher`."""
        return set(
            self.rows("""
            SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
            WHERE n.nspname NOT IN ('publisher', 'information_schema') AND n.nspname !~ '^pg_'
            """)
        )


@pytest.fixture
def database(running: Engines) -> Generator[str]:
    """The name of a database that has a Django platform and nothing of ours."""
    name = f"django_{os.urandom(6).hex()}"
    server = libpq(running.database_url, "postgres")
    with psycopg.connect(server, autocommit=True) as admin:
        _forget_roles(admin)
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    with psycopg.connect(libpq(running.database_url, name), autocommit=True) as admin:
        admin.execute(
            "CREATE ROLE django; GRANT CREATE ON SCHEMA public TO django; SET ROLE django"
        )
        admin.execute(DJANGO.read_text())  # pyright: ignore[reportArgumentType, reportCallIssue]
    yield name
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        _forget_roles(admin)


def _forget_roles(admin: psycopg.Connection) -> None:
    """Roles belong to the whole server."""
    for role in MINE:
        admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.fixture
def adopted(running: Engines, database: str, redis: Redis) -> Generator[Adopted]:
    """The page followed to its end: roles, views, rights, and a migration by its own role."""
    url = named(running.database_url, database)
    engine, owner = (
        connect(url.replace("postgres@", f"{role}@"), platform_schema="publish_platform")
        for role in ("publish_worker", "publish_migrate")
    )
    with psycopg.connect(libpq(running.database_url, database), autocommit=True) as admin:
        made = Adopted(admin, Pipeline(engine=engine, redis=redis), owner)
        made.run("roles")
        made.run("views", "django")
        made.run("rights", "django")
        try:
            migrate(owner)
            made.run("runtime", "publish_migrate")
            yield made
        finally:
            engine.dispose()
            owner.dispose()


def edits(video_id: int, **fields: Any) -> PublishRequest:
    """A request that brings editorial fields beside the required ones."""
    body = {"template": {}, "owner": {"username": "ada"}, "workspace": 1, **fields}
    return PublishRequest(video_id=video_id, video=VideoInput.model_validate(body))


def test_migrating_makes_nothing_outside_our_schema(adopted: Adopted) -> None:
    adopted.admin.execute("DROP SCHEMA publisher CASCADE")
    adopted.admin.execute("CREATE SCHEMA publisher AUTHORIZATION publish_migrate")
    before = adopted.relations()
    migrate(adopted.owner)
    migrate(adopted.owner)
    assert is_migrated(adopted.owner)
    assert adopted.relations() == before


def test_a_publish_writes_its_columns_and_no_other(adopted: Adopted) -> None:
    before = adopted.everything()
    request = edits(1, title="What is light?", tags=[2, 3], category=2, subcategory=2)
    [command] = adopted.pipeline.publish(request)
    after = adopted.everything()

    assert command.state == "published"
    changed = {
        (*key, column)
        for key in before.keys() & after.keys()
        for column in before[key]
        if before[key][column] != after[key][column]
    }
    columns = ("is_draft", "updated_at", "title", "category_id", "subcategory_id")
    assert changed == {("videos_video", 1, column) for column in columns}
    assert after["videos_video", 1]["is_draft"] is False
    assert after["videos_video", 1]["title"] == "What is light?"
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    assert [before[key]["tag_id"] for key in gone] == [1]
    assert [(after[key]["video_id"], after[key]["tag_id"]) for key in new] == [(1, 3)]


def test_the_release_and_the_event_are_right(adopted: Adopted) -> None:
    adopted.pipeline.publish(edits(1, title="What is light?", tags=[2, 3], category=2))
    [event] = adopted.pipeline.events()
    data = event["data"]

    assert (event["type"], event["sequence"], event["subject"]) == ("video.published", "1", "1")
    assert data["title"] == "What is light?"
    assert data["custom_url"].startswith("ai-research-studio/what-is-light-")
    assert (data["category"], data["tags"]) == ("History", ["waves", "rome"])
    assert data["video"] == "videos/1.mp4"
    assert data["owner"] == {"id": 1, "username": "ada", "full_name": "Ada Byron"}
    metrics = data["metrics"]
    assert (metrics["section_count"], metrics["script_words"], metrics["views"]) == (2, 8, 0)
    assert data["custom_url"] == adopted.pipeline.value(
        "SELECT custom_url FROM publisher.video_release"
    )


def test_the_resource_is_readable(adopted: Adopted) -> None:
    adopted.pipeline.publish(1)
    with transaction(adopted.pipeline.engine) as tx:
        resource = lookup.read_resource(tx, 1, None)

    assert resource is not None
    assert (resource["is_draft"], resource["video"]) == (False, "videos/1.mp4")
    assert resource["template"]["name"] == "Explainer"
    assert resource["owner"]["profile_picture"] == "avatars/ada.png"
    assert [tag["name"] for tag in resource["tag_list"]] == ["light", "waves"]
    assert [section["duration"] for section in resource["sections"]] == [30, 30]
    assert "internal_notes" not in resource["sections"][0]
    assert resource["custom_url"].startswith("ai-research-studio/lecture-1-")


def test_a_video_that_django_has_locked_is_postponed_and_delays_no_other(adopted: Adopted) -> None:
    accepted = adopted.pipeline.accept(1, 2)
    with adopted.admin.transaction():
        adopted.admin.execute("SELECT FROM videos_video WHERE id = 1 FOR UPDATE")
        assert adopted.pipeline.run() == 1
    held, free = (adopted.pipeline.command(command.id) for command in accepted.commands)
    assert (held.state, held.attempts, free.state) == ("scheduled", 0, "published")

    adopted.pipeline.make_due()
    adopted.pipeline.run()
    assert adopted.pipeline.command(held.id).state == "published"


def test_the_end_of_generation_makes_the_command_due_at_once(adopted: Adopted) -> None:
    adopted.run("trigger")
    adopted.admin.execute("SET ROLE django")
    adopted.admin.execute("UPDATE videos_video SET status = 'in_progress' WHERE id = 1")
    [waiting] = adopted.pipeline.publish(1)
    assert waiting.state == "waiting"
    adopted.admin.execute("UPDATE videos_video SET status = 'completed' WHERE id = 1")
    adopted.admin.execute("RESET ROLE")
    adopted.pipeline.run()
    assert adopted.pipeline.command(waiting.id).state == "published"


def test_a_save_that_does_not_end_generation_sends_no_notification(adopted: Adopted) -> None:
    adopted.run("trigger")
    adopted.admin.execute("UPDATE videos_video SET status = 'in_progress' WHERE id = 1")
    [waiting] = adopted.pipeline.publish(1)
    adopted.admin.execute("UPDATE videos_video SET status = status, title = 'Other' WHERE id = 1")
    assert adopted.pipeline.command(waiting.id).due_at == waiting.due_at


def test_reports_need_the_grant_for_them(adopted: Adopted) -> None:
    adopted.admin.execute("UPDATE videos_video SET status = 'in_progress' WHERE id = 1")
    report = GenerationReport(kind=ReportKind.COMPLETED)
    with pytest.raises(InsufficientPrivilege):
        apply_reports(adopted.pipeline.engine, [(1, report)], None)
    adopted.run("reports")
    [state] = apply_reports(adopted.pipeline.engine, [(1, report)], None)
    assert state is not None
    assert state.applied


def test_django_may_add_a_section_meanwhile(adopted: Adopted) -> None:
    accepted = adopted.pipeline.accept(1)
    with adopted.admin.transaction():
        adopted.admin.execute("""
        INSERT INTO videos_videosection (uid, created_at, updated_at, is_active, audio_ready,
            visuals_ready, is_assembling, "order", script, duration, video_id)
        VALUES (gen_random_uuid(), now(), now(), true, false, false, false, 9, '[]', 0, 1)
        """)
        adopted.admin.execute("SET CONSTRAINTS ALL IMMEDIATE")  # takes the foreign key's lock
        assert adopted.pipeline.run() == 1
    assert adopted.pipeline.command(accepted.commands[0].id).state == "published"


def test_a_value_that_a_column_refuses_fails_only_its_command(adopted: Adopted) -> None:
    too_long = f"https://cdn.example.com/{'x' * 300}"
    accepted = adopted.pipeline.accept(edits(1, title="One", cover_image=too_long), 2)
    for _ in range(5):
        adopted.pipeline.make_due()
        adopted.pipeline.run()
    failed, fine = (adopted.pipeline.command(command.id) for command in accepted.commands)
    assert (failed.state, fine.state) == ("failed", "published")
    assert "too long" in (failed.detail or "")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE video SET status = 'completed'",
        "UPDATE video SET generation_progress = 100",
        "DELETE FROM video",
        "INSERT INTO video (id) VALUES (9)",
        "UPDATE video_tag SET tag_id = 1",
        "DELETE FROM section",
        "SELECT password FROM public.iam_iamuser",
        "UPDATE public.videos_video SET is_draft = false",
        "CREATE TABLE public.ours (id int)",
        "CREATE SCHEMA ours",
        "CREATE TABLE publisher.ours (id int)",
        "DROP SCHEMA publisher CASCADE",
        "DROP TABLE publisher.outbox_event",
        "TRUNCATE publisher.outbox_event",
        "ALTER TABLE publisher.publish_command ADD COLUMN ours int",
        "ALTER FUNCTION publisher.video_changed() OWNER TO publish_worker",
        "DELETE FROM publisher.alembic_version",
        "INSERT INTO publisher.api_key SELECT * FROM publisher.api_key",
        "UPDATE publisher.api_key SET scope = 'admin', workspace_id = NULL",
        "DELETE FROM publisher.api_key",
        "UPDATE publisher.audit_entry SET outcome = 'ok'",
        "DELETE FROM publisher.audit_entry",
        "ALTER TABLE publisher.audit_entry DISABLE TRIGGER ALL",
    ],
)
def test_the_role_may_do_nothing_else(adopted: Adopted, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        adopted.pipeline.execute(statement)


def test_without_a_grant_a_command_waits_for_it(adopted: Adopted) -> None:
    adopted.admin.execute("REVOKE UPDATE ON publish_platform.video FROM publish_worker")
    accepted = adopted.pipeline.accept(1)
    with pytest.raises(DATABASE_ERRORS):
        adopted.pipeline.run()
    adopted.run("rights", "django")
    adopted.pipeline.run()
    command = adopted.pipeline.command(accepted.commands[0].id)
    assert (command.state, command.attempts) == ("published", 0)


def test_a_serial_id_of_the_tags_needs_its_sequence_too(adopted: Adopted) -> None:
    adopted.admin.execute("""
    SET ROLE django;
    ALTER TABLE videos_video_tags ALTER id DROP IDENTITY;
    CREATE SEQUENCE videos_video_tags_id_seq START 100 OWNED BY videos_video_tags.id;
    ALTER TABLE videos_video_tags ALTER id SET DEFAULT nextval('videos_video_tags_id_seq');
    RESET ROLE;
    """)
    accepted = adopted.pipeline.accept(edits(1, title="One", tags=[3]))
    with pytest.raises(DATABASE_ERRORS):
        adopted.pipeline.run()
    adopted.run("serial", "django")
    adopted.pipeline.run()
    assert adopted.pipeline.command(accepted.commands[0].id).state == "published"


def test_the_role_may_not_migrate(adopted: Adopted) -> None:
    adopted.admin.execute("DROP SCHEMA publisher CASCADE")
    with pytest.raises(ProgrammingError, match="permission denied"):
        migrate(adopted.pipeline.engine)


def test_keys_are_created_and_revoked_by_the_owner_alone(adopted: Adopted) -> None:
    secret = create_key(adopted.owner, name="ci", scope=Scope.PUBLISH, workspace_id=1)
    caller = identify(adopted.pipeline.engine, secret)
    assert caller is not None
    with pytest.raises(KeyRightsMissing, match=r"GRANT INSERT.*publish_worker"):
        create_key(adopted.pipeline.engine, name="ci", scope=Scope.ADMIN, workspace_id=None)
    with pytest.raises(KeyRightsMissing, match="publish-worker keys"):
        revoke_key(adopted.pipeline.engine, caller.id)
    assert revoke_key(adopted.owner, caller.id)


def test_the_worker_creates_and_revokes_keys_with_the_optional_grant(adopted: Adopted) -> None:
    adopted.run("keys", "publish_migrate")
    worker = adopted.pipeline.engine
    caller = identify(worker, create_key(worker, name="ci", scope=Scope.READ, workspace_id=1))
    assert caller is not None
    assert revoke_key(worker, caller.id)
    with pytest.raises(InsufficientPrivilege):
        adopted.pipeline.execute("UPDATE publisher.api_key SET scope = 'admin'")


def test_the_worker_records_the_last_use_of_keys(adopted: Adopted) -> None:
    secret = create_key(adopted.owner, name="ci", scope=Scope.READ, workspace_id=1)
    caller = identify(adopted.owner, secret)
    assert caller is not None
    with transaction(adopted.pipeline.engine) as tx:
        api_keys.note_use(tx, {caller.id: 0.0})
    assert list_keys(adopted.owner)[0].last_used_at is not None


@pytest.fixture
def platform_role(adopted: Adopted, running: Engines) -> Generator[psycopg.Connection]:
    """The platform's own session, with the right to enqueue and no other on our schema."""
    adopted.run("enqueue", "publish_migrate")
    adopted.admin.execute("ALTER ROLE django LOGIN")
    url = libpq(running.database_url, adopted.admin.info.dbname)
    with psycopg.connect(url.replace("postgres@", "django@"), autocommit=True) as session:
        yield session


def test_the_platforms_role_enqueues_in_its_transaction(
    adopted: Adopted, platform_role: psycopg.Connection
) -> None:
    platform_role.execute(BLOCKS["psql"])  # pyright: ignore[reportArgumentType, reportCallIssue]
    announce(adopted.pipeline.engine, lambda _: None)
    [event] = adopted.pipeline.events()
    assert (event["type"], event["subject"]) == ("video.publish_scheduled", "1")
    assert event["data"]["asked_for"] == "2099-12-01T17:00:00Z"
    keys = adopted.rows("SELECT scope, key FROM publisher.idempotency_key")
    assert keys == [("sql:django", "premiere-of-1")]


def test_a_trigger_of_the_platform_enqueues(
    adopted: Adopted, platform_role: psycopg.Connection
) -> None:
    platform_role.execute("UPDATE videos_video SET status = 'in_progress' WHERE id = 1")
    platform_role.execute(BLOCKS["publish_completed"])  # pyright: ignore[reportArgumentType, reportCallIssue]
    platform_role.execute("UPDATE videos_video SET status = 'completed' WHERE id = 1")
    adopted.pipeline.run()
    [event] = adopted.pipeline.events()
    assert (event["type"], event["correlationid"]) == ("video.published", "completed-1")


class UnsavedVideo:
    """The page's `video`: the platform's model is not ours to have."""

    pk = 1

    def save(self, update_fields: list[str]) -> None:
        """Save nothing."""


@pytest.mark.slow
def test_django_enqueues_in_its_transaction(
    adopted: Adopted, platform_role: psycopg.Connection
) -> None:
    django = importlib.import_module("django")

    place = platform_role.info
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": place.dbname}
    database |= {"USER": "django", "HOST": place.host, "PORT": str(place.port)}
    importlib.import_module("django.conf").settings.configure(DATABASES={"default": database})
    django.setup()
    page: dict[str, Any] = {}
    exec(PYTHON_BLOCK.findall(PAGE.read_text())[0], page)  # noqa: S102 - the page's example
    model = UnsavedVideo()
    command_id = page["save_and_publish"](model)
    with page["transaction"].atomic():
        page["save_and_publish"](model)
        page["transaction"].set_rollback(True)
    page["connection"].close()
    assert adopted.rows("SELECT id FROM publisher.publish_command") == [(command_id,)]
    adopted.pipeline.run()
    assert adopted.pipeline.command(command_id).state == "published"


def test_the_right_to_enqueue_gives_no_other(platform_role: psycopg.Connection) -> None:
    for statement in (
        "SELECT * FROM publisher.publish_command",
        "INSERT INTO publisher.publish_command DEFAULT VALUES",
        "DELETE FROM publisher.idempotency_key",
        "SELECT publisher.find_workspace(1)",
        "SELECT publisher.new_command_id()",
        "SELECT publisher.prune_audit_log('30 days', 1)",
        "CREATE TABLE publisher.ours (id int)",
    ):
        with pytest.raises(InsufficientPrivilege):
            platform_role.execute(statement)


def test_row_level_security_hides_videos_if_it_is_forced_upon_their_owner(
    adopted: Adopted, platform_role: psycopg.Connection
) -> None:
    adopted.admin.execute("ALTER TABLE videos_video ENABLE ROW LEVEL SECURITY")
    [owned] = adopted.pipeline.states(adopted.pipeline.command(Publisher(platform_role).publish(1)))
    assert owned == "scheduled"

    adopted.admin.execute("""
    ALTER TABLE videos_video FORCE ROW LEVEL SECURITY;
    CREATE POLICY of_workspace ON videos_video
    USING (workspace_id = current_setting('app.workspace', true)::bigint);
    """)
    platform_role.execute("SET app.workspace = 99")
    with pytest.raises(UnknownVideo):
        Publisher(platform_role).publish(1)
    platform_role.execute("SET app.workspace = 1")
    Publisher(platform_role).publish(1)
    platform_role.execute("SET row_security = off")
    with pytest.raises(AccessRefused, match="row-level security"):
        Publisher(platform_role).publish(1)


def test_without_the_grant_no_role_enqueues(adopted: Adopted) -> None:
    with pytest.raises(InsufficientPrivilege, match="enqueue_publish"):
        adopted.pipeline.execute("SELECT publisher.enqueue_publish(1)")


def test_the_api_and_the_webhooks_need_no_further_right(adopted: Adopted, redis_url: str) -> None:
    key = create_key(adopted.owner, name="app", scope=Scope.ADMIN, workspace_id=1)
    pipeline = adopted.pipeline
    with serving(pipeline.engine, pipeline.redis, redis_url) as api:
        answers = [
            api.post("/videos/1/publish/", key, headers={"Idempotency-Key": "once"}),
            api.get("/videos/1/", key),
            api.get("/videos/1/publish/", key),
            api.get("/publish-commands", key),
            api.post("/webhook-endpoints", key, json={"url": "https://hooks.example.com/"}),
            api.get("/webhook-endpoints", key),
            api.get("/events", key),
            api.get("/punctuality", key),
        ]
        assert [answer.status_code for answer in answers] == [
            202,
            200,
            200,
            200,
            201,
            200,
            200,
            200,
        ]
        pipeline.run()
        fan_out(pipeline.engine)
        assert [event["type"] for event in pipeline.events()] == ["video.published"]


def test_health_and_maintenance_need_no_further_right(
    adopted: Adopted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.operations.health.ANSWER_SECONDS", PATIENCE)
    pipeline = adopted.pipeline
    pipeline.publish(1)
    pipeline.events()
    broker = f"redis://{pipeline.redis.connection_pool.connection_kwargs['host']}"
    checks = {check.name: check for check in examine(pipeline.engine, pipeline.redis, broker)}
    assert checks["database"].ok, checks
    assert checks["stream"].ok, checks
    assert prune(pipeline.engine, pipeline.redis, Settings()).outbox == 0


def test_the_views_have_every_column_that_is_read_in_a_type_that_fits(
    adopted: Adopted, engine: Engine
) -> None:
    query = """
    SELECT table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema = %s AND table_name <> ALL(%s)
    """
    with transaction(engine) as tx:
        ours = tx.execute(query, ("public", [])).fetchall()
    theirs = adopted.rows(query, "publish_platform", [])

    def plain(rows: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
        return {(table, column, SAME_TO_US.get(kind, kind)) for table, column, kind in rows}

    declared = {row for row in plain(ours) if row[:2] not in NOT_READ}
    assert {table for table, *_ in declared} == Platform.metadata.tables.keys()
    assert plain(theirs) == declared


def test_tables_that_bear_our_names_need_the_rights_alone(
    running: Engines, platform: Engine, redis: Redis
) -> None:
    """The page says: then with `public` for `publish_platform`, and no views."""
    owner = Pipeline(engine=platform, redis=redis)
    video = owner.video()
    with psycopg.connect(libpq(running.database_url, "postgres"), autocommit=True) as admin:
        _forget_roles(admin)
        admin.execute("CREATE ROLE publish_worker LOGIN; CREATE ROLE publish_migrate LOGIN")
    owner.execute(BLOCKS["rights"].replace("publish_platform", "public"))
    owner.execute("GRANT USAGE ON SCHEMA publisher TO publish_worker")
    owner.execute("GRANT ALL ON ALL TABLES IN SCHEMA publisher TO publish_worker")
    engine = connect(str(platform.url).replace("postgres@", "publish_worker@"))
    try:
        [command] = Pipeline(engine=engine, redis=redis).publish(
            edits(video, title="One", tags=[3])
        )
        assert command.state == "published"
    finally:
        engine.dispose()
        owner.execute("DROP OWNED BY publish_worker, publish_migrate")
        owner.execute("DROP ROLE publish_worker, publish_migrate")
