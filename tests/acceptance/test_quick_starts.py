"""The quick starts of docs/, run as they stand, against one `publish-worker up`."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.free_port import free_port
from tests.support.processes import ROOT
from tests.support.programs import Up
from tests.support.waiting import START_SECONDS, wait_until

SECONDS = START_SECONDS
BLOCK = re.compile(r"^(?:##+ ([^\n]*)|```(sh|python|sql)\n(.*?)^```$)", re.MULTILINE | re.DOTALL)
FIRST = "first steps"
"""The name of what a page has before its sections."""
Blocks = dict[tuple[str, str], str]


def read_blocks(page: str) -> Blocks:
    """A page's code by section and language; without the line that has a person's own key."""
    blocks: Blocks = {}
    section = FIRST
    for heading, language, code in BLOCK.findall((ROOT / page).read_text()):
        section = heading or section
        if language and "pw_…" not in code:
            blocks[section, language] = blocks.get((section, language), "") + code
    return blocks


PIPELINE, SCHEDULER, CONSUMER = (
    read_blocks(f"docs/quick-start-{user}.md") for user in ("pipeline", "scheduler", "consumer")
)
CLIENT = read_blocks("clients/python/README.md")


@dataclass(frozen=True)
class Reader:
    """A person in a terminal of their own, who has followed the first lines of a page."""

    folder: Path
    environment: dict[str, str]

    def run(self, code: str, language: str, **more: str) -> str:
        """Run one block, and return what it printed."""
        done = subprocess.run(
            command(code, language),
            cwd=self.folder,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def running(self, code: str, language: str, **more: str) -> Generator[Callable[[], str]]:
        """Run a block that does not end by itself; gives what it has printed so far."""
        log = self.folder / "log"
        with log.open("wb") as output:
            program = subprocess.Popen(
                command(code, language),
                cwd=self.folder,
                env=self.environment | more,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield log.read_text
        finally:
            program.kill()
            program.wait()


RUN_SQL = """
import os, sys, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    print(connection.execute(sys.argv[1]).fetchall())
"""


def command(code: str, language: str) -> list[str]:
    if language == "sql":
        return [sys.executable, "-c", RUN_SQL, code]
    return [sys.executable, "-c", code] if language == "python" else ["bash", "-euc", code]


@pytest.fixture
def reader(running_up: Up, tmp_path: Path) -> Reader:
    environment = {
        "API": running_up.wait_for(r"API +(http://\S+)/api/v1"),
        "KEY": running_up.wait_for(r"Key +(pw_\S+)"),
        "DATABASE_URL": running_up.wait_for(r"DATABASE_URL='([^']+)'"),
        "REDIS_URL": running_up.wait_for(r"REDIS_URL=(\S+)"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return Reader(tmp_path, environment)


def wait_until_public(reader: Reader, video_id: int) -> None:
    code = f'curl -sS "$API/api/v1/videos/{video_id}/" -H "Authorization: Bearer $KEY"'
    wait_until(
        lambda: not json.loads(reader.run(code, "sh"))["is_draft"], f"video {video_id}", SECONDS
    )


def test_a_pipeline_publishes_by_the_client_in_its_transaction_and_by_sql(reader: Reader) -> None:
    assert reader.run(PIPELINE["Python", "python"], "python") == "published\n"
    reader.run(PIPELINE["Python, in your transaction", "python"], "python")
    reader.run(PIPELINE["SQL", "sql"], "sql")
    wait_until_public(reader, 20)
    wait_until_public(reader, 21)


def test_a_pipeline_publishes_by_curl_by_http_and_by_celery(reader: Reader) -> None:
    video = json.loads(reader.run(PIPELINE[FIRST, "sh"], "sh"))
    assert (video["id"], video["is_draft"]) == (7, False)

    said = reader.run(PIPELINE["Python, over HTTP", "python"], "python")
    assert said.startswith("scheduled http")
    reader.run(PIPELINE["Celery", "python"], "python")
    wait_until_public(reader, 8)
    wait_until_public(reader, 9)


def test_a_scheduler_sees_what_it_has_scheduled(reader: Reader) -> None:
    said = reader.run(SCHEDULER[FIRST, "sh"], "sh")
    accepted, listed = said[: said.index("}") + 1], said[said.index("}") + 1 :]
    assert json.loads(accepted)["publish_at"] == "2030-12-24T16:00:00Z"
    assert 11 in [command["video_id"] for command in json.loads(listed)["commands"]]


def test_a_script_publishes_for_a_time_and_only_what_was_reviewed(reader: Reader) -> None:
    said = reader.run(SCHEDULER["Python", "python"], "python").splitlines()
    assert said[0].startswith("scheduled 2030-06-01 18:00:00+00:00 until http")
    window = ["14 publish 2030-06-01 18:00:00+00:00", "14 unpublish 2030-06-02 16:00:00+00:00"]
    assert [line for line in said if line.startswith("14 ")] == window
    said = reader.run(SCHEDULER["Python, over HTTP", "python"], "python")
    assert said.startswith("scheduled 2030-06-01T18:00:00Z until")
    assert json.loads(reader.run(SCHEDULER["curl", "sh"], "sh"))["is_draft"] is False


@pytest.mark.slow
@pytest.mark.parametrize("page", [PIPELINE, SCHEDULER], ids=["pipeline", "scheduler"])
def test_the_command_lines_work(reader: Reader, page: Blocks) -> None:
    assert reader.run(page["Command line", "sh"], "sh")


def test_a_consumer_reads_what_was_published(reader: Reader) -> None:
    events = json.loads(reader.run(CONSUMER[FIRST, "sh"], "sh"))
    assert [event["subject"] for event in events if event["type"] == "video.published"][-1] == "16"
    assert [event["sequence"] for event in events] == [str(n + 1) for n in range(len(events))]


@pytest.mark.parametrize(
    ("section", "language", "expected"),
    [
        ("SSE with curl", "sh", '"subject": "17"'),
        ("Python", "python", "video.published 17\n"),
        ("Python, over HTTP", "python", "video.published 17\n"),
        ("Python, redis", "python", "video.published 17\n"),
        pytest.param("Command line", "sh", "video.published", marks=pytest.mark.slow),
    ],
)
def test_a_consumer_follows_events(
    reader: Reader, section: str, language: str, expected: str
) -> None:
    reader.run(CONSUMER[FIRST, "sh"].replace("videos/16", "videos/17"), "sh")
    with reader.running(CONSUMER[section, language], language) as said:
        wait_until(lambda: expected in said(), f"{expected} from {section}", SECONDS)


def test_the_page_of_the_client_shows_what_works(reader: Reader) -> None:
    over_http, in_transaction = (
        CLIENT[section, "python"]
        for section in ("Publish over HTTP", "Publish inside your own transaction")
    )
    assert reader.run(over_http, "python") in ("published\n", "unchanged\n")
    reader.run(in_transaction, "python")
    wait_until_public(reader, 8)
    with reader.running(CLIENT["Consume events", "python"], "python") as said:
        wait_until(lambda: "video.published 8\n" in said(), "the event of video 8", SECONDS)
    receiver = CLIENT["Receive webhooks", "python"] + 'print(receive(b"{}", {}, "whsec_AAAA"))'
    assert reader.run(receiver, "python") == "400\n"


def test_a_receiver_of_webhooks_checks_the_signature(reader: Reader) -> None:
    port = str(free_port())
    register = CONSUMER["Webhook", "sh"]
    made = json.loads(reader.run(register, "sh", RECEIVER=f"http://127.0.0.1:{port}/"))
    secret = {"WEBHOOK_SECRET": made["secret"], "PORT": port}
    with reader.running(CONSUMER["Webhook", "python"], "python", **secret) as said:
        reader.run(PIPELINE[FIRST, "sh"].replace("videos/7", "videos/18"), "sh")
        wait_until(lambda: "video.published 18\n" in said(), "the webhook", SECONDS)
