"""The AMQP outlet on a real RabbitMQ: every event, in order, also after outages."""

import json
import os
import signal
import threading
from collections.abc import Callable, Generator
from typing import Any
from unittest.mock import patch

import pytest
from kombu import Connection, Message, Producer, Queue
from kombu.exceptions import OperationalError
from pydantic import ValidationError
from redis import Redis

from db.events import outlet
from tests.support.free_port import free_port
from tests.support.pipeline import BASE_URL, Pipeline, ids, stream
from tests.support.rabbit import EPMD, SERVER, Rabbit, bind, take_all, temporary_rabbit
from tests.support.tls_server import LOCALHOST, OTHER_NAME, tls_in_front_of
from tests.support.traces import (
    SAMPLED,
    TRACE_ID,
    named,
    parent_id,
    span_id,
    trace_id,
    tracing_here,
)
from tests.support.waiting import PATIENCE
from worker.events import amqp, redis_stream
from worker.events.amqp import EXCHANGE, AmqpGap, AmqpOutlet, check_amqp
from worker.events.outlet import OutletUnreachable
from worker.events.outlets import build_outlets, relay_all
from worker.events.redis_stream import StreamOutlet
from worker.operations import retention
from worker.operations.health import Check, examine
from worker.runtime.broker_url import read_broker_url
from worker.runtime.settings import OutletName, Settings, SettingsError
from worker.runtime.startup import check_settings

pytestmark = pytest.mark.skipif(
    SERVER is None or EPMD is None,
    reason="rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)",
)


@pytest.fixture(scope="module")
def node() -> Generator[Rabbit]:
    with temporary_rabbit() as started:
        yield started


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is slow is not an unreachable one; one that was is left alone for long."""
    monkeypatch.setattr(amqp, "CONNECT_SECONDS", PATIENCE)
    monkeypatch.setattr(amqp, "CONFIRM_SECONDS", PATIENCE)
    monkeypatch.setattr(amqp, "RETRY_SECONDS", PATIENCE)
    monkeypatch.setattr("worker.operations.health.ANSWER_SECONDS", PATIENCE)


@pytest.fixture
def bus(pipeline: Pipeline, node: Rabbit) -> Generator[AmqpOutlet]:
    """The outlet, which begins with the next event."""
    made = AmqpOutlet(pipeline.engine, node.url, BASE_URL)
    made.position()
    yield made
    made.close()


@pytest.fixture
def connection(node: Rabbit) -> Generator[Connection]:
    with node.connection() as connection:
        yield connection


@pytest.fixture
def queue(connection: Connection) -> Generator[Queue]:
    """Gets every event."""
    bound = bind(connection, f"all-{os.urandom(4).hex()}", "#")
    yield bound
    bound.delete()


def sequences(messages: list[Message]) -> list[int]:
    return [int(document(message)["sequence"]) for message in messages]


def document(message: Message) -> dict[str, Any]:
    assert message.body
    return json.loads(message.body)


def publish(pipeline: Pipeline, count: int) -> None:
    pipeline.publish(*(pipeline.video() for _ in range(count)))


def test_a_message_is_the_event_under_its_own_id_and_its_type_as_routing_key(
    pipeline: Pipeline, bus: AmqpOutlet, queue: Queue
) -> None:
    publish(pipeline, 1)
    assert bus.relay() == 1
    [message] = take_all(queue)
    [event] = pipeline.events()
    assert document(message) == event
    assert message.content_type == "application/cloudevents+json"
    properties: dict[str, Any] = message.properties
    assert properties["message_id"] == event["id"]
    assert properties["delivery_mode"] == 2
    info: dict[str, Any] = message.delivery_info
    assert (info["exchange"], info["routing_key"]) == ("video.events", "video.published")


def test_a_trace_leads_through_the_exchange_to_the_subscriber(
    pipeline: Pipeline, bus: AmqpOutlet, queue: Queue
) -> None:
    with tracing_here() as exported:
        pipeline.publish(pipeline.video(), traceparent=SAMPLED)
        bus.relay()
        [command], [sent] = named(exported, "publish command"), named(exported, "send video.events")
        attributes = sent.attributes or {}
        assert (trace_id(sent), parent_id(sent)) == (TRACE_ID, span_id(command))
        assert attributes["messaging.system"] == "rabbitmq"
    [message] = take_all(queue)
    assert document(message)["traceparent"] == f"00-{TRACE_ID}-{span_id(command)}-01"
    assert attributes["messaging.message.id"] == message.properties["message_id"]


def test_events_arrive_in_order_and_once(pipeline: Pipeline, bus: AmqpOutlet, queue: Queue) -> None:
    with patch.object(amqp, "BATCH", 7):
        publish(pipeline, 30)
        assert bus.relay() == 30
        assert bus.relay() == 0
    assert sequences(take_all(queue)) == list(range(1, 31))
    assert bus.position() == 30


def test_a_queue_gets_only_the_types_that_it_is_bound_to(
    pipeline: Pipeline, bus: AmqpOutlet, connection: Connection
) -> None:
    name = f"some-{os.urandom(4).hex()}"
    queue = bind(connection, name, "video.publish_rejected", "video.publish_failed")
    pipeline.publish(pipeline.video(), pipeline.video(status="failed"), pipeline.video())
    bus.relay()
    [message] = take_all(queue)
    assert document(message)["type"] == "video.publish_rejected"
    queue.delete()


def test_a_new_outlet_begins_with_the_next_event(
    pipeline: Pipeline, node: Rabbit, queue: Queue
) -> None:
    publish(pipeline, 3)
    late = AmqpOutlet(pipeline.engine, node.url, BASE_URL)
    assert late.relay() == 0
    publish(pipeline, 2)
    assert late.relay() == 2
    assert sequences(take_all(queue)) == [4, 5]
    late.close()


def test_a_batch_whose_position_was_not_stored_is_sent_again_with_the_same_ids(
    pipeline: Pipeline, bus: AmqpOutlet, queue: Queue
) -> None:
    """A crash after the broker has confirmed a batch, and before the position moves."""
    publish(pipeline, 5)
    with (
        patch.object(outlet, "move", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        bus.relay()
    assert bus.relay() == 5
    messages = take_all(queue)
    assert sequences(messages) == [1, 2, 3, 4, 5] * 2
    message_ids = [message.properties["message_id"] for message in messages]
    assert message_ids[:5] == message_ids[5:]


def test_concurrent_relays_neither_duplicate_nor_reorder(
    pipeline: Pipeline, node: Rabbit, bus: AmqpOutlet, queue: Queue
) -> None:
    publish(pipeline, 60)
    others = [AmqpOutlet(pipeline.engine, node.url, BASE_URL) for _ in range(4)]
    with patch.object(amqp, "BATCH", 5):
        threads = [threading.Thread(target=other.relay) for other in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        bus.relay()
    for other in others:
        other.close()
    assert sequences(take_all(queue)) == list(range(1, 61))


def test_a_relay_stops_when_another_process_has_moved_the_position(
    pipeline: Pipeline, bus: AmqpOutlet
) -> None:
    """The lock was lost with a connection, and another relay took over."""
    publish(pipeline, 4)
    move = outlet.move

    def moved_already(tx: Any, name: str, *, position: int, to: int) -> bool:
        move(tx, name, position=position, to=3)
        return move(tx, name, position=position, to=to)

    with patch.object(outlet, "move", moved_already):
        assert bus.relay() == 0
    assert bus.position() == 3


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL]
)
@pytest.mark.slow
def test_a_broker_that_stops_and_starts_loses_nothing(
    pipeline: Pipeline, node: Rabbit, bus: AmqpOutlet, number: signal.Signals
) -> None:
    name = f"kept-{os.urandom(4).hex()}"
    with node.connection() as before:
        bind(before, name, "#")
    with patch.object(amqp, "RETRY_SECONDS", 0):
        publish(pipeline, 3)
        bus.relay()
        node.stop(number)
        publish(pipeline, 3)
        with pytest.raises(OutletUnreachable):
            bus.relay()
        node.start()
        publish(pipeline, 3)
        assert bus.relay() == 6
    with node.connection() as after:
        queue = bind(after, name, "#")
        messages = take_all(queue)
        queue.delete()
    assert sequences(messages) == list(range(1, 10))


def test_an_unreachable_outlet_does_not_stop_the_others(
    pipeline: Pipeline, bus: AmqpOutlet, queue: Queue
) -> None:
    nowhere = f"amqp://guest:guest@127.0.0.1:{free_port()}//"
    away = AmqpOutlet(pipeline.engine, nowhere, BASE_URL)
    on_dead_redis = StreamOutlet(pipeline.engine, Redis(port=1), BASE_URL)
    publish(pipeline, 2)
    relay_all([away, on_dead_redis, bus, StreamOutlet(pipeline.engine, pipeline.redis, BASE_URL)])
    assert len(stream(pipeline.redis)) == 2
    assert sequences(take_all(queue)) == [1, 2]


def test_an_unreachable_broker_is_not_tried_again_for_a_while(pipeline: Pipeline) -> None:
    away = AmqpOutlet(pipeline.engine, f"amqp://guest:guest@127.0.0.1:{free_port()}//", BASE_URL)
    away.position()
    publish(pipeline, 1)
    with pytest.raises(OutletUnreachable):
        away.relay()
    with patch.object(away, "_relay_batches") as relay_batches:
        assert away.relay() == 0
    relay_batches.assert_not_called()


def test_no_transaction_holds_rows_or_a_snapshot_while_messages_are_sent(
    pipeline: Pipeline, bus: AmqpOutlet
) -> None:
    publish_one = Producer.publish
    state = """
    SELECT count(*) FROM pg_stat_activity
    WHERE starts_with(state, 'idle in') AND datname = current_database()
      AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)
    """

    def check_idle(self: Producer, *body: Any, **properties: Any) -> None:
        assert pipeline.value(state) == 0
        publish_one(self, *body, **properties)

    publish(pipeline, 1)
    with patch.object(Producer, "publish", check_idle):
        assert bus.relay() == 1


def test_pruning_keeps_events_that_an_outlet_has_not_relayed(
    pipeline: Pipeline, node: Rabbit, bus: AmqpOutlet
) -> None:
    settings = Settings(outlets="stream,amqp", amqp_url=node.url)
    publish(pipeline, 3)
    bus.relay()
    publish(pipeline, 2)
    redis_stream.relay(pipeline.engine, pipeline.redis, BASE_URL)
    pipeline.execute("UPDATE publisher.outbox_event SET occurred_at = now() - interval '60 days'")
    assert retention.prune(pipeline.engine, pipeline.redis, settings).outbox == 3
    bus.relay()
    assert retention.prune(pipeline.engine, pipeline.redis, settings).outbox == 2


def test_an_outlet_that_was_off_for_too_long_is_refused_rather_than_leave_a_gap(
    pipeline: Pipeline, bus: AmqpOutlet
) -> None:
    publish(pipeline, 5)
    pipeline.execute("DELETE FROM publisher.outbox_event WHERE position < 3")
    with pytest.raises(AmqpGap):
        bus.relay()
    pipeline.execute("DELETE FROM publisher.outlet WHERE name = 'amqp'")
    publish(pipeline, 1)
    assert bus.relay() == 0  # it begins with the next event


def test_the_settings_name_the_outlets(pipeline: Pipeline) -> None:
    def names(outlets: str) -> list[str]:
        settings = Settings(outlets=outlets, amqp_url="amqp://localhost")
        return [each.name for each in build_outlets(pipeline.engine, pipeline.redis, settings)]

    assert names("stream") == ["stream"]
    assert names("stream,amqp,stream") == ["stream", "amqp"]
    assert Settings().outlet_names() == [OutletName.STREAM]
    with pytest.raises(ValidationError):
        Settings(outlets="stream,kafka")


def test_amqp_without_its_url_is_refused_at_the_start() -> None:
    settings = Settings(
        database_url="postgresql://localhost/x", redis_url="redis://localhost", outlets="amqp"
    )
    with pytest.raises(SettingsError, match="AMQP_URL"):
        check_settings(settings)


def test_the_exchange_is_declared_before_the_first_event(bus: AmqpOutlet, node: Rabbit) -> None:
    with node.connection() as connection:
        EXCHANGE.bind(connection.default_channel).delete()
    assert bus.relay() == 0
    with node.connection() as connection:
        EXCHANGE.bind(connection.default_channel).declare(passive=True)


@pytest.mark.parametrize(
    ("login", "vhost", "answer"),
    [("guest:wrong", "/", "ACCESS_REFUSED"), ("guest:guest", "/nowhere", "nowhere")],
)
def test_a_broker_that_refuses_us_is_a_red_check_with_one_line(
    pipeline: Pipeline, node: Rabbit, login: str, vhost: str, answer: str
) -> None:
    url = f"amqp://{login}@127.0.0.1:{node.port}/{vhost}"
    check = amqp_check(pipeline, url)
    assert not check.ok
    assert answer in check.detail
    assert "AMQP_URL" in check.detail
    assert "wrong" not in check.detail
    assert "\n" not in check.detail
    with pytest.raises(OutletUnreachable):  # and in the log, without any event
        AmqpOutlet(pipeline.engine, url, BASE_URL).relay()


def test_an_unreachable_broker_is_a_red_check_and_one_that_answers_a_green_one(
    pipeline: Pipeline, node: Rabbit
) -> None:
    assert not amqp_check(pipeline, f"amqp://guest:guest@127.0.0.1:{free_port()}//").ok
    assert amqp_check(pipeline, node.url).ok


def amqp_check(pipeline: Pipeline, url: str) -> Check:
    checks = examine(pipeline.engine, pipeline.redis, "memory://", amqp_url=url)
    [found] = [check for check in checks if check.name == "outlet amqp"]
    return found


def test_no_check_of_an_outlet_that_is_off(pipeline: Pipeline) -> None:
    checks = examine(pipeline.engine, pipeline.redis, "memory://")
    assert "outlet amqp" not in {check.name for check in checks}


@pytest.fixture
def amqps(node: Rabbit) -> Generator[str]:
    with tls_in_front_of(node.port, LOCALHOST) as port:
        yield f"amqps://guest:guest@localhost:{port}//"


def connect_as_broker(url: str) -> None:
    with read_broker_url(url).connect({}) as broker:
        for _ in range(2):  # the second one is to the name that the first one was to
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=int(PATIENCE))
            broker.close()


@pytest.mark.parametrize("connect", [check_amqp, connect_as_broker])
def test_amqps_checks_the_certificate(amqps: str, connect: Callable[[str], None]) -> None:
    with pytest.raises((OSError, OperationalError, OutletUnreachable), match=r"(?i)certificate"):
        connect(amqps)
    connect(f"{amqps}?ssl_ca_certs={LOCALHOST}")
    connect(f"{amqps}?ssl_cert_reqs=none")


@pytest.mark.parametrize("connect", [check_amqp, connect_as_broker])
def test_amqps_checks_the_name_in_the_certificate(
    node: Rabbit, connect: Callable[[str], None]
) -> None:
    with tls_in_front_of(node.port, OTHER_NAME) as port:
        url = f"amqps://guest:guest@localhost:{port}//?ssl_ca_certs={OTHER_NAME}"
        with pytest.raises((OSError, OperationalError, OutletUnreachable), match="Hostname"):
            connect(url)
        connect(f"{url}&ssl_check_hostname=false")


def test_events_are_relayed_over_amqps(pipeline: Pipeline, amqps: str, queue: Queue) -> None:
    outlet_over_tls = AmqpOutlet(pipeline.engine, f"{amqps}?ssl_ca_certs={LOCALHOST}", BASE_URL)
    outlet_over_tls.position()
    publish(pipeline, 2)
    assert outlet_over_tls.relay() == 2
    assert sequences(take_all(queue)) == [1, 2]
    outlet_over_tls.close()


def test_the_stream_does_not_depend_on_the_order_of_outlets(
    pipeline: Pipeline, bus: AmqpOutlet
) -> None:
    publish(pipeline, 2)
    relay_all([bus, StreamOutlet(pipeline.engine, pipeline.redis, BASE_URL)])
    assert ids(pipeline.redis) == ["1-0", "2-0"]
