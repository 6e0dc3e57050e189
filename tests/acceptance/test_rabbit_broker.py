"""RabbitMQ as the broker of the Celery messages (`BROKER_URL`)."""

import json
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from struct import pack
from typing import Any
from uuid import uuid4

import amqp
import psutil
import pytest
from kombu import Connection, Producer

from db.session import lift_limits, transaction
from publish_worker_client.events.names import Trigger
from schemas.command import PublishRequest
from tests.support.messages import COMPRESSED, nest
from tests.support.pipeline import Pipeline
from tests.support.processes import Celeries, celeries, count_published
from tests.support.rabbit import EPMD, SERVER, Rabbit, temporary_rabbit
from tests.support.waiting import wait_until
from worker.app.beat import MANY
from worker.enqueue.accept import Origin, enqueue
from worker.operations.health import examine
from worker.runtime.runtime import Runtime
from worker.runtime.settings import Settings

pytestmark = pytest.mark.skipif(
    SERVER is None or EPMD is None,
    reason="rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)",
)
BODY: Any = [[], {"video_id": 999_999}, {}]
TEST = "a test"
"""The application that `send` names. Wake-ups have none; the end of a worker may give one back."""
NESTED = f"[[], {'[' * 500}{']' * 500}, {{}}]"


@pytest.fixture(scope="module")
def node(spare: list[str]) -> Generator[Rabbit]:
    """A node with a virtual host, and a user of the same name, for each test."""
    rights = dict.fromkeys(("configure", "write", "read"), ".*")
    with temporary_rabbit() as started:
        started.define(
            vhosts=[{"name": name} for name in spare],
            users=[{"name": name, "password": "right", "tags": ""} for name in spare],
            permissions=[{"user": name, "vhost": name, **rights} for name in spare],
        )
        yield started


@pytest.fixture(scope="module")
def spare(request: pytest.FixtureRequest) -> list[str]:
    """The names of the virtual hosts that no test has used."""
    tests = [item for item in request.session.items if item.path == request.path]
    return [f"t{number}" for number in range(len(tests))]


@pytest.fixture
def broker(node: Rabbit, spare: list[str]) -> Generator[Connection]:
    """An empty virtual host, and a user, of the test's own."""
    name = spare.pop()
    with Connection(f"amqp://{name}:right@127.0.0.1:{node.port}/{name}") as connection:
        yield connection


@pytest.fixture
def processes(
    tmp_path: Path, database_url: str, redis_url: str, broker: Connection
) -> Generator[Celeries]:
    """Celery processes on the pipeline's database, with RabbitMQ as their broker."""
    with celeries(tmp_path, database_url, redis_url, broker.as_uri(True)) as started:
        yield started


def send(broker: Connection, body: Any = BODY, **options: Any) -> None:
    """Send a body, or what JSON makes of it."""
    headers = {"task": "publish.enqueue", "id": str(uuid4()), **options.pop("headers", {})}
    sent = body if isinstance(body, str | bytes) else json.dumps(body)
    given: Any = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "app_id": TEST,
        **options,
    }
    Producer(broker).publish(sent, routing_key="publish", headers=headers, **given)


def channel_of(broker: Connection) -> Any:
    """The AMQP channel, which Kombu's types do not know."""
    return broker.default_channel


def take_left(broker: Connection) -> list[Any]:
    """Take every message of the queue, and return those that `send` put there."""
    taken = iter(partial(channel_of(broker).basic_get, "publish", no_ack=True), None)
    return [message for message in taken if message.properties.get("app_id") == TEST]


def count_quarantined(pipeline: Pipeline) -> int:
    return pipeline.value("SELECT count(*) FROM publisher.quarantined_message")


def test_invalid_messages_are_quarantined_and_acknowledged(
    pipeline: Pipeline, processes: Celeries, broker: Connection
) -> None:
    worker = processes.worker(concurrency=2)
    send(broker, "x")
    send(broker, COMPRESSED, headers={"compression": "gzip"})
    send(broker, COMPRESSED, content_encoding="gzip")
    send(broker, headers={"compression": [1]})
    send(broker, headers={"id": [1]})
    send(broker, headers={"expires": {}})
    send(broker, headers={"task": 5})
    send(broker, headers={"task": "publish.run_due"})
    send(broker, content_type="application/text")
    send(broker, NESTED)
    send(broker, "A" * 5_000_000)
    sent = 11
    for _ in range(5):
        send(broker, [[], {"video_id": pipeline.video()}, {}])
    wait_until(lambda: count_published(pipeline) >= 5, "the worker to go on", timeout=60)
    wait_until(lambda: count_quarantined(pipeline) >= sent, "the others to be quarantined")
    worker.stop()
    assert not take_left(broker)
    worker.assert_no_traceback()


def test_unusual_headers_that_no_task_reads_make_no_message_invalid(
    pipeline: Pipeline, processes: Celeries, broker: Connection
) -> None:
    processes.worker()
    send(
        broker,
        [[], {"video_id": pipeline.video()}, {"chord": 7}],
        headers={"timelimit": "x", "stamps": 5, "extra": nest(50)},
        content_encoding="latin-1",
        reply_to="somewhere",
    )
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")


def test_a_message_of_protocol_1_is_carried_out(
    pipeline: Pipeline, processes: Celeries, broker: Connection
) -> None:
    processes.worker()
    body = {"task": "publish.enqueue", "id": "7", "kwargs": {"video_id": pipeline.video()}}
    producer = Producer(broker)
    producer.publish(json.dumps(body), routing_key="publish", content_type="application/json")
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")


@contextmanager
def held(pipeline: Pipeline, broker: Connection, count: int) -> Generator[None]:
    """Send messages to a worker that cannot carry them out before the end of the block."""
    queue = partial(channel_of(broker).queue_declare, "publish", passive=True)
    with transaction(pipeline.engine) as tx:
        lift_limits(tx)
        tx.execute("LOCK TABLE publisher.publish_command")
        for _ in range(count):
            send(broker, [[], {"video_id": pipeline.video()}, {}])
        wait_until(lambda: not queue().message_count, "the worker to hold the messages")
        yield


@pytest.mark.slow
def test_messages_that_a_killed_pool_process_had_are_accepted_once(
    pipeline: Pipeline, processes: Celeries, broker: Connection
) -> None:
    worker = processes.worker()
    with held(pipeline, broker, 20):
        [process] = psutil.Process(worker.process.pid).children()
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: count_published(pipeline) >= 20, "the videos to be published", timeout=60)
    worker.stop()
    assert not take_left(broker)
    accepted = "SELECT count(*), count(DISTINCT accepted_at) FROM publisher.publish_command"
    [(commands, transactions)] = pipeline.rows(accepted)
    assert commands == 20
    assert transactions < 20


class Raw(amqp.Message):
    """A message with headers that only other clients write."""

    def __init__(self, table: bytes) -> None:
        super().__init__(b"[[], {}, {}]")
        self.table = table

    def _serialize_properties(self) -> bytes:
        return pack(">HI", 1 << 13, len(self.table)) + self.table


def nest_raw(levels: int) -> bytes:
    """A header `x` with lists in lists."""
    lists = b"".join(b"A" + pack(">I", 5 * inner) for inner in range(levels, -1, -1))
    return b"\x01x" + lists


@pytest.mark.parametrize("table", [nest_raw(9_000), b"\x01\xffI\x00\x00\x00\x01"])
def test_headers_that_cannot_be_read_do_not_end_the_worker(
    pipeline: Pipeline, processes: Celeries, broker: Connection, table: bytes
) -> None:
    worker = processes.worker()
    channel_of(broker).basic_publish(Raw(table), routing_key="publish")
    send(broker, [[], {"video_id": pipeline.video()}, {}])
    wait_until(lambda: count_published(pipeline) >= 1, "the worker to go on")
    wait_until(lambda: count_quarantined(pipeline) == 1, "the message to be quarantined")
    assert worker.is_running


@pytest.fixture
def runtime(database_url: str, redis_url: str, broker: Connection) -> Generator[Runtime]:
    """What the API works with."""
    url = broker.as_uri(include_password=True)
    settings = Settings(database_url=database_url, redis_url=redis_url, broker_url=url)
    with Runtime.open(settings) as opened:
        yield opened


@pytest.mark.slow
def test_a_login_that_is_refused_for_a_while_stops_no_process(
    pipeline: Pipeline, processes: Celeries, node: Rabbit, broker: Connection, runtime: Runtime
) -> None:
    worker, beat = processes.worker(), processes.beat()
    enqueue_one(pipeline, runtime)
    wait_until(lambda: count_published(pipeline) >= 1, "the first video to be published")
    node.control("change_password", str(broker.userid), "wrong")
    node.control("close_all_connections", "--vhost", broker.virtual_host, "a test")
    for process in (worker, beat):
        wait_until(partial(process.says, "ACCESS_REFUSED"), "the refusal")
    enqueue_one(pipeline, runtime)
    assert is_refused(runtime)
    node.control("change_password", str(broker.userid), "right")
    wait_until(lambda: count_published(pipeline) >= 2, "the second video to be published")
    enqueue_one(pipeline, runtime)
    wait_until(lambda: count_published(pipeline) >= 3, "the third video to be published")
    for process in (worker, beat):
        assert process.is_running
        process.assert_no_traceback()


def test_an_acknowledgement_that_the_broker_no_longer_takes_is_one_line_of_the_log(
    pipeline: Pipeline, processes: Celeries, node: Rabbit, broker: Connection
) -> None:
    worker = processes.worker()
    with held(pipeline, broker, 1):
        node.control("close_all_connections", "--vhost", broker.virtual_host, "a test")
        worker.wait_for("broker.reachable")
    worker.wait_for("Couldn't ack")
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
    worker.stop()
    with Connection(broker.as_uri(include_password=True)) as again:
        assert not take_left(again)
    assert pipeline.value("SELECT count(*) FROM publisher.publish_command") == 1
    worker.assert_no_traceback()


@pytest.mark.slow
def test_worker_and_beat_that_start_before_their_virtual_host_wait_for_it(
    pipeline: Pipeline, processes: Celeries, node: Rabbit, broker: Connection, runtime: Runtime
) -> None:
    node.control("delete_vhost", broker.virtual_host)
    started = [processes.start("worker", "--concurrency=1"), processes.start("beat")]
    for process in started:
        process.wait_for("broker.unreachable")
    assert is_refused(runtime)
    node.control("add_vhost", broker.virtual_host)
    user = str(broker.userid)
    node.control("set_permissions", "-p", broker.virtual_host, user, ".*", ".*", ".*")
    enqueue_one(pipeline, runtime)
    wait_until(lambda: count_published(pipeline) >= 1, "the video to be published")
    for process in started:
        assert process.is_running
        process.assert_no_traceback()


def is_refused(runtime: Runtime) -> bool:
    """Whether the check of the broker is red, with one line that says so."""
    checks = examine(runtime.engine, runtime.redis, runtime.settings.broker())
    [broker] = [check for check in checks if check.name == "broker"]
    return not broker.ok and broker.detail.startswith("The broker refuses us: ")


def enqueue_one(pipeline: Pipeline, runtime: Runtime) -> None:
    """Enqueue as the API does."""
    origin = Origin(trigger=Trigger.API, correlation_id="c", workspace_id=None)
    enqueue(runtime.engine, runtime.waker, [PublishRequest(video_id=pipeline.video())], origin)


def test_beat_adds_no_sweep_to_a_queue_that_nothing_reads(
    processes: Celeries, broker: Connection
) -> None:
    queue = partial(channel_of(broker).queue_declare, durable=True, auto_delete=False)
    queue("publish")
    for _ in range(MANY):
        send(broker)
    beat = processes.beat()
    wait_until(lambda: queue("webhooks").message_count, "beat to send the other queue's sweeps")
    assert queue("publish").message_count == MANY
    assert beat.is_running
