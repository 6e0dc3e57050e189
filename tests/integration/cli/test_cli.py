"""The command line on real engines: what it prints, what it refuses, how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from enum import StrEnum
from io import BytesIO, TextIOWrapper
from itertools import islice
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from celery.__main__ import main as celery_main
from psycopg import sql

from publish_worker_client.events.names import Action
from schemas.command import CommandState
from schemas.values.caller import Scope
from schemas.values.process import ProcessRole
from schemas.webhook import DeliveryState
from tests.support.clones import libpq, named
from tests.support.command_line import Done, Run
from tests.support.forked import Forked
from tests.support.heartbeats import report
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.platform import column
from tests.support.waiting import PATIENCE, wait_until
from worker import cli
from worker.local.engines import Engines
from worker.local.served_url import served_url
from worker.operations import api_keys, health
from worker.subscribe import Subscriber

ROOT = Path(__file__).parents[3]
NOBODY_LISTENS = "127.0.0.1:1"


@pytest.fixture
def empty_database_url(running: Engines) -> Generator[str]:
    """A database with nothing in it."""
    name = sql.Identifier("test_cli_empty")
    with psycopg.connect(libpq(running.database_url, "postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield named(running.database_url, "test_cli_empty")
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("up",),
        ("demo",),
        ("migrate",),
        ("enqueue",),
        ("plan",),
        ("videos", "list"),
        ("videos", "show"),
        ("videos", "story"),
        ("status",),
        ("commands", "list"),
        ("commands", "show"),
        ("commands", "cancel"),
        ("commands", "reschedule"),
        ("commands", "retry"),
        ("events", "tail"),
        ("events", "rebuild"),
        ("keys", "create"),
        ("keys", "list"),
        ("keys", "revoke"),
        ("sessions", "list"),
        ("sessions", "end"),
    ],
)
def test_every_command_has_a_help_text(run: Run, command: tuple[str, ...]) -> None:
    done = run(*command, "--help")
    assert done.code == 0
    assert "Usage: " in done.out


def test_a_command_that_does_not_exist_is_a_usage_error(run: Run) -> None:
    assert run("pubish").code == 2


# --- an error is one line on stderr --------------------------------------------------------------

NEEDS_A_DATABASE = [("commands", "list"), ("enqueue", "1"), ("keys", "list"), ("events", "tail")]


@pytest.mark.parametrize("command", NEEDS_A_DATABASE)
def test_an_unreachable_database_is_one_line_and_exit_code_1(
    run: Run, redis_url: str, command: tuple[str, ...]
) -> None:
    url = f"postgresql://me:secret@{NOBODY_LISTENS}/videos"
    done = run(*command, DATABASE_URL=url, REDIS_URL=redis_url)
    assert done.code == 1
    assert "Connection refused" in done.complaint
    assert "DATABASE_URL" in done.complaint


@pytest.mark.parametrize("command", NEEDS_A_DATABASE)
def test_a_database_without_migrations_is_refused(
    run: Run, empty_database_url: str, redis_url: str, command: tuple[str, ...]
) -> None:
    done = run(*command, DATABASE_URL=empty_database_url, REDIS_URL=redis_url)
    assert done.code == 1
    assert "publish-worker migrate" in done.complaint


@pytest.mark.parametrize(
    "command",
    ["enqueue 7", "keys create --name n --scope read --all-workspaces", "commands retry --all"],
)
def test_a_read_only_database_is_one_line_and_exit_code_1(
    run: Run, here: Pipeline, command: str
) -> None:
    here.video(id=7)
    name = here.value("SELECT quote_ident(current_database())")
    here.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    done = run(*command.split())
    assert done.code == 1
    assert "read-only. It is a standby" in done.complaint


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("command", ["commands list", "status", "--help", "commands list --json"])
def test_what_an_encoding_lacks_is_escaped(
    run: Run, here: Pipeline, monkeypatch: pytest.MonkeyPatch, encoding: str, command: str
) -> None:
    here.accept(here.video())
    out = TextIOWrapper(BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", out)
    done = run(*command.split())
    assert "Traceback" not in done.err
    out.flush()
    assert out.buffer.tell() > 0


def test_a_closed_stdout_is_refused_before_anything_is_done(
    run: Run, here: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    done = run("keys", "create", "--name", "n", "--scope", "read", "--all-workspaces")
    assert done.code == 1
    assert "stdout: It is closed" in done.complaint
    assert api_keys.list_keys(here.engine) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line_and_exit_code_1(
    run: Run, here: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.accept(here.video())
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        done = run("commands", "list", "--json")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    assert done.code == 1
    assert "stdout: No space left on device" in done.complaint


@pytest.mark.processes
@pytest.mark.parametrize(
    ("redirection", "error"),
    [("> /dev/full", "publish-worker: stdout: No space left on device\n"), ("2>&-", "")],
)
def test_the_end_of_a_process_adds_nothing_to_its_error(redirection: str, error: str) -> None:
    code = "from worker.cli import main; main(['status', '--help'])"
    command = f'"{sys.executable}" -c "{code}" {redirection}'
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1 if error else 0, error)


def test_a_reader_that_ends_early_is_exit_code_141_without_a_word(
    run: Run, here: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.accept(here.video())
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w")
    monkeypatch.setattr("sys.stdout", pipe)
    done = run("commands", "list", "--json")
    monkeypatch.undo()
    with suppress(BrokenPipeError):
        pipe.close()
    assert (done.code, done.err) == (141, "")


def test_migrate_does_not_advise_to_migrate(run: Run, empty_database_url: str) -> None:
    assert run("migrate", "--with-platform", DATABASE_URL=empty_database_url).code == 0
    with psycopg.connect(libpq(empty_database_url, "test_cli_empty"), autocommit=True) as database:
        database.execute("DROP TABLE video CASCADE")
    done = run("migrate", "--with-platform", "--sample")
    assert done.code == 1
    assert 'relation "video" does not exist' in done.complaint
    assert "publish-worker migrate" not in done.complaint


def test_a_database_of_another_version_is_refused_and_kept(
    run: Run, pipeline: Pipeline, database_url: str
) -> None:
    pipeline.execute(
        "UPDATE publisher.alembic_version SET version_num = 'publisher_9999'"
        " WHERE version_num LIKE 'publisher%'"
    )
    done = run("migrate", DATABASE_URL=database_url)
    assert done.code == 1
    assert "another version" in done.complaint
    assert ("publisher_9999",) in pipeline.rows("SELECT version_num FROM publisher.alembic_version")


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://me:secret@db/videos", "postgresql://me:secret@db:port/videos"]
)
def test_a_database_url_that_is_not_valid_is_refused(run: Run, redis_url: str, url: str) -> None:
    done = run("migrate", DATABASE_URL=url, REDIS_URL=redis_url)
    assert done.code == 1
    assert "DATABASE_URL" in done.complaint


@pytest.mark.usefixtures("here")
def test_a_missing_option_is_one_line_without_escapes(run: Run) -> None:
    done = run("keys", "create", "--name", "nightly")
    assert done.code == 2
    assert "Choose from: events, read, publish, admin (see" in done.complaint


@pytest.mark.usefixtures("here")
def test_a_setting_that_is_not_valid_is_refused(run: Run) -> None:
    done = run("status", OUTLETS="kafka")
    assert done.code == 1
    assert "OUTLETS" in done.complaint


def test_without_settings_and_engines_the_error_names_up(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    done = run("status")
    assert done.code == 1
    assert "publish-worker up" in done.complaint


@pytest.mark.parametrize(
    ("given", "missing"), [("DATABASE_URL", "REDIS_URL"), ("REDIS_URL", "DATABASE_URL")]
)
def test_one_url_alone_says_that_the_engines_of_up_are_not_used(
    run: Run,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    missing: str,
) -> None:
    monkeypatch.delenv(missing, raising=False)
    urls = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    done = run("status", **{given: urls[given]})
    assert done.code == 1
    assert f"{missing} is not set" in done.complaint
    assert f"because {given} is set" in done.complaint


def test_the_demo_without_its_extra_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.startswith("worker.local.demo")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "httpx", None)
    done = run("demo")
    assert done.code == 1
    assert "publish-worker[embedded]" in done.complaint


@pytest.mark.usefixtures("here")
def test_without_urls_a_command_uses_the_engines_of_up_and_says_so(
    run: Run, database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def find(home: Path) -> Engines:
        asked.append(home)
        return Engines(database_url=database_url, redis_url=redis_url)

    monkeypatch.setattr("worker.cli.connect.find_running", find)
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name)
    done = run("keys", "list", DATA_DIR=str(tmp_path))
    assert done.code == 0
    assert asked == [tmp_path]
    assert done.err == f"Using the engines of `publish-worker up` in {tmp_path}.\n"


@pytest.fixture
def served(
    here: Pipeline,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Generator[Pipeline]:
    """A `publish-worker up` on port 8123, and a terminal in its folder without settings."""
    engines = Engines(database_url=database_url, redis_url=redis_url)

    def find(_: Path) -> Engines:
        return engines

    monkeypatch.setattr("worker.cli.connect.find_running", find)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for name in ("DATABASE_URL", "REDIS_URL", "PUBLIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with served_url(tmp_path, "http://localhost:8123"):
        yield here


def test_beside_up_on_another_port_a_command_prints_links_to_that_port(
    run: Run, served: Pipeline
) -> None:
    video = str(served.video())
    command = json.loads(run("enqueue", video, "--json").out)
    assert command["url"].startswith("http://localhost:8123/api/v1/")
    for words in (("commands", "show", command["id"]), ("commands", "list")):
        assert json.loads(run(*words, "--json").out)["url"] == command["url"]
    assert json.loads(run("plan", video, "--json").out)["url"].startswith("http://localhost:8123/")


@pytest.mark.usefixtures("served")
def test_beside_up_on_another_port_env_exports_its_url_unless_the_terminal_has_one(
    run: Run,
) -> None:
    assert "export PUBLIC_BASE_URL=http://localhost:8123\n" in run("env").out
    own = run("env", PUBLIC_BASE_URL="https://videos.example").out
    assert "export PUBLIC_BASE_URL=https://videos.example\n" in own


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("unset", ["REDIS_URL", None])
def test_with_a_database_url_a_command_does_not_look_for_engines(
    run: Run, monkeypatch: pytest.MonkeyPatch, unset: str | None
) -> None:
    def refuse(_: Path) -> None:
        pytest.fail("the command looked for engines")

    monkeypatch.setattr("worker.cli.connect.find_running", refuse)
    if unset is not None:
        monkeypatch.delenv(unset)
    done = run("keys", "list")
    assert (done.code, done.err) == (0, "")


@pytest.mark.usefixtures("here")
def test_an_unreachable_redis_is_one_line_and_exit_code_1(run: Run) -> None:
    done = run("events", "tail", REDIS_URL=f"redis://:secret@{NOBODY_LISTENS}/0")
    assert done.code == 1
    assert "REDIS_URL" in done.complaint


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("redsi://:secret@localhost/0", "Kombu has no transport 'redsi'"),
        ("zookeeper://localhost", "kazoo library is not installed"),
        ("localhost:6379", "scheme"),
    ],
)
@pytest.mark.parametrize("words", [("enqueue", "VIDEO"), ("commands", "recompute")])
def test_a_broker_url_that_kombu_cannot_use_is_refused_before_anything_is_accepted(
    run: Run, here: Pipeline, words: tuple[str, ...], url: str, wrong: str
) -> None:
    video = str(here.video())
    done = run(*(video if word == "VIDEO" else word for word in words), BROKER_URL=url)
    assert (done.code, done.out) == (1, "")
    assert "BROKER_URL is not valid" in done.complaint
    assert wrong in done.complaint
    assert "It looks like redis://default:password@host:6379/0." in done.complaint
    assert here.value("SELECT count(*) FROM publisher.publish_command") == 0


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("part", ["worker", "beat"])
def test_celery_without_settings_ends_with_one_line(part: str, tmp_path: Path) -> None:
    done = celery(part, DATA_DIR=str(tmp_path))
    assert done.code == 1
    assert "DATABASE_URL is not set" in done.complaint


@pytest.mark.processes
@pytest.mark.parametrize("part", ["worker", "beat"])
@pytest.mark.parametrize("setting", ["OUTLETS", "LOG_LEVEL"])
def test_celery_with_an_invalid_setting_ends_with_one_line(part: str, setting: str) -> None:
    done = celery(part, **{setting: "trace"})
    assert done.code == 1
    assert f"{setting} is not valid" in done.complaint


@pytest.mark.processes
@pytest.mark.parametrize("part", ["worker", "beat"])
def test_celery_does_not_read_the_address_of_a_service_called_api(part: str) -> None:
    done = celery(part, API_PORT="tcp://10.96.41.7:8000", OUTLETS="kafka")
    assert "API_PORT" not in done.complaint


@pytest.mark.processes
def test_a_celery_worker_without_a_database_ends_with_one_line(redis_url: str) -> None:
    url = f"postgresql://me:secret@{NOBODY_LISTENS}/videos"
    done = celery("worker", DATABASE_URL=url, REDIS_URL=redis_url)
    assert done.code == 1
    assert "Connection refused" in done.complaint


@pytest.mark.processes
def test_a_celery_worker_on_a_database_not_migrated_ends_with_one_line(
    empty_database_url: str, redis_url: str
) -> None:
    done = celery("worker", DATABASE_URL=empty_database_url, REDIS_URL=redis_url)
    assert done.code == 1
    assert "publish-worker migrate" in done.complaint


# --- migrate -------------------------------------------------------------------------------------


def test_migrate_creates_the_platforms_tables_only_on_request(
    run: Run, empty_database_url: str
) -> None:
    assert run("migrate", DATABASE_URL=empty_database_url).code == 0
    assert run("keys", "list", REDIS_URL="redis://unused").code == 0
    done = run("enqueue", "1")
    assert done.code == 1
    assert "--with-platform" in done.complaint
    assert run("migrate", "--with-platform").code == 0
    assert "There is no video 1." in run("enqueue", "1").complaint


def test_migrate_keeps_tables_that_it_has_not_recorded(run: Run, here: Pipeline) -> None:
    here.execute("DELETE FROM publisher.alembic_version")
    done = run("migrate", "--with-platform")
    assert done.code == 1
    assert "Nothing was changed" in done.complaint
    assert "drop" not in done.complaint
    assert here.rows("SELECT FROM publisher.alembic_version") == []


# --- enqueue -------------------------------------------------------------------------------------


def test_enqueue_accepts_videos_and_wakes_celery(run: Run, here: Pipeline) -> None:
    videos = [here.video(), here.video()]
    done = run("enqueue", *map(str, videos), "--json")
    commands = [json.loads(line) for line in done.out.splitlines()]
    assert (done.code, [command["video_id"] for command in commands]) == (0, videos)
    assert {command["trigger"] for command in commands} == {"cli"}
    assert here.redis.llen("publish-worker:celery:publish") == 1


def test_enqueue_takes_all_or_none(run: Run, here: Pipeline) -> None:
    done = run("enqueue", str(here.video()), "999")
    assert done.code == 1
    assert "There is no video 999." in done.complaint
    assert here.value("SELECT count(*) FROM publisher.publish_command") == 0


def test_enqueue_applies_an_edits_file(run: Run, here: Pipeline, tmp_path: Path) -> None:
    video = here.video()
    edits = tmp_path / "edits.json"
    edits.write_text(json.dumps({"template": {}, "owner": {}, "workspace": 1, "title": "New"}))
    assert run("enqueue", str(video), "--edits-file", str(edits)).code == 0
    here.run()
    assert column(here.engine, video, "title") == "New"


def test_edits_that_are_not_valid_are_refused_field_by_field(
    run: Run, here: Pipeline, tmp_path: Path
) -> None:
    edits = tmp_path / "edits.json"
    edits.write_text(json.dumps({"template": {}, "owner": {}, "workspace": 1, "title": ""}))
    done = run("enqueue", str(here.video()), "--edits-file", str(edits))
    assert done.code == 1
    assert "/title" in done.complaint


def test_enqueue_waits_for_the_outcome(run: Run, here: Pipeline) -> None:
    here.publish(video := here.video())
    with in_the_background(here.run):
        done = run("enqueue", str(video), "--wait", "10")
    assert done.code == 0
    assert "unchanged" in done.out


def test_enqueue_exits_with_1_if_a_video_is_rejected(run: Run, here: Pipeline) -> None:
    video = here.video(status="failed")
    with in_the_background(here.run):
        done = run("enqueue", str(video), "--wait", "10")
    assert done.code == 1
    assert "generation_failed" in done.out


def test_enqueue_exits_with_3_if_the_wait_ends_first(run: Run, here: Pipeline) -> None:
    assert run("enqueue", str(here.video()), "--wait", "0.1").code == 3


@pytest.mark.parametrize("time", ["tomorrow", "2026-12-01T10:00:00"])
def test_publish_before_needs_an_offset(run: Run, here: Pipeline, time: str) -> None:
    assert run("enqueue", str(here.video()), "--publish-before", time).code == 2


@pytest.mark.parametrize(
    ("command", "option", "text"),
    [
        (("enqueue", "1"), "--fold", "2"),
        (("enqueue", "1"), "--time-zone", "Europe/Nowhere"),
        (("commands", "list"), "--video", "0"),
        (("commands", "list"), "--state", "lost"),
        (("commands", "list"), "--limit", "201"),
        (("webhooks", "list"), "--before", "7"),
    ],
)
def test_a_value_that_the_model_refuses_is_a_usage_error_that_names_the_option(
    run: Run, command: tuple[str, ...], option: str, text: str
) -> None:
    done = run(*command, option, text)
    assert done.code == 2
    assert f"Invalid value for '{option}'" in done.err
    assert "Value error" not in done.err


# --- commands ------------------------------------------------------------------------------------


def test_commands_are_listed_newest_first(run: Run, here: Pipeline) -> None:
    first = here.accept(here.video()).commands[0]
    second = here.accept(here.video()).commands[0]
    lines = run("commands", "list", "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [str(second.id), str(first.id)]


def test_commands_are_listed_by_state(run: Run, here: Pipeline) -> None:
    here.publish(here.video())
    waiting = here.video(status="in_progress")
    here.publish(waiting)
    lines = run("commands", "list", "--state", "waiting", "--json").out.splitlines()
    assert [json.loads(line)["video_id"] for line in lines] == [waiting]


def test_a_command_is_shown(run: Run, here: Pipeline) -> None:
    [command] = here.publish(here.video(status="failed"))
    done = run("commands", "show", str(command.id))
    assert done.code == 0
    assert "rejected" in done.out
    assert "generation_failed" in done.out


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("action", ["show", "cancel", "retry"])
def test_an_unknown_command_id_is_refused(run: Run, action: str) -> None:
    done = run("commands", action, str(uuid4()))
    assert done.code == 1
    assert "There is no command" in done.complaint


def test_a_command_is_cancelled(run: Run, here: Pipeline) -> None:
    [command] = here.accept(here.video()).commands
    assert run("commands", "cancel", str(command.id)).code == 0
    assert here.command(command.id).state == "cancelled"
    assert [event["type"] for event in here.events()] == ["video.publish_cancelled"]


def test_a_command_that_has_ended_is_not_cancelled(run: Run, here: Pipeline) -> None:
    [command] = here.publish(here.video())
    done = run("commands", "cancel", str(command.id))
    assert done.code == 1
    assert "'published'" in done.complaint


def test_a_command_is_rescheduled(run: Run, here: Pipeline) -> None:
    [command] = here.publish(here.video(status="in_progress"))
    done = run("commands", "reschedule", str(command.id), "--publish-before", "2099-01-01T00:00Z")
    assert done.code == 0
    latest = here.command(command.id).publish_before
    assert latest is not None
    assert latest.year == 2099


def test_only_a_failed_command_is_retried(run: Run, here: Pipeline) -> None:
    [command] = here.publish(here.video())
    assert run("commands", "retry", str(command.id)).code == 1
    here.execute("UPDATE publisher.publish_command SET state = 'failed'")
    assert run("commands", "retry", str(command.id)).code == 0
    assert here.command(command.id).state == "scheduled"


# --- events --------------------------------------------------------------------------------------


@pytest.mark.processes
def test_tail_follows_from_a_position_until_ctrl_c(here: Pipeline) -> None:
    here.publish(here.video(), here.video(status="failed"))
    here.events()
    with tail("--from", "2", "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["sequence"] == "2"
        here.publish(here.video())
        here.events()
        assert json.loads(process.stdout.readline())["sequence"] == "3"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        # Of a Redis that is late on a busy machine there is a line of the log.
        said = process.stderr.read().splitlines()
        assert [line for line in said if "reachable" not in line] == []


@pytest.mark.slow
@pytest.mark.processes
def test_tail_reports_a_gap_on_stderr(here: Pipeline) -> None:
    here.publish(*(here.video() for _ in range(3)))
    here.events()
    here.redis.xtrim("video.events", minid="3-0", approximate=False)
    with tail("--from", "1") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "positions 1 to 2 are not on the stream" in process.stderr.readline()
        assert "video.published" in process.stdout.readline()


def test_dead_letters_are_listed_and_redriven(run: Run, here: Pipeline, redis_url: str) -> None:
    here.publish(here.video(), here.video())
    here.events()
    with Subscriber(redis_url, group="search", max_tries=1) as subscriber:
        for delivery in islice(subscriber, 2):
            delivery.fail(ValueError("no [such] index"))
    listed = run("events", "dead", "list", "--group", "search")
    assert listed.out.count("ValueError: no [such] index") == 2
    as_json = run("events", "dead", "list", "-g", "search", "--json").out.splitlines()
    assert [json.loads(line)["position"] for line in as_json] == [1, 2]
    assert json.loads(as_json[0])["event"]["type"] == "video.published"
    assert run("events", "dead", "redrive", "-g", "search").code == 2
    assert run("events", "dead", "redrive", "-g", "search", "--position", "7").code == 1
    assert run("events", "dead", "redrive", "-g", "search", "--position", "2").code == 0
    assert "1 events" in run("events", "dead", "redrive", "-g", "search", "--all").err
    assert "no dead letters" in run("events", "dead", "list", "-g", "search").err
    with Subscriber(redis_url, group="search") as subscriber:
        assert [delivery.position for delivery in islice(subscriber, 2)] == [1, 2]


def test_the_error_of_a_dead_letter_cannot_steer_the_terminal(
    run: Run, here: Pipeline, redis_url: str
) -> None:
    here.publish(here.video(title="\x9b2J\u202etitle"))
    here.events()
    with Subscriber(redis_url, group="search", max_tries=1) as subscriber:
        for delivery in islice(subscriber, 1):
            delivery.fail(ValueError("\x1b[2J[/red]\x85"))
    for arguments in ((), ("--json",)):
        printed = run("events", "dead", "list", "-g", "search", *arguments).out
        assert "\\u001b[2J[/red]\\u0085" in printed
        assert not set(printed) & {"\x1b", "\x85", "\x9b", "\u202e"}


def test_rebuild_restores_the_stream_from_the_outbox(run: Run, here: Pipeline) -> None:
    here.publish(here.video())
    before = here.events()
    here.redis.xadd("video.events", {"event": "{}"}, id="99-0")
    assert run("events", "rebuild", PUBLIC_BASE_URL=BASE_URL).code == 0
    assert here.events() == before


# --- keys ----------------------------------------------------------------------------------------


def test_the_secret_is_alone_on_stdout(run: Run, here: Pipeline) -> None:
    done = run("keys", "create", "--workspace", "1", "--scope", "publish", "--name", "ci")
    caller = api_keys.identify(here.engine, done.out.strip())
    assert caller is not None
    assert (caller.scope, caller.workspace_id) == (Scope.PUBLISH, 1)


@pytest.mark.usefixtures("here")
def test_a_key_is_for_one_workspace_or_for_all(run: Run) -> None:
    make = ("keys", "create", "--scope", "read", "--name", "ci")
    assert run(*make).code == 2
    assert run(*make, "--workspace", "1", "--all-workspaces").code == 2
    assert run(*make, "--all-workspaces").code == 0
    assert "no workspace 77" in run(*make, "--workspace", "77").complaint


def test_keys_are_listed_without_their_secrets_and_revoked(run: Run, here: Pipeline) -> None:
    secret = api_keys.create_key(here.engine, name="ci", scope=Scope.READ, workspace_id=None)
    done = run("keys", "list", "--json")
    key = json.loads(done.out)
    assert secret not in done.out
    assert run("keys", "revoke", key["id"]).code == 0
    assert api_keys.identify(here.engine, secret) is None
    assert run("keys", "revoke", key["id"]).code == 1


# --- status --------------------------------------------------------------------------------------


def test_status_counts(run: Run, here: Pipeline) -> None:
    here.publish(here.video(), here.video(status="failed"))
    here.accept(here.video())
    health.Heartbeat(here.waker).leave()
    report(here.engine, ProcessRole.WORKER, queues=["publish", "webhooks"])
    report(here.engine, ProcessRole.BEAT)
    seen = json.loads(run("status", "--json").out)
    assert seen["ready"] is True
    assert seen["commands"] == {"published": 1, "rejected": 1, "scheduled": 1}
    assert (seen["due"], seen["position"], seen["stream_position"]) == (1, 2, 0)
    assert seen["quarantined_messages"] == 0
    assert seen["oldest_due_seconds"] > 0


def test_status_lists_the_processes(run: Run, here: Pipeline) -> None:
    report(here.engine, ProcessRole.WORKER, name="pictures@one", queues=["webhooks"], batch_age=2.0)
    report(here.engine, ProcessRole.WORKER, name="words@two", seconds_ago=20)
    out = run("status").out
    assert re.search(r"pictures@one +worker +webhooks .* \d+ s ago +\d+\.\d s ago +\S+ +1 +1", out)
    assert re.search(r"words@two +worker .* 2\d s ago: gone", out)
    seen = json.loads(run("status", "--json").out)["processes"]
    assert [(each["name"], each["is_alive"]) for each in seen] == [
        ("pictures@one", True),
        ("words@two", False),
    ]


def test_status_says_what_to_do_about_each_failing_check(run: Run, here: Pipeline) -> None:
    report(here.engine, ProcessRole.WORKER, queues=["webhooks"])
    done = run("status")
    assert "✗ queues    No worker serves the queue publish." in done.out
    assert "→ Start a worker: celery -A worker.app worker -Q publish" in done.out


@pytest.mark.parametrize(
    "command", [("migrate",), ("migrate", "--with-platform"), ("keys", "list")]
)
def test_a_wrong_platform_schema_is_called_by_its_name(
    run: Run, here: Pipeline, command: tuple[str, ...]
) -> None:
    here.execute("CREATE SCHEMA studio")
    here.execute("DELETE FROM publisher.alembic_version WHERE version_num LIKE %s", "platform%")
    done = run(*command, PLATFORM_SCHEMA="studio")
    assert "PLATFORM_SCHEMA=studio has no table video; the schema public has one." in done.err
    assert "Set PLATFORM_SCHEMA=public" in done.err
    assert done.code == (0 if command == ("migrate",) else 1)
    assert here.value("SELECT to_regclass('studio.video')::text") is None


@pytest.mark.usefixtures("here")
def test_status_is_unhealthy_without_a_worker(run: Run) -> None:
    done = run("status")
    assert done.code == 1
    assert "worker" in done.complaint
    assert "✓ database" in done.out


def test_status_prints_what_it_knows_while_everything_is_unreachable(run: Run) -> None:
    done = run(
        "status",
        DATABASE_URL=f"postgresql://me:secret@{NOBODY_LISTENS}/videos",
        REDIS_URL=f"redis://:secret@{NOBODY_LISTENS}/0",
    )
    assert done.code == 1
    unhealthy = "database, redis, broker, worker, queues, beat, schedule, inbox, stream"
    assert unhealthy in done.complaint
    assert "unknown" in done.out


@pytest.mark.parametrize("option", [("--cause", "DataError"), ("--per-second", "5")])
def test_options_of_retry_all_are_refused_for_one_command(
    run: Run, option: tuple[str, str]
) -> None:
    done = run("commands", "retry", str(uuid4()), *option)
    assert done.code == 2
    assert "--all" in done.err


# --- tools ---------------------------------------------------------------------------------------


def celery(*arguments: str, **environment: str) -> Done:
    """Run a Celery process that is expected to end by itself."""
    ours = {"DATABASE_URL", "REDIS_URL", "BROKER_URL"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    with tempfile.NamedTemporaryFile() as log:
        process = Forked(
            celery_main,
            ["celery", "-A", "worker.app", *arguments],
            log=Path(log.name),
            environment=inherited | environment,
        )
        code = process.wait(PATIENCE)
        return Done(code, "", log.read().decode())


@contextmanager
def tail(*arguments: str) -> Generator[subprocess.Popen[str]]:
    """`publish-worker events tail` as a process that a terminal's Ctrl-C reaches."""
    code = "from worker.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "events", "tail", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def in_the_background(work: Callable[[], int]) -> Generator[None]:
    """Carry out one command as soon as there is one."""
    thread = threading.Thread(target=lambda: wait_until(work, "a command to carry out"))
    thread.start()
    yield
    thread.join()


# --- options that are fields of a model ----------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("commands list --state", CommandState),
        ("commands list --action", Action),
        ("webhooks deliveries --state", DeliveryState),
    ],
)
def test_a_shell_completes_the_values_of_an_option(
    tmp_path: Path, words: str, kind: type[StrEnum]
) -> None:
    line = f"publish-worker {words} "
    asked = {
        "_PUBLISH_WORKER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split())),
    }
    log = tmp_path / "log"
    process = Forked(cli.main, ["publish-worker"], log=log, environment={**os.environ, **asked})
    process.wait(PATIENCE)
    assert log.read_text().split() == list(kind)


def test_pages_in_due_order_follow_each_other(run: Run, here: Pipeline) -> None:
    times = [f"20{year}-01-01T00:00:00Z" for year in (70, 60, 80, 50)]
    for time in times:
        assert run("enqueue", str(here.video()), "--publish-at", time).code == 0
    seen: list[str] = []
    before: tuple[str, ...] = ()
    while page := run("commands", "list", "--by-due", "--json", "--limit", "1", *before).out:
        command = json.loads(page)
        seen.append(command["due_at"])
        before = ("--before", command["id"])
    assert seen == sorted(times)


def test_a_page_in_due_order_is_found_again_after_its_last_command_was_rescheduled(
    run: Run, here: Pipeline
) -> None:
    for year in (50, 60, 70):
        run("enqueue", str(here.video()), "--publish-at", f"20{year}-01-01T00:00:00Z")
    first = run("commands", "list", "--by-due", "--json", "--limit", "1")
    moved = json.loads(first.out)["id"]
    run("commands", "reschedule", moved, "--publish-at", "2090-01-01T00:00:00Z")
    options = first.err.strip().partition("There are more: ")[2].split()
    rest = run("commands", "list", "--by-due", "--json", *options).out.splitlines()
    years = [json.loads(line)["due_at"][:4] for line in rest]
    assert years == ["2060", "2070", "2090"]


def test_a_due_time_of_a_page_needs_the_order(run: Run) -> None:
    assert run("commands", "list", "--before-due-at", "2050-01-01T00:00:00Z").code == 2
    done = run("commands", "list", "--by-due", "--before", str(uuid4()), "--before-due-at", "soon")
    assert done.code == 2
    assert "Invalid value for '--before-due-at'" in done.complaint


def test_edits_are_read_from_stdin(
    run: Run, here: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    video, edits = here.video(), tmp_path / "edits.json"
    edits.write_text('{"template": {}, "owner": {}, "workspace": 1, "title": "New"}', "utf-8-sig")
    with edits.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert run("enqueue", str(video), "--edits-file", "-").code == 0
        empty = run("enqueue", str(video), "--edits-file", "-")
    here.run()
    assert column(here.engine, video, "title") == "New"
    assert "is not the documented request: /: Invalid JSON" in empty.complaint


def test_a_file_of_edits_that_is_not_there_is_a_usage_error(run: Run, here: Pipeline) -> None:
    done = run("enqueue", str(here.video()), "--edits-file", "/nowhere.json")
    assert done.code == 2
    assert "--edits-file" in done.err


def test_status_shows_the_rest_when_the_revision_cannot_be_read(run: Run, here: Pipeline) -> None:
    here.execute("ALTER TABLE publisher.alembic_version RENAME version_num TO other")
    done = run("status")
    assert done.code == 1
    assert "✗ database" in done.out
    assert "database" in done.complaint


@pytest.mark.parametrize(
    "command",
    [
        "enqueue",
        "unpublish",
        "events tail --from",
        "events dead redrive -g search --position",
        "keys create --name n --scope read --workspace",
        "webhooks create --url https://example.com --workspace",
        f"webhooks replay {UUID(int=0)} --since-position",
    ],
)
def test_a_number_beyond_the_databases_range_is_a_usage_error(run: Run, command: str) -> None:
    refused = run(*command.split(), str(2**63))
    assert refused.code == 2
    assert "9223372036854775807" in refused.complaint
    assert run(*command.split(), "0").code == 2


@pytest.mark.parametrize("command", [("enqueue",), ("keys", "create"), ("events", "tail")])
def test_help_does_not_print_the_databases_bounds(run: Run, command: tuple[str, ...]) -> None:
    assert "9223372036854775807" not in run(*command, "--help").out


def test_a_closed_stdin_is_an_empty_file_of_edits(
    run: Run, here: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    done = run("enqueue", str(here.video()), "--edits-file", "-")
    sys.stdin.close()
    assert done.code == 1
    assert "is not the documented request" in done.complaint


def test_status_says_what_an_unreachable_part_answered(run: Run) -> None:
    url = f"redis://:secret@{NOBODY_LISTENS}/0"
    done = run("status", DATABASE_URL=f"postgresql://me@{NOBODY_LISTENS}/x", REDIS_URL=url)
    [database, redis] = [line for line in done.out.splitlines() if line.startswith("✗")][:2]
    assert "Connection refused" in database
    assert "Connection refused" in redis
    assert "secret" not in done.out
