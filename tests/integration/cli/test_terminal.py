"""The command line on a real terminal: what it shows, and that no text of others steers it."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.session import transaction
from db.webhooks.fan_out import fan_out
from schemas.values.caller import Scope
from schemas.values.process import ProcessRole
from tests.support.command_line import find_commands
from tests.support.heartbeats import report
from tests.support.pipeline import Pipeline
from tests.support.terminal import Terminal, find_steering, open_terminal
from tests.support.valkey import Valkey
from tests.support.waiting import wait_until
from worker.operations.api_keys import create_key
from worker.operations.console_sessions import create_session
from worker.subscribe import Subscriber
from worker.webhooks.signing import new_secret

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj.exe\u2066\r\x85[red]"
STARTS_SERVERS = {("demo",), ("migrate",), ("up",)}
SHOWS_NO_TEXT_OF_OTHERS = {
    ("config",),
    ("doctor",),
    ("env",),
    ("commands", "recompute"),
    ("commands", "retry"),
    ("events", "dead", "redrive"),
    ("events", "rebuild"),
    ("keys", "revoke"),
    ("plan",),
    ("punctuality",),
    ("sessions", "end"),
    ("webhooks", "create"),
    ("webhooks", "delete"),
    ("webhooks", "replay"),
    ("webhooks", "rotate"),
}
"""They print ids, numbers and their own words."""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    with open_terminal(monkeypatch) as opened:
        yield opened


def make_hostile(here: Pipeline, redis_url: str) -> dict[str, str]:
    """Everything that others can write has hostile text; return the ids that commands need."""
    video = here.video(title=HOSTILE, description=HOSTILE)
    here.publish(video, correlation_id="c\x1b[2J")
    with Subscriber(redis_url, group="search", max_tries=1) as subscriber:
        here.events()
        subscriber_of = iter(subscriber)
        next(subscriber_of).fail(ValueError(HOSTILE))
    endpoint = uuid4()
    here.execute(
        "INSERT INTO publisher.webhook_endpoint (id, workspace_id, url, description, secret)"
        " VALUES (%s, 1, 'https://127.0.0.1:1/', %s, %s)",
        endpoint,
        HOSTILE,
        new_secret(),
    )
    with transaction(here.engine) as tx:
        fan_out(tx, 1000)
    failed = here.accept(here.video(title=HOSTILE)).commands[0].id
    here.execute(
        "UPDATE publisher.publish_command SET state = 'failed', finished_at = now(),"
        " reason = %s, detail = %s WHERE id = %s",
        HOSTILE,
        HOSTILE,
        failed,
    )
    open_id = here.accept(here.video(), correlation_id="c\x1b[2J").commands[0].id
    delivery = uuid4()
    here.execute(
        "INSERT INTO publisher.webhook_delivery"
        " (id, endpoint_id, position, event_id, event_type, video_id, state, finished_at)"
        " VALUES (%s, %s, 1, gen_random_uuid(), 'video.published', 1, 'failed', now())",
        delivery,
        endpoint,
    )
    here.execute(
        "INSERT INTO publisher.webhook_attempt"
        " (id, delivery_id, started_at, duration_ms, error, answer)"
        " VALUES (gen_random_uuid(), %s, now(), 1, %s, %s)",
        delivery,
        HOSTILE,
        HOSTILE,
    )
    secret = create_key(here.engine, name="ci", scope=Scope.READ, workspace_id=1)
    here.execute("UPDATE publisher.api_key SET name = %s", HOSTILE)
    create_session(here.engine, secret, user_agent=HOSTILE, client=None, correlation_id="c-1")
    report(here.engine, ProcessRole.WORKER, name=HOSTILE, queues=[HOSTILE])
    return {
        "video": str(video),
        "failed": str(failed),
        "open": str(open_id),
        "endpoint": str(endpoint),
        "delivery": str(delivery),
    }


@pytest.mark.slow
def test_no_text_of_others_steers_the_terminal(
    here: Pipeline, redis_url: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command that prints text of others, as a table and as JSON."""
    monkeypatch.setenv("LOGNAME", HOSTILE)  # the operator's name in the audit log
    ids = make_hostile(here, redis_url)
    shown: dict[str, list[str]] = {
        "commands list": [],
        "commands causes": [],
        "commands show": [ids["failed"]],
        "commands reschedule": [ids["open"], "--publish-at", "2100-01-01T00:00:00Z"],
        "commands cancel": [ids["open"]],
        "enqueue": [ids["video"], "--wait", "0"],
        "unpublish": [ids["video"], "--wait", "0"],
        "events dead list": ["--group", "search"],
        "events tail": ["--from", "1"],
        "keys create": ["--workspace", "1", "--scope", "read", "--name", HOSTILE],
        "keys list": [],
        "sessions list": [],
        "status": [],
        "videos list": [],
        "videos show": [ids["video"]],
        "videos story": [ids["video"]],
        "webhooks list": [],
        "webhooks show": [ids["endpoint"]],
        "webhooks update": [ids["endpoint"], "--description", HOSTILE],
        "webhooks test": [ids["endpoint"]],
        "webhooks deliveries": [ids["endpoint"], ids["delivery"]],
        "audit": [],
    }
    harmless: set[str] = set()
    for command, arguments in shown.items():
        for as_json in ([], ["--json"]):
            if command == "events tail":
                terminal.press_ctrl_c_after("gpj.exe")
            terminal.run(*command.split(), *arguments, *as_json)
            assert find_steering(terminal.plain) == set(), (command, terminal.text)
            if "\\u001b" in terminal.plain:
                harmless.add(command)
    without_hostile_text = {"unpublish", "enqueue", "webhooks test", "commands cancel"}
    assert shown.keys() - harmless <= without_hostile_text | {"commands reschedule"}
    known = {tuple(command.split()) for command in shown}
    every = {path for path, each in find_commands().items() if not hasattr(each, "commands")}
    assert every - known == STARTS_SERVERS | SHOWS_NO_TEXT_OF_OTHERS


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "arguments",
    [
        ("commands", "show", HOSTILE),
        ("webhooks", "update", str(UUID(int=0)), "--all-event-types", "--event-type", HOSTILE),
        ("events", "dead", "list", "--group", HOSTILE),
        (HOSTILE,),
        ("enqueue", "7", "--edits-file", HOSTILE),
    ],
)
def test_no_argument_steers_the_terminal(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    terminal.run(*arguments)
    assert "gpj.exe" in terminal.plain
    assert find_steering(terminal.plain) == set()


def test_a_narrow_terminal_has_short_ids_that_commands_accept(
    here: Pipeline, terminal: Terminal
) -> None:
    command = here.accept(here.video()).commands[0]
    assert terminal.run("commands", "list") == 0
    short = terminal.plain.splitlines()[1].split()[0]
    assert (len(short), short[:8], short[-8:]) == (18, command.id.hex[:8], command.id.hex[-8:])
    assert terminal.run("commands", "show", short, "--json") == 0
    assert json.loads(terminal.plain)["id"] == str(command.id)
    terminal.columns = 200
    terminal.run("commands", "list")
    assert str(command.id) in terminal.plain


def test_times_in_tables_have_their_offset(here: Pipeline, terminal: Terminal) -> None:
    here.accept(here.video())
    due = here.value("SELECT due_at FROM publisher.publish_command")
    terminal.run("commands", "list")
    assert due.astimezone().isoformat(" ", "seconds").replace("+00:00", "Z") in terminal.plain


def test_watch_shows_the_state_in_place_until_ctrl_c(here: Pipeline, terminal: Terminal) -> None:
    here.publish(here.video())
    terminal.press_ctrl_c_after("published  1")
    assert terminal.run("status", "--watch", "0.1") == 0
    assert "\x1b[?1049h" in terminal.text
    left = terminal.text.rpartition("\x1b[?1049l")[2]
    assert "published" in left, "the last state stays on the terminal"
    assert "Traceback" not in terminal.text


def _find(documents: str, key: str) -> list[Any]:
    return [json.loads(line)[key] for line in documents.splitlines()]


def test_a_progress_bar_is_shown_and_taken_away(
    here: Pipeline, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.cli.enqueue_pages.MAX_COMMANDS", 2)
    videos = [str(here.video()) for _ in range(5)]
    assert terminal.run("enqueue", *videos, "--json") == 0
    assert "Accepting" in terminal.text
    documents = [line for line in terminal.plain.splitlines() if line.startswith("{")]
    assert [str(each) for each in _find("\n".join(documents), "video_id")] == videos
    assert {UUID(each) for each in _find("\n".join(documents), "id")}


@pytest.mark.processes
@pytest.mark.slow
def test_watch_goes_on_when_redis_comes_back(
    here: Pipeline, terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here
    valkey = Valkey(tmp_path)
    monkeypatch.setenv("REDIS_URL", valkey.url)

    def end_and_start() -> None:
        try:
            wait_until(lambda: list_redis(terminal)[-1:] == [True], "a first look")
            valkey.kill()
            wait_until(lambda: list_redis(terminal)[-1:] == [False], "the outage")
            valkey.start()
            wait_until(lambda: list_redis(terminal)[-1:] == [True], "the end of the outage")
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    try:
        with ThreadPoolExecutor(1) as pool:
            steps = pool.submit(end_and_start)
            assert terminal.run("status", "--watch", "0.1", "--json") == 0
            steps.result()
    finally:
        valkey.kill()


def list_redis(terminal: Terminal) -> list[bool]:
    """Whether Redis worked, in each document that was printed."""
    lines = terminal.plain.splitlines(keepends=True)
    documents = [json.loads(line) for line in lines if line.endswith("}\n")]
    checks = [check for each in documents for check in each["checks"]]
    return [check["ok"] for check in checks if check["name"] == "redis"]
