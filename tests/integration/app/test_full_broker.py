"""Our Redis transport on a full Redis: messages that it could not note, by Kombu alone."""

import gc
import json
import tracemalloc
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kombu import Connection, Queue

from tests.support.messages import encode, envelope
from tests.support.valkey import Valkey
from tests.support.waiting import PATIENCE
from worker.app.transport import Channel, Transport

COUNT = 200
MEBIBYTE = 2**20


class Reader:
    """Reads messages and keeps them, as a worker does."""

    def __init__(self, connection: Connection, valkey: Valkey) -> None:
        self._connection = connection
        self._valkey = valkey
        self.messages: list[Any] = []
        self.channel: Any = connection.channel()
        Queue("publish", durable=True)(self.channel).declare()
        self.channel.basic_consume("publish", False, self.messages.append, "reader")

    def read_while_full(self, *bodies: str) -> None:
        """Read messages with these bodies, which Redis cannot note."""
        entries = (json.dumps(envelope(body=body, properties={})) for body in bodies)
        fill = self._valkey.client.pipeline()
        fill.lpush("publish", *entries)
        fill.execute_command("CONFIG", "SET", "maxmemory", "1")
        fill.execute()
        for _ in bodies:
            self._connection.drain_events(timeout=PATIENCE)

    def make_room(self) -> None:
        self._valkey.client.config_set("maxmemory", 0)

    def count_waiting(self) -> int:
        count: Any = self._valkey.client.llen("publish")
        return count


@pytest.fixture
def reader(valkey: Valkey) -> Generator[Reader]:
    with Connection(valkey.url, transport=Transport) as connection:
        made = Reader(connection, valkey)
        yield made
        made.make_room()


def test_a_rejected_message_leaves_the_window_and_goes_back_once_there_is_room(
    reader: Reader,
) -> None:
    reader.read_while_full("", "")
    for message in reader.messages:
        message.reject(requeue=True)
    assert reader.count_waiting() == 0
    reader.make_room()
    reader.channel.qos.restore_visible()
    assert reader.count_waiting() == 2
    reader.channel.close()
    assert reader.count_waiting() == 2


def test_threads_give_each_message_back_once(reader: Reader) -> None:
    reader.read_while_full(*[""] * COUNT)
    for message in reader.messages:
        message.reject(requeue=True)
    reader.make_room()
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(reader.channel.give_back) for _ in range(8)]:
            done.result()
    assert reader.count_waiting() == COUNT


def test_an_acknowledged_message_is_not_kept_in_memory(reader: Reader) -> None:
    tracemalloc.start()
    for _ in range(10):
        reader.read_while_full(encode("x" * MEBIBYTE))
        reader.messages.pop().ack()
        reader.make_room()
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 5 * MEBIBYTE
    assert not Channel.to_give_back
