"""Three groups, each event exactly once in effect and each video's in order, whatever happens.

The consumers and the relay are processes; they are killed with SIGKILL, between an effect and its
acknowledgement too, while the stream is emptied, trimmed, rebuilt, and Valkey restarted without
its data. Each event's effect is a row in the consumers' table, stored with its position.
"""

import random
import signal
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.support import consumer, relaying
from tests.support.forked import Forked
from tests.support.pipeline import Pipeline
from tests.support.valkey import Valkey
from tests.support.waiting import PATIENCE, wait_until
from worker.events import redis_stream
from worker.subscribe import Subscriber

EVENTS = 1_500
VIDEOS = 50
BASE_URL = "http://localhost:8000"
CONSUMERS = [
    ("search", "alone"),
    ("search", "alone"),
    ("feeds", "0of2"),
    ("feeds", "1of2"),
    ("mails", "async"),
]
PROGRAMS = {"consumer": consumer.main, "relaying": relaying.main}
GROUPS = ["search", "feeds", "mails"]
# Events of fifty videos in turn, as the outbox has them, straight into it.
RECORD = """
WITH counter AS (
    UPDATE publisher.event_position SET position = position + %(count)s RETURNING position
)
INSERT INTO publisher.outbox_event
    (position, id, type, video_id, subject, workspace_id, occurred_at, correlation_id, data)
SELECT counter.position - %(count)s + nth, gen_random_uuid(), 'video.published', 1 + nth %% 50,
       (1 + nth %% 50)::text, 1, now(), 'c', '{}'
FROM counter, generate_series(1, %(count)s) AS nth
"""
TABLES = """
CREATE TABLE subscriber_position (
    group_name text, position bigint, handled_at timestamptz DEFAULT now(),
    PRIMARY KEY (group_name, position)
);
CREATE TABLE effect (
    nth bigint GENERATED ALWAYS AS IDENTITY, group_name text, position bigint, subject text
);
"""


class Programs:
    """The consumers and the relay; killed ones are started again."""

    def __init__(self, folder: Path, pipeline: Pipeline, valkey: Valkey, database_url: str) -> None:
        self.folder = folder
        self.pipeline = pipeline
        self.valkey = valkey
        self.database_url = database_url
        self.processes: dict[tuple[str, ...], Forked] = {}
        for index, (group, kind) in enumerate(CONSUMERS):
            self.start("consumer", group, kind, str(index))
        self.start("relaying")

    def start(self, *role: str) -> None:
        name, *part = role
        arguments = [self.valkey.url, self.database_url]
        if part:
            own = self.database_url.replace("+psycopg", "")
            arguments += [own, part[0], part[1], str(self.folder)]
        log = self.folder / ("-".join(role) + ".log")
        self.processes[role] = Forked(PROGRAMS[name], [name, *arguments], log=log)

    def restart_killed(self) -> None:
        """Start killed consumers again; one that ended otherwise is a failure."""
        for role, process in list(self.processes.items()):
            code = process.poll()
            if code is not None:
                log = self.folder / ("-".join(role) + ".log")
                assert code == -signal.SIGKILL, (role, code, log.read_text()[-3_000:])
                self.start(*role)

    def kill(self, chance: random.Random) -> None:
        process = self.processes[chance.choice(list(self.processes))]
        process.kill()
        process.wait()

    def count_effects(self, group: str) -> int:
        self.restart_killed()
        return self.pipeline.value("SELECT count(*) FROM effect WHERE group_name = %s", group)

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def programs(
    tmp_path: Path, pipeline: Pipeline, valkey: Valkey, database_url: str
) -> Generator[Programs]:
    """Five consumers of three groups, and a relay."""
    pipeline.execute(TABLES)
    started = Programs(tmp_path, pipeline, valkey, database_url)
    yield started
    started.end()


def record(pipeline: Pipeline, count: int) -> None:
    pipeline.execute(RECORD.replace("%(count)s", str(count)).replace("%%", "%"))


def emptied(programs: Programs) -> None:
    programs.valkey.client.flushall()


def trimmed(programs: Programs) -> None:
    programs.valkey.client.xtrim("video.events", maxlen=0, approximate=False)


def holed(programs: Programs) -> None:
    tip = redis_stream.read_stream_end(programs.valkey.client).position
    programs.valkey.client.xdel("video.events", *(f"{tip - n}-0" for n in range(0, 200, 7)))


def rebuilt(programs: Programs) -> None:
    redis_stream.rebuild(programs.pipeline.engine, programs.valkey.client, BASE_URL)


def restarted(programs: Programs) -> None:
    programs.valkey.kill()
    programs.valkey.start()


def nothing(_: Programs) -> None:
    """Only the killing."""


@pytest.mark.parametrize(
    "disturb",
    [
        nothing,
        *(
            pytest.param(each, marks=pytest.mark.slow)
            for each in (emptied, trimmed, holed, rebuilt, restarted)
        ),
    ],
)
def test_every_group_has_every_effect_once_and_each_videos_in_order(
    pipeline: Pipeline, programs: Programs, disturb: Callable[[Programs], None]
) -> None:
    chance = random.Random()  # noqa: S311 - which process is killed is not a secret
    for group in GROUPS:
        for position in chance.sample(range(1, EVENTS), 4):
            (programs.folder / f"{group}-{position}").touch()
    for share in (1, 2, 3):
        record(pipeline, EVENTS // 3)
        reached = EVENTS // 3 * share - chance.randrange(EVENTS // 4)
        wait_until(
            lambda at=reached: programs.count_effects("search") >= at, f"{reached} effects", 90
        )
        with suppress(ResponseError):
            disturb(programs)
        for _ in range(3):
            programs.kill(chance)
            programs.restart_killed()
    for group in GROUPS:
        wait_until(
            lambda name=group: programs.count_effects(name) >= EVENTS, f"all effects of {group}", 90
        )
    assert_each_once_in_order(pipeline)


def assert_each_once_in_order(pipeline: Pipeline) -> None:
    for group in GROUPS:
        query = "SELECT position, subject FROM effect WHERE group_name = %s ORDER BY nth"
        effects = pipeline.rows(query, group)
        assert sorted(position for position, _ in effects) == list(range(1, EVENTS + 1))
        of_video: dict[Any, list[int]] = defaultdict(list)
        for position, subject in effects:
            of_video[subject].append(position)
        assert len(of_video) == VIDEOS
        assert all(positions == sorted(positions) for positions in of_video.values())


def test_sigterm_ends_a_consumer_after_its_current_event(
    pipeline: Pipeline, programs: Programs
) -> None:
    record(pipeline, 100)
    for group in GROUPS:
        wait_until(
            lambda name=group: programs.count_effects(name) == 100, f"all effects of {group}"
        )
    consumers = [process for role, process in programs.processes.items() if role[0] == "consumer"]
    for process in consumers:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(PATIENCE) for process in consumers] == [0] * len(consumers)
    with Subscriber(programs.valkey.url, group="search") as successor:
        record(pipeline, 1)
        assert next(successor).position == 101
