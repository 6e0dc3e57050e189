"""Server-Sent Events: from a position on without a gap, live, without slowing other readers."""

import json
import socket
import time
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from redis import Redis
from sqlalchemy import Engine

from db.session import transaction
from publish_worker_client.events.stream_entries import STREAM
from schemas.values.caller import Scope
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.served import Served, served
from tests.support.sse import listening
from tests.support.subscribing import document
from tests.support.waiting import PATIENCE, wait_until
from worker.api.streaming import sse, tail, tail_reader
from worker.events.redis_stream import relay
from worker.operations.api_keys import create_key, list_keys, revoke_key

NOT_OURS = [
    '{"id": "1", "type": "t", "subject": "7", "source": 5, "sequence": "1"}',
    '{"id": "1", "type": "t", "subject": "7", "source": "/workspaces/%s", "sequence": "1"}'
    % ("9" * 5_000),
    '{"id": "1", "type": "t\\nid: 9", "subject": "7", "source": "/workspaces/1", "sequence": "1"}',
]
"""Documents at position 1 that are not events."""


@pytest.fixture
def key(platform: Engine) -> str:
    return create_key(platform, name="reader", scope=Scope.EVENTS, workspace_id=1)


@pytest.fixture
def server(platform: Engine, redis_url: str) -> Generator[Served]:
    with served(platform, redis_url) as started:
        yield started


@pytest.fixture
def url(server: Served) -> str:
    return server.stream


def tell(pipeline: Pipeline, count: int = 1, workspace_id: int = 1) -> None:
    """Publish videos, and let the stream know."""
    pipeline.publish(*(pipeline.video(workspace_id=workspace_id) for _ in range(count)))
    relay(pipeline.engine, pipeline.redis, BASE_URL)


def write_events(engine: Engine, count: int, size: int = 100) -> None:
    """Put events straight into the outbox, in one transaction."""
    statement = """
    WITH counter AS (
        UPDATE publisher.event_position SET position = position + %(count)s RETURNING position
    )
    INSERT INTO publisher.outbox_event
        (position, id, type, video_id, workspace_id, occurred_at, correlation_id, data)
    SELECT position - %(count)s + n, gen_random_uuid(), 'video.published', n, 1, now(), 'c',
           json_build_object('pad', repeat('x', %(size)s))
    FROM counter, generate_series(1, %(count)s) n
    """
    with transaction(engine) as tx:
        tx.execute(statement, {"count": count, "size": size})


def test_an_event_has_its_position_its_type_and_its_document(
    pipeline: Pipeline, url: str, key: str
) -> None:
    with listening(url, key) as heard:
        wait_until(lambda: heard.blocks, "the greeting")
        tell(pipeline)
        wait_until(lambda: heard.positions, "the event")
    assert heard.last.id == "1"
    assert heard.last.event == "video.published"
    assert json.loads(heard.last.data or "") == pipeline.events()[0]


def test_it_continues_after_a_position_and_then_live(
    pipeline: Pipeline, url: str, key: str
) -> None:
    tell(pipeline, 5)
    with listening(f"{url}?after=2", key) as heard:
        wait_until(lambda: heard.positions == [3, 4, 5], "what was before")
        tell(pipeline, 2)
        wait_until(lambda: heard.positions == [3, 4, 5, 6, 7], "what came after")


def test_last_event_id_overrides_after(pipeline: Pipeline, url: str, key: str) -> None:
    tell(pipeline, 5)
    with listening(f"{url}?after=0", key, **{"Last-Event-ID": "4"}) as heard:
        wait_until(lambda: heard.positions == [5], "the last one")


@pytest.mark.parametrize(
    "query",
    ["lastEventId=4", "after=0&lastEventId=4&evs_preamble=2056&_=17", "after=4&lastEventId="],
)
def test_a_polyfill_of_eventsource_continues(
    pipeline: Pipeline, url: str, key: str, query: str
) -> None:
    tell(pipeline, 5)
    with listening(f"{url}?{query}", key, **{"Last-Event-ID": ""}) as heard:
        wait_until(lambda: heard.positions == [5], "the last one")


def test_without_a_position_only_what_is_new(pipeline: Pipeline, url: str, key: str) -> None:
    tell(pipeline, 5)
    with listening(url, key) as heard:
        wait_until(lambda: heard.blocks, "the greeting")
        assert heard.blocks[0].comment == "after 5"
        assert heard.blocks[0].id == "5", "its place, before there is an event"
        tell(pipeline)
        wait_until(lambda: heard.positions == [6], "the new one")


def test_a_late_reader_catches_up_from_the_outbox_without_a_gap(
    pipeline: Pipeline, url: str, key: str
) -> None:
    write_events(pipeline.engine, 3_000)
    with patch.object(tail, "REMEMBERED", 100), listening(f"{url}?after=0", key) as heard:
        wait_until(lambda: len(heard.positions) > 500, "some of it")
        write_events(pipeline.engine, 500)
        relay(pipeline.engine, pipeline.redis, BASE_URL)
        tell(pipeline, 3)
        wait_until(lambda: len(heard.positions) >= 3_503, "all of it", timeout=60)
    assert heard.positions == list(range(1, 3_504))


def test_only_ones_workspace_only_some_types_only_one_video(
    pipeline: Pipeline, url: str, key: str
) -> None:
    with ExitStack() as stack:
        everything, other_type, one_video = (
            stack.enter_context(listening(f"{url}?{query}", key))
            for query in ("after=0", "after=0&type=video.publish_failed", "after=0&video_id=3")
        )
        tell(pipeline, 1, workspace_id=2)
        tell(pipeline, 2)
        wait_until(lambda: everything.positions == [2, 3], "both")
        wait_until(lambda: one_video.positions == [3], "the one")
        assert other_type.positions == []


def test_the_cursor_moves_over_what_is_not_for_us(pipeline: Pipeline, url: str, key: str) -> None:
    with patch.object(tail, "HEARTBEAT_SECONDS", 0), listening(url, key) as heard:
        wait_until(lambda: heard.blocks, "the greeting")
        tell(pipeline, 4, workspace_id=2)
        wait_until(lambda: heard.last.id == "4", "a heartbeat that says so")
        assert heard.last.comment == "heartbeat"
        assert heard.last.data is None


def test_it_continues_while_redis_is_unreachable(pipeline: Pipeline, key: str) -> None:
    with (
        served(pipeline.engine, "redis://127.0.0.1:1") as server,
        listening(f"{server.stream}?after=0", key) as heard,
    ):
        pipeline.publish(pipeline.video())
        wait_until(lambda: heard.positions == [1], "the event, from the outbox")


def test_it_continues_while_no_relay_runs(pipeline: Pipeline, url: str, key: str) -> None:
    with listening(f"{url}?after=0", key) as heard:
        pipeline.publish(pipeline.video())
        wait_until(lambda: heard.positions == [1], "the event, from the outbox")
        tell(pipeline, 2)
        wait_until(lambda: heard.positions == [1, 2, 3], "the others, once each")


@pytest.mark.parametrize(
    "entry",
    [{"nonsense": "1"}, {"event": "nonsense"}, *({"event": document} for document in NOT_OURS)],
    ids=range(5),
)
def test_a_gap_or_an_invalid_entry_of_the_stream_is_filled_from_the_outbox(
    pipeline: Pipeline, url: str, key: str, redis: Redis, entry: dict[Any, Any]
) -> None:
    with listening(f"{url}?after=0", key) as heard:
        wait_until(lambda: heard.blocks, "the greeting")
        redis.xadd(STREAM, entry, id="1-0")
        redis.xadd(STREAM, {"event": "nonsense"}, id="3-0")
        pipeline.publish(*(pipeline.video() for _ in range(4)))
        wait_until(lambda: heard.positions == [1, 2, 3, 4], "all four")


def test_a_forged_event_reaches_no_reader(
    pipeline: Pipeline, url: str, key: str, redis: Redis
) -> None:
    with listening(f"{url}?after=0", key) as heard:
        tell(pipeline)
        wait_until(lambda: heard.positions == [1], "the first one")
        forged = json.loads(document(2, "7")) | {"id": str(uuid4()), "source": "/workspaces/1"}
        redis.xadd(STREAM, {"event": json.dumps(forged)}, id="2-0")
        tell(pipeline, 2)
        wait_until(lambda: heard.positions == [1, 2, 3], "the genuine ones")
    assert forged["id"] not in "".join(block.data or "" for block in heard.blocks)


def test_an_entry_of_another_program_is_not_read_again_and_again(
    pipeline: Pipeline, url: str, key: str, redis: Redis
) -> None:
    with listening(f"{url}?after=0", key) as heard:
        wait_until(lambda: heard.blocks, "the greeting")
        redis.xadd(STREAM, {"nonsense": "1"}, id="1000-0")
        redis.config_resetstat()
        began = time.monotonic()
        pipeline.publish(*(pipeline.video() for _ in range(4)))
        wait_until(lambda: heard.positions == [1, 2, 3, 4], "all four")
        reads: Any = redis.info("commandstats").get("cmdstat_xread", {"calls": 0})
        assert reads["calls"] <= 3 + time.monotonic() - began, "one a second"


def test_pruned_events_are_answered_with_410(pipeline: Pipeline, url: str, key: str) -> None:
    write_events(pipeline.engine, 3_000)
    pipeline.execute("DELETE FROM publisher.outbox_event WHERE position <= 1000")
    with listening(f"{url}?after=10", key) as heard:
        wait_until(lambda: heard.has_ended, "the refusal")
    assert heard.status == 410
    assert json.loads(heard.problem)["type"] == "/problems/position-gone"
    assert json.loads(heard.problem)["resume_after"] == 1_000


def test_a_position_that_was_never_given_out_is_refused(url: str, key: str) -> None:
    with listening(f"{url}?after=7", key) as heard:
        wait_until(lambda: heard.has_ended, "the refusal")
    assert heard.status == 409


def test_a_slow_reader_is_dropped_and_delays_no_other(
    pipeline: Pipeline, server: Served, url: str, key: str
) -> None:
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    with (
        patch.object(tail_reader, "BUFFER", 200),
        patch.object(sse, "STUCK_SECONDS", 10 * PATIENCE),
        listening(f"{url}?after=0", key) as quick,
    ):
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((host, int(port)))
        path = f"/api/v1/events/stream?after=0&access_token={key}"
        slow.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: server.live_readers == 2, "both to read")
        for told in range(100, 1_300, 100):
            write_events(pipeline.engine, 100, size=20_000)
            relay(pipeline.engine, pipeline.redis, BASE_URL)
            wait_until(lambda told=told: len(quick.positions) == told, "all, at the quick one's")
        slow.settimeout(PATIENCE)
        said = b""
        while b"event: dropped" not in said or not said.endswith(b"0\r\n\r\n"):
            more = slow.recv(1 << 20)
            assert more, "it ended without a last word"
            said += more
        slow.close()
    word = said[said.index(b"event: dropped") :].decode()
    resume_after = json.loads(word.split("data: ")[1].split("\n")[0])["resume_after"]
    whole = [int(line[4:]) for line in said.decode().split("\n") if line.startswith("id: ")]
    assert json.loads(word.split("data: ")[1].split("\n")[0])["reason"] == "too_slow"
    assert 0 < resume_after < 1_200
    assert whole[:-1] == list(range(resume_after + 1)), "its place at the beginning, and each event"


def test_a_reader_that_reads_nothing_is_disconnected(
    pipeline: Pipeline, server: Served, url: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    with patch.object(sse, "STUCK_SECONDS", 0.2), socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect((host, int(port)))
        path = f"/api/v1/events/stream?after=0&access_token={key}"
        stuck.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: server.tail.live_readers == 1, "it to read")
        write_events(pipeline.engine, 900, size=20_000)
        relay(pipeline.engine, pipeline.redis, BASE_URL)
        wait_until(lambda: "stream.stuck" in caplog.text, "the end of patience")
        wait_until(lambda: server.tail.live_readers == 0, "nobody")


def test_a_reader_with_a_revoked_key_is_dropped(pipeline: Pipeline, url: str, key: str) -> None:
    with patch.object(tail, "KEY_CHECK_SECONDS", 0), listening(url, key) as heard:
        wait_until(lambda: heard.blocks, "the greeting")
        [known] = list_keys(pipeline.engine)
        revoke_key(pipeline.engine, known.id)
        wait_until(lambda: heard.has_ended, "the end")
    assert heard.last.event == "dropped"
    assert json.loads(heard.last.data or "")["reason"] == "key_revoked"


def test_readers_get_a_last_event_when_the_server_stops(
    platform: Engine, redis_url: str, key: str
) -> None:
    with ExitStack() as stack, ExitStack() as until_the_end:
        server = until_the_end.enter_context(served(platform, redis_url))
        heard = stack.enter_context(listening(server.stream, key))
        wait_until(lambda: heard.blocks, "the greeting")
        until_the_end.close()
        wait_until(lambda: heard.has_ended, "the end")
    assert heard.last.comment == "stopping"
    assert 500 <= int(heard.last.retry or 0) <= 3_000


def test_a_disconnected_reader_is_removed(server: Served, url: str, key: str) -> None:
    with listening(url, key) as heard:
        wait_until(lambda: heard.blocks and server.live_readers == 1, "the reader")
    wait_until(lambda: server.live_readers == 0, "nobody")


def test_a_key_in_the_url_may_only_read_events(pipeline: Pipeline, url: str, key: str) -> None:
    for scope in (Scope.READ, Scope.PUBLISH, Scope.ADMIN):
        strong = create_key(pipeline.engine, name="strong", scope=scope, workspace_id=1)
        with listening(f"{url}?access_token={strong}") as refused:
            wait_until(lambda refused=refused: refused.has_ended, "the refusal")
        problem = json.loads(refused.problem)["type"]
        assert (refused.status, problem) == (403, "/problems/key-in-url")
    with listening(f"{url}?access_token={key}") as heard:
        wait_until(lambda: heard.blocks, "the greeting")
    for query in ("", "?access_token=pw_nobodys", "?access_token="):
        with listening(f"{url}{query}") as stranger:
            wait_until(lambda: stranger.has_ended, "the refusal")
        assert stranger.status == 401


def test_the_streams_of_one_key_are_limited_and_a_closed_one_makes_room(
    url: str, key: str, platform: Engine, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "READERS_PER_KEY", 2)
    other = create_key(platform, name="other", scope=Scope.READ, workspace_id=1)
    with listening(url, key), listening(url, other):
        with listening(url, key), listening(url, key) as third:
            wait_until(lambda: third.has_ended, "the third stream to be refused")
            assert third.status == 429
            assert "/problems/too-many-readers" in third.problem
            wait_until(lambda: server.live_readers == 3, "the others to be opened")
        wait_until(lambda: server.live_readers == 2, "the second stream to be closed")
        with listening(url, key) as next_one:
            wait_until(lambda: server.live_readers == 3, "the next stream to be opened")
            assert next_one.status in (None, 200)


def test_large_events_are_written_one_by_one(url: str, key: str, platform: Engine) -> None:
    write_events(platform, 30, size=60_000)
    with listening(f"{url}?after=0", key) as listener:
        wait_until(lambda: len(listener.positions) == 30, "all events")
    assert listener.positions == list(range(1, 31))
