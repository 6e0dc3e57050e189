"""Webhook deliveries: every event reaches every endpoint of its type, whatever receivers do."""

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import DiskFull
from redis import Redis
from standardwebhooks import Webhook

from db.errors import DATABASE_ERRORS
from db.session import transaction
from db.webhooks import deliveries
from db.webhooks import endpoints as endpoint_rows
from db.webhooks import fan_out as fan_out_rows
from db.webhooks import replay as replays
from publish_worker_client.events.names import Action
from schemas.command import PublishRequest
from schemas.values.delivery import Attempt
from schemas.webhook import DeliveryState
from tests.support import receiver as answers
from tests.support.free_port import free_port
from tests.support.pipeline import BASE_URL, Pipeline
from tests.support.receiver import CERTIFICATE, Received, Receiver, endpoint, receiver, says, tls
from tests.support.statements import counted
from tests.support.waiting import PATIENCE, wait_until
from worker.operations import retention
from worker.runtime.redis_clients import open_hint_redis
from worker.runtime.settings import Settings
from worker.webhooks import attempt, connections, look_ups, results
from worker.webhooks import courier as couriers
from worker.webhooks.addresses import AddressRefused
from worker.webhooks.courier import LEASE, PER_ENDPOINT, Courier, CourierOptions, claim
from worker.webhooks.fan_out import fan_out
from worker.webhooks.look_ups import PER_WORKSPACE, THREADS, LookUps, check_url
from worker.webhooks.results import to_result, write_results
from worker.webhooks.retry_policy import PAUSES
from worker.webhooks.run_lock import acquire_run_lock
from worker.webhooks.signing import new_secret

OPTIONS = CourierOptions(base_url=BASE_URL, allow_private=True)
MakeCourier = Callable[..., Courier]


class PatientCourier(Courier):
    """A courier whose run ends when nothing is left, however slow this machine is."""

    def send_due(self, seconds: float = PATIENCE) -> bool:
        with patch.object(couriers, "QUIET_SECONDS", PATIENCE):
            return super().send_due(seconds)


@pytest.fixture
def there() -> Generator[Receiver]:
    with receiver() as started:
        yield started


@pytest.fixture
def make_courier(pipeline: Pipeline) -> Generator[MakeCourier]:
    made: list[Courier] = []

    def make(**options: Any) -> Courier:
        made.append(PatientCourier(pipeline.engine, replace(OPTIONS, **options)))
        return made[-1]

    yield make
    for courier in made:
        courier.close()


@pytest.fixture
def courier(make_courier: MakeCourier) -> Courier:
    return make_courier()


def send_quickly(courier: Courier) -> bool:
    """A run that waits for hardly any answer."""
    with patch.object(couriers, "QUIET_SECONDS", -1.0):
        return Courier.send_due(courier)


def publish(pipeline: Pipeline, count: int = 1, **columns: Any) -> list[int]:
    """Publish `count` videos, and fan their events out."""
    videos = [pipeline.video(**columns) for _ in range(count)]
    pipeline.publish(*videos)
    fan_out(pipeline.engine)
    return videos


def states(pipeline: Pipeline, endpoint_id: UUID | None = None) -> list[str]:
    rows = pipeline.rows(
        "SELECT state FROM publisher.webhook_delivery"
        " WHERE endpoint_id = coalesce(%s::uuid, endpoint_id) ORDER BY position",
        endpoint_id,
    )
    return [row[0] for row in rows]


def the_attempt(pipeline: Pipeline) -> tuple[int | None, str | None, str | None]:
    """Status, error and answer of the only one."""
    [row] = pipeline.rows("SELECT status, error, answer FROM publisher.webhook_attempt")
    return row[0], row[1], row[2]


def sequences(requests: list[Received]) -> list[int]:
    return [int(request.event["sequence"]) for request in requests]


def sent(statements: list[str]) -> int:
    """How many, without the pool's question whether the connection lives."""
    return sum(statement != ";" for statement in statements)


def seconds_until_due(pipeline: Pipeline) -> float:
    [[seconds]] = pipeline.rows(
        "SELECT extract(epoch FROM due_at - now()) FROM publisher.webhook_delivery"
    )
    return float(seconds)


def make_due(pipeline: Pipeline) -> None:
    pipeline.execute("UPDATE publisher.webhook_delivery SET due_at = now() WHERE state = 'pending'")


def state_of(pipeline: Pipeline, endpoint_id: UUID) -> tuple[str, str | None]:
    [row] = pipeline.rows(
        "SELECT state, disabled_reason FROM publisher.webhook_endpoint WHERE id = %s", endpoint_id
    )
    return row[0], row[1]


# What arrives.


def test_an_event_arrives_as_it_is_on_the_stream_and_signed(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    secret = new_secret()
    endpoint(pipeline, there.url("/hook?a=b"), secret=secret)
    publish(pipeline)
    courier.send_due()
    [request] = there.at("/hook?a=b")
    assert Webhook(secret).verify(request.body, request.headers) == pipeline.events()[0]
    assert request.id == pipeline.events()[0]["id"]
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert request.headers["host"] == f"127.0.0.1:{there.port}"
    assert states(pipeline) == ["delivered"]


def test_secrets_and_signatures_are_in_no_log(
    pipeline: Pipeline, there: Receiver, courier: Courier, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    new, old = new_secret(), new_secret()
    until = datetime.now(UTC) + timedelta(hours=1)
    there.answers["/echo"] = answers.echoes
    there.answers["/status"] = answers.echoes_in_status
    for path in ("/echo", "/status"):
        rotated = {"secret": new, "previous_secret": old, "previous_secret_until": until}
        endpoint(pipeline, there.url(path), **rotated)
    publish(pipeline)
    courier.send_due()
    wait_until(lambda: len(there.received) == 2, "both requests")
    stored = pipeline.rows("SELECT answer, error FROM publisher.webhook_attempt")
    said = "\n".join(str(vars(record)) for record in caplog.records) + str(stored)
    assert str(stored).count("[signature]") == 2 * len(there.received)
    values = [
        value.removeprefix("v1,")
        for request in there.received
        for value in request.headers["webhook-signature"].split()
    ]
    for secret in (new.removeprefix("whsec_"), old.removeprefix("whsec_"), *values):
        assert secret not in said


def test_during_a_rotation_both_secrets_sign(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    new, old, older = new_secret(), new_secret(), new_secret()
    until = datetime.now(UTC) + timedelta(hours=1)
    past = datetime.now(UTC) - timedelta(seconds=1)
    rotated = {"secret": new, "previous_secret": old}
    endpoint(pipeline, there.url("/a"), **rotated, previous_secret_until=until)
    endpoint(pipeline, there.url("/b"), **rotated, previous_secret_until=past)
    publish(pipeline)
    courier.send_due()
    [during], [after] = there.at("/a"), there.at("/b")
    for secret in (new, old):
        Webhook(secret).verify(during.body, during.headers)
    Webhook(new).verify(after.body, after.headers)
    for secret, request in ((older, during), (old, after)):
        with pytest.raises(Exception, match="No matching signature"):
            Webhook(secret).verify(request.body, request.headers)


def test_an_endpoint_receives_only_its_workspace_and_its_types(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    endpoint(pipeline, there.url("/all"))
    endpoint(
        pipeline, there.url("/some"), event_types=["video.unpublished", "video.publish_failed"]
    )
    endpoint(pipeline, there.url("/none"), event_types=["video.unpublished"], workspace_id=2)
    endpoint(pipeline, there.url("/off"), state="disabled")
    [video] = publish(pipeline)
    pipeline.publish(PublishRequest(video_id=video, action=Action.UNPUBLISH))
    publish(pipeline, workspace_id=2)
    courier.send_due()
    received = {path: sorted(r.event["type"] for r in there.at(path)) for path in ("/all", "/some")}
    assert received == {
        "/all": ["video.published", "video.unpublished"],
        "/some": ["video.unpublished"],
    }
    assert not there.at("/none")
    assert not there.at("/off")


def test_a_new_endpoint_receives_only_later_events_even_if_fan_out_lags(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    endpoint(pipeline, there.url("/first"))
    pipeline.publish(pipeline.video())  # not fanned out yet
    endpoint(pipeline, there.url("/second"))
    publish(pipeline)
    courier.send_due()
    sequences = {
        path: sorted(r.event["sequence"] for r in there.at(path)) for path in ("/first", "/second")
    }
    assert sequences == {"/first": ["1", "2"], "/second": ["2"]}


def test_no_event_is_fanned_out_while_an_endpoint_is_being_made(
    pipeline: Pipeline, there: Receiver
) -> None:
    endpoint(pipeline, there.url("/first"))
    with transaction(pipeline.engine) as tx:
        fan_out_rows.lock_last_position(tx)
        pipeline.publish(pipeline.video())
        waiting = threading.Thread(target=fan_out, args=(pipeline.engine,))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        tx.execute("UPDATE publisher.webhook_endpoint SET event_types = '{video.unpublished}'")
    waiting.join()
    assert states(pipeline) == []


def test_an_endpoint_that_is_deleted_meanwhile_gets_nothing(
    pipeline: Pipeline, there: Receiver
) -> None:
    deleted = endpoint(pipeline, there.url("/deleted"))
    endpoint(pipeline, there.url("/kept"))
    pipeline.publish(pipeline.video())
    with ThreadPoolExecutor() as pool:
        with transaction(pipeline.engine) as tx:
            endpoint_rows.delete(tx, deleted)
            waiting = pool.submit(fan_out, pipeline.engine)
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
        assert waiting.result() == 1


def test_many_at_once_fan_out_each_event_once(pipeline: Pipeline, there: Receiver) -> None:
    for path in ("/a", "/b"):
        endpoint(pipeline, there.url(path))
    pipeline.publish(*(pipeline.video() for _ in range(30)))
    with patch("worker.webhooks.fan_out.BATCH", 7):
        threads = [threading.Thread(target=fan_out, args=(pipeline.engine,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    counts = "SELECT position, count(*) FROM publisher.webhook_delivery GROUP BY 1 ORDER BY 1"
    assert pipeline.rows(counts) == [(position, 2) for position in range(1, 31)]


# What the receiver may do.

TOO_LONG = "The answer is longer than what is read of it."


@pytest.mark.parametrize(
    ("answer", "tried"),
    [
        (says(500, b"no\x00pe"), (500, None, "no\N{REPLACEMENT CHARACTER}pe")),
        (says(302, location="/elsewhere"), (302, None, "")),
        (answers.drops, (None, "Server disconnected without sending a response.", None)),
        (
            answers.talks_nonsense,
            (None, "illegal status line: bytearray(b'220 mail.example ESMTP')", None),
        ),
        (answers.headers_without_end, (None, TOO_LONG, None)),
        (answers.hints, (None, TOO_LONG, None)),
        (answers.continues, (None, "There were more than 10 interim answers.", None)),
        (says(429, retry_after="Mon, 20 Nov 9999999999 12:00:00 GMT"), (429, None, "")),
        (says(500, b"\x1b[2Jred\x85\xff"), (500, None, "\ufffd[2Jred\ufffd\ufffd")),
        (
            answers.sends(b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n"),
            (None, "bad Content-Length", None),
        ),
    ],
)
def test_a_failed_attempt_is_logged_and_retried_after_five_seconds(
    pipeline: Pipeline, there: Receiver, courier: Courier, answer: Any, tried: tuple[Any, ...]
) -> None:
    there.answers["/"] = answer
    endpoint(pipeline, there.url())
    publish(pipeline)
    courier.send_due()
    assert states(pipeline) == ["pending"]
    assert 4 < seconds_until_due(pipeline) < 6.1
    assert the_attempt(pipeline) == tried
    assert not there.at("/elsewhere")
    there.answers.clear()
    make_due(pipeline)
    courier.send_due()
    assert states(pipeline) == ["delivered"]
    assert len({request.id for request in there.received}) == 1


@pytest.mark.parametrize("answer", [answers.never_ends, answers.trickles])
def test_the_status_decides_and_a_body_without_end_is_cut_off(
    pipeline: Pipeline, there: Receiver, courier: Courier, answer: Any
) -> None:
    there.answers["/"] = answer
    endpoint(pipeline, there.url())
    kept = "so far" if answer is answers.trickles else "x" * 1024

    def is_kept() -> bool:
        """Whether it is, unless this machine pauses before the part arrives."""
        publish(pipeline)
        courier.send_due()
        assert set(states(pipeline)) == {"delivered"}
        attempts = "SELECT status, error, answer FROM publisher.webhook_attempt"
        return (200, None, kept) in pipeline.rows(attempts)

    with patch.object(attempt, "BODY_SECONDS", 0.1):
        wait_until(is_kept, "the part that arrived")


def test_an_endpoint_that_answers_410_is_disabled(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    there.answers["/gone"] = says(410)
    gone = endpoint(pipeline, there.url("/gone"))
    endpoint(pipeline, there.url("/other"), event_types=["webhook.endpoint_disabled"])
    publish(pipeline, count=2 * PER_ENDPOINT)
    courier.send_due()
    assert state_of(pipeline, gone) == ("disabled", "gone")
    assert set(states(pipeline, gone)) == {"failed", "cancelled"}
    fan_out(pipeline.engine)
    courier.send_due()
    [request] = there.at("/other")
    assert request.event["subject"] == request.event["partitionkey"] == str(gone)
    assert request.event["data"]["reason"] == "gone"
    assert request.event["data"]["detail"] == "It answered 410."
    assert len(there.at("/gone")) <= PER_ENDPOINT


@pytest.mark.parametrize(("days", "state"), [(4.9, "enabled"), (5.1, "disabled")])
def test_an_endpoint_that_only_fails_for_five_days_is_disabled(
    pipeline: Pipeline, there: Receiver, courier: Courier, days: float, state: str
) -> None:
    there.answers["/"] = says(500)
    since = datetime.now(UTC) - timedelta(days=days)
    failing = endpoint(pipeline, there.url(), failing_since=since)
    publish(pipeline)
    courier.send_due()
    reason = "failing" if state == "disabled" else None
    assert state_of(pipeline, failing) == (state, reason)
    assert states(pipeline) == [("cancelled" if reason else "pending")]
    types = [event["type"] for event in pipeline.events()]
    assert types == ["video.published", *(["webhook.endpoint_disabled"] if reason else [])]


def test_one_success_clears_failing_since(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    endpoint(pipeline, there.url(), failing_since=datetime.now(UTC) - timedelta(days=9))
    publish(pipeline)
    courier.send_due()
    assert pipeline.rows("SELECT state, failing_since FROM publisher.webhook_endpoint") == [
        ("enabled", None)
    ]


def test_retry_after_is_respected(pipeline: Pipeline, there: Receiver, courier: Courier) -> None:
    there.answers["/"] = says(429, retry_after="100")
    endpoint(pipeline, there.url())
    publish(pipeline)
    courier.send_due()
    assert 95 < seconds_until_due(pipeline) <= 100


def test_the_eighth_failure_is_final(pipeline: Pipeline, there: Receiver, courier: Courier) -> None:
    there.answers["/"] = says(500)
    endpoint(pipeline, there.url())
    publish(pipeline)
    for _ in range(len(PAUSES) + 3):
        make_due(pipeline)
        courier.send_due()
    assert states(pipeline) == ["failed"]
    assert len(there.received) == len(PAUSES) + 1
    assert pipeline.value("SELECT attempts FROM publisher.webhook_delivery") == len(PAUSES) + 1


def test_a_receiver_that_does_not_answer_delays_no_other(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    release = threading.Event()

    async def wait(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(release.wait, PATIENCE)
        await says(204)(request, writer)

    there.answers["/slow"] = wait
    slow, quick = endpoint(pipeline, there.url("/slow")), endpoint(pipeline, there.url("/quick"))
    videos = 3 * PER_ENDPOINT

    def is_done(endpoint_id: UUID) -> bool:
        send_quickly(courier)
        return states(pipeline, endpoint_id) == ["delivered"] * videos

    with patch.object(attempt, "TIMEOUT_SECONDS", PATIENCE):
        publish(pipeline, count=videos)
        wait_until(lambda: is_done(quick), "the other one's deliveries")
        assert states(pipeline, slow) == ["pending"] * videos
        wait_until(lambda: len(there.at("/slow")) >= PER_ENDPOINT, "those in flight")
        assert len(there.at("/slow")) == PER_ENDPOINT, "no more than that"
        release.set()
        wait_until(lambda: is_done(slow), "its own deliveries")


def test_a_receiver_that_never_answers_times_out_and_gets_one_request_at_a_time(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    there.answers["/slow"] = answers.hangs
    endpoint(pipeline, there.url("/slow"))
    tried = "SELECT sum(attempts) FROM publisher.webhook_delivery"
    with patch.object(attempt, "TIMEOUT_SECONDS", 2.0):
        publish(pipeline, count=3 * PER_ENDPOINT)
        send_quickly(courier)
        wait_until(
            lambda: pipeline.value(tried) == PER_ENDPOINT, "the results, without another run"
        )
        send_quickly(courier)
        wait_until(lambda: pipeline.value(tried) == PER_ENDPOINT + 1, "the result of one")
        assert len(there.at("/slow")) == PER_ENDPOINT + 1
    errors = pipeline.rows("SELECT DISTINCT error FROM publisher.webhook_attempt WHERE error <> ''")
    assert errors == [("There was no answer within 2 seconds.",)]


def test_the_time_of_an_attempt_is_bounded_whatever_arrives(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    there.answers["/"] = answers.drips
    endpoint(pipeline, there.url())
    with patch.object(attempt, "TIMEOUT_SECONDS", 0.2):
        publish(pipeline)
        courier.send_due()
    assert the_attempt(pipeline) == (None, "There was no answer within 0.2 seconds.", None)


def test_a_few_interim_answers_precede_the_final_one(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    there.answers["/"] = answers.sends(interim * 5 + b"HTTP/1.1 201 Made\r\n\r\nyes")
    endpoint(pipeline, there.url())
    publish(pipeline)
    courier.send_due()
    assert the_attempt(pipeline) == (201, None, "yes")


NEXT = b"HTTP/1.1 500 Not the next answer\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 204 Done\r\n\r\n",
        b"HTTP/1.1 204 Done\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
def test_bytes_after_an_answer_are_not_read_as_the_next_one(
    pipeline: Pipeline, make_courier: MakeCourier, first: bytes, is_tls: bool
) -> None:
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    with (
        patch.object(connections, "create_ssl_context", return_value=trusting),
        receiver(tls() if is_tls else None) as there,
    ):
        there.answers["/"] = answers.says_more(NEXT, first=first)
        endpoint(pipeline, f"{'https' if is_tls else 'http'}://hooks.test:{there.port}/")
        courier = make_courier(resolve=resolve_to_loopback)
        for _ in range(2):
            publish(pipeline)
            courier.send_due()
    tried = pipeline.rows("SELECT status FROM publisher.webhook_attempt ORDER BY started_at")
    assert [status for (status,) in tried] == [int(first[9:12]), 204]


def test_connections_are_kept(pipeline: Pipeline, there: Receiver, courier: Courier) -> None:
    endpoint(pipeline, there.url())
    for _ in range(3):
        publish(pipeline)
        courier.send_due()
    assert len(there.received) == 3
    assert there.connections == 1


# Order.


def test_nothing_overtakes_an_earlier_event_of_the_same_video(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    there.answers["/"] = says(500)
    endpoint(pipeline, there.url())
    [video] = publish(pipeline)
    courier.send_due()
    there.answers.clear()
    pipeline.publish(PublishRequest(video_id=video, action=Action.UNPUBLISH))
    pipeline.execute("UPDATE publisher.webhook_endpoint SET failing_since = NULL")
    publish(pipeline)
    courier.send_due()
    assert states(pipeline) == ["pending", "pending", "delivered"]
    make_due(pipeline)
    courier.send_due()
    assert states(pipeline) == ["delivered"] * 3
    assert sequences(there.received) == [1, 3, 1, 2]


def test_later_events_of_a_video_become_due_with_the_retry_of_the_failed_one(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    there.answers["/"] = says(500)
    made = endpoint(pipeline, there.url())
    [video] = publish(pipeline)
    withdraw = PublishRequest(video_id=video, action=Action.UNPUBLISH)
    pipeline.publish(withdraw)
    fan_out(pipeline.engine)
    courier.send_due()
    pipeline.publish(video)
    fan_out(pipeline.engine)
    assert len(set(due_times(pipeline))) == 1, "fanned out before the failure, and after it"
    assert claim(pipeline.engine, 10) == []
    there.answers.clear()
    first = pipeline.value("SELECT id FROM publisher.webhook_delivery WHERE position = 1")
    with transaction(pipeline.engine) as tx:
        replays.replay_one(tx, made, first)
    courier.send_due()
    assert sequences(there.received) == [1, 1, 2, 3]


def due_times(pipeline: Pipeline) -> list[datetime]:
    return [row[0] for row in pipeline.rows("SELECT due_at FROM publisher.webhook_delivery")]


def test_many_events_of_one_video_arrive_in_order(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    endpoint(pipeline, there.url())
    video = pipeline.video()
    for _ in range(5):
        pipeline.publish(video)
        pipeline.publish(PublishRequest(video_id=video, action=Action.UNPUBLISH))
    fan_out(pipeline.engine)
    courier.send_due()
    assert sequences(there.received) == list(range(1, 11))


# Crashes and concurrent changes.


def test_the_claims_of_a_dead_process_expire_and_are_sent_again(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    endpoint(pipeline, there.url())
    publish(pipeline)
    assert len(claim(pipeline.engine, 10)) == 1  # the process dies here
    courier.send_due()
    assert there.received == []
    expire_claims(pipeline)
    courier.send_due()
    assert states(pipeline) == ["delivered"]


def test_a_late_result_does_not_overwrite_a_later_claim(
    pipeline: Pipeline, there: Receiver
) -> None:
    endpoint(pipeline, there.url())
    publish(pipeline)
    [early] = claim(pipeline.engine, 10)
    expire_claims(pipeline)
    [late] = claim(pipeline.engine, 10)
    failure = Attempt(
        started_at=datetime.now(UTC), duration_ms=1, status=500, error=None, answer=None
    )
    write_results(pipeline.engine, [to_result(late, replace(failure, status=200), 0.0)])
    write_results(pipeline.engine, [to_result(early, failure, 0.0)])
    assert states(pipeline) == ["delivered"]
    assert pipeline.value("SELECT count(*) FROM publisher.webhook_attempt") == 2, "both were made"


def test_results_of_a_deleted_endpoint_are_dropped(pipeline: Pipeline, there: Receiver) -> None:
    endpoint(pipeline, there.url())
    publish(pipeline)
    [held] = claim(pipeline.engine, 10)
    pipeline.execute("DELETE FROM publisher.webhook_endpoint")
    tried = Attempt(started_at=datetime.now(UTC), duration_ms=1, status=410, error=None, answer="")
    write_results(pipeline.engine, [to_result(held, tried, 0.0)])
    assert pipeline.value("SELECT count(*) FROM publisher.webhook_attempt") == 0


def test_results_that_cannot_be_written_are_sent_once_more(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    endpoint(pipeline, there.url())
    publish(pipeline)
    full = DiskFull("no space left")
    with (
        patch.object(deliveries, "write_results", side_effect=full),
        patch.object(results, "WRITE_SECONDS", 0.1),
    ):
        courier.send_due()
    assert states(pipeline) == ["pending"]
    expire_claims(pipeline)
    courier.send_due()
    assert states(pipeline) == ["delivered"]
    assert len(there.received) == 2


def test_a_delivery_that_cannot_be_signed_fails_and_delays_no_other(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    broken = endpoint(pipeline, there.url("/broken"), secret="whsec_")  # noqa: S106 - it is none
    good = endpoint(pipeline, there.url())
    publish(pipeline)
    courier.send_due()
    assert states(pipeline, good) == ["delivered"]
    assert not there.at("/broken")
    tried = "SELECT attempts FROM publisher.webhook_delivery WHERE endpoint_id = %s"
    for attempts in range(1, len(PAUSES) + 2):
        assert pipeline.value(tried, broken) == attempts
        make_due(pipeline)
        courier.send_due()
    assert states(pipeline, broken) == ["failed"]


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
STRANGE_ANSWERS = [
    b"",
    b"\r\n\r\n",
    b"\x00" * 100,
    b"\xff\xfe" * 100,
    b"HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 200\r\n\r\n",
    b"HTTP/1.1 \r\n\r\n",
    b"HTTP/1.1 OK 200\r\n\r\n",
    b"HTTP/1.1 000 Zero\r\n\r\n",
    b"HTTP/1.1 099 Low\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
    b"HTTP/1.1 999 High\r\n\r\n",
    b"HTTP/1.1 1000 Longer\r\n\r\n",
    b"HTTP/1.1 -20 Negative\r\n\r\n",
    b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 Arabic\r\n\r\n",
    b"HTTP/1.1 500 \x00\x1b[2J\xff\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    HEAD + b": no name\r\n\r\n",
    HEAD + b"no colon\r\n\r\n",
    HEAD + b" folded\r\n\r\n",
    HEAD + b"x-nul: \x00\r\n\r\n",
    HEAD + b"content-length: -1\r\n\r\n",
    HEAD + b"content-length: 1, 2\r\n\r\nab",
    HEAD + b"content-length: " + b"9" * 5000 + b"\r\n\r\n",
    HEAD + b"content-length: \xb2\r\n\r\n",
    HEAD + b"content-length: 5\r\n\r\nab",
    HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b",
    HEAD + b"transfer-encoding: gzip\r\n\r\nab",
    CHUNKED + b"zz\r\n",
    CHUNKED + b"-1\r\nab\r\n",
    CHUNKED + b"f" * 30 + b"\r\nab",
    CHUNKED + b"2\r\nabXX0\r\n\r\n",
    CHUNKED + b"2\r\nab\r\n0\r\nno colon\r\n\r\n",
    CHUNKED + b"2;" + b"x" * 200_000 + b"\r\nab\r\n0\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nretry-after: \xb2\xb3\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nretry-after: -5\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nretry-after: Mon, 20 Nov -1 12:00:00 GMT\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nretry-after: Mon, 20 Nov 2026 12:00:00 +999999999999\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\n" + b"retry-after: 1\r\n" * 1000 + b"\r\n",
]


def test_every_answer_is_recorded_as_one_attempt(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    for index, answer in enumerate(STRANGE_ANSWERS):
        there.answers[f"/{index}"] = answers.sends(answer)
        endpoint(pipeline, there.url(f"/{index}"))
    publish(pipeline)
    courier.send_due()
    wait_until(lambda: len(there.received) == len(STRANGE_ANSWERS), "every request")
    counts = pipeline.rows(
        "SELECT d.attempts, count(a.id) FROM publisher.webhook_delivery d"
        " LEFT JOIN publisher.webhook_attempt a ON a.delivery_id = d.id GROUP BY d.id"
    )
    assert counts == [(1, 1)] * len(STRANGE_ANSWERS)


@pytest.mark.parametrize("text", ["NUL \x00", "a lone surrogate \ud800"])
def test_a_result_that_cannot_be_stored_loses_its_texts_only(
    pipeline: Pipeline, there: Receiver, text: str
) -> None:
    endpoint(pipeline, there.url())
    publish(pipeline, count=5)
    tried = Attempt(started_at=datetime.now(UTC), duration_ms=1, status=500, error=None, answer="a")
    found = [to_result(delivery, tried, 0.0) for delivery in claim(pipeline.engine, 5)]
    found[2] = replace(found[2], attempt=replace(tried, answer=text))
    results.try_write_results(pipeline.engine, found)
    assert states(pipeline) == ["pending"] * 5
    assert (
        pipeline.rows(
            "SELECT attempts, answer, error FROM publisher.webhook_delivery d"
            " JOIN publisher.webhook_attempt a ON a.delivery_id = d.id ORDER BY position"
        )
        == [(1, "a", None)] * 2 + [(1, None, results.REFUSED)] + [(1, "a", None)] * 2
    )


def expire_claims(pipeline: Pipeline) -> None:
    pipeline.execute(
        "UPDATE publisher.webhook_delivery"
        " SET claimed_until = claimed_until - %s, due_at = due_at - %s",
        LEASE,
        LEASE,
    )


# Addresses.


def test_a_name_that_changes_to_a_private_address_is_not_connected_to(
    pipeline: Pipeline, there: Receiver, make_courier: MakeCourier
) -> None:
    found = iter([["93.184.216.34"], ["127.0.0.1"]])

    def resolve(_host: str, _port: int) -> list[str]:
        return next(found)

    url = f"https://rebind.example:{there.port}/"
    check_url(url, 1, allow_private=False, look_ups=LookUps(resolve))
    endpoint(pipeline, url)
    publish(pipeline)
    make_courier(allow_private=False, resolve=resolve).send_due()
    assert there.connections == 0
    _, error, _ = the_attempt(pipeline)
    assert error is not None
    assert error.startswith("The host is at 127.0.0.1, which is not a public address.")


def test_a_name_with_one_private_address_is_refused(
    pipeline: Pipeline, there: Receiver, make_courier: MakeCourier
) -> None:
    def resolve(_host: str, _port: int) -> list[str]:
        return ["93.184.216.34", "::ffff:127.0.0.1"]

    url = f"https://mixed.example:{there.port}/"
    with pytest.raises(AddressRefused):
        check_url(url, 1, allow_private=False, look_ups=LookUps(resolve))
    endpoint(pipeline, url)
    publish(pipeline)
    make_courier(allow_private=False, resolve=resolve).send_due()
    assert there.connections == 0


def test_the_checked_address_itself_is_connected_to(
    pipeline: Pipeline, there: Receiver, make_courier: MakeCourier
) -> None:
    asked: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    endpoint(pipeline, there.url(host="known-to-nobody-else.example"))
    publish(pipeline)
    make_courier(resolve=resolve).send_due()
    assert asked == ["known-to-nobody-else.example"]
    assert there.received[0].headers["host"] == f"known-to-nobody-else.example:{there.port}"


def resolve_to_loopback(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def test_tls_uses_the_name_although_the_address_is_connected_to(
    pipeline: Pipeline, make_courier: MakeCourier
) -> None:
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    asked: list[str] = []
    serving = tls()
    serving.sni_callback = lambda _socket, name, _context: asked.append(name)
    with (
        patch.object(connections, "create_ssl_context", return_value=trusting),
        receiver(serving) as there,
    ):
        right = endpoint(pipeline, f"https://hooks.test:{there.port}/")
        wrong = endpoint(pipeline, f"https://other.test:{there.port}/")
        publish(pipeline)
        make_courier(resolve=resolve_to_loopback).send_due()
    assert (states(pipeline, right), states(pipeline, wrong)) == (["delivered"], ["pending"])
    assert sorted(asked) == ["hooks.test", "other.test"]
    errors = pipeline.rows("SELECT error FROM publisher.webhook_attempt WHERE status IS NULL")
    assert "certificate is not valid for 'other.test'" in errors[0][0]


def test_names_that_never_resolve_delay_no_other_workspace(
    pipeline: Pipeline, there: Receiver, make_courier: MakeCourier
) -> None:
    release, arrived, asked = threading.Event(), threading.Event(), list[str]()

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        if host.startswith("never"):
            release.wait(2 * PATIENCE)
        return ["127.0.0.1"]

    async def note_arrival(request: Received, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await says(204)(request, writer)

    there.answers["/"] = note_arrival

    for nth in range(2 * THREADS):
        endpoint(pipeline, there.url(host=f"never-{nth}.example"))
    other = endpoint(pipeline, there.url(host="known.example"), workspace_id=2)
    publish(pipeline, workspace_id=1)
    publish(pipeline, workspace_id=2)
    courier = make_courier(resolve=resolve)
    with ThreadPoolExecutor(1) as pool, patch.object(look_ups, "LOOK_UP_SECONDS", PATIENCE):
        sending = pool.submit(courier.send_due)
        assert arrived.wait(PATIENCE), "before any of the others is given up"
        assert len(asked) == PER_WORKSPACE + 1
        release.set()
        sending.result()
    assert states(pipeline, other) == ["delivered"]


def test_a_name_that_never_resolves_is_given_up(
    pipeline: Pipeline, there: Receiver, make_courier: MakeCourier
) -> None:
    release = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        release.wait(PATIENCE)
        return ["127.0.0.1"]

    for nth in range(PER_WORKSPACE + 1):
        endpoint(pipeline, there.url(host=f"never-{nth}.example"))
    publish(pipeline)
    with patch.object(look_ups, "LOOK_UP_SECONDS", 0.3):
        make_courier(resolve=resolve).send_due()
    release.set()
    errors = pipeline.rows("SELECT DISTINCT left(error, 8) FROM publisher.webhook_attempt")
    assert errors == [("The name",)]


def test_a_slow_look_up_delays_no_other_endpoint(
    pipeline: Pipeline, there: Receiver, make_courier: MakeCourier
) -> None:
    release = threading.Event()

    def resolve(host: str, _port: int) -> list[str]:
        if host == "slow.example":
            release.wait(PATIENCE)
        return ["127.0.0.1"]

    slow = endpoint(pipeline, there.url(host="slow.example"))
    quick = endpoint(pipeline, there.url(host="quick.example"))
    publish(pipeline, count=PER_ENDPOINT)
    courier = make_courier(resolve=resolve)

    def is_quick_one_done() -> bool:
        send_quickly(courier)
        return states(pipeline, quick) == ["delivered"] * PER_ENDPOINT

    with patch.object(look_ups, "LOOK_UP_SECONDS", PATIENCE):
        wait_until(is_quick_one_done, "the other one's deliveries")
    assert "delivered" not in states(pipeline, slow)
    release.set()


# Replays.


def test_one_delivery_is_replayed(pipeline: Pipeline, there: Receiver, courier: Courier) -> None:
    made = endpoint(pipeline, there.url())
    publish(pipeline, count=2)
    courier.send_due()
    first = pipeline.value("SELECT id FROM publisher.webhook_delivery WHERE position = 1")
    with transaction(pipeline.engine) as tx:
        assert replays.replay_one(tx, made, first)
        assert not replays.replay_one(tx, first, made), "no such delivery"
    courier.send_due()
    assert sequences(there.received)[2:] == [1]
    assert len({r.id for r in there.received}) == 2


def test_a_replay_since_a_position_includes_events_never_sent(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    publish(pipeline, count=2)
    made = endpoint(pipeline, there.url())
    publish(pipeline, count=3)
    courier.send_due()
    there.received.clear()
    since: int | None = 2
    got = 0
    while since is not None:
        with transaction(pipeline.engine) as tx:
            replayed = replays.replay_since(tx, made, since, limit=3)
        since = replayed.next_position
        got += replayed.deliveries
    courier.send_due()
    assert got == 4
    assert sorted(sequences(there.received)) == [2, 3, 4, 5]


def test_failed_deliveries_are_replayed(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    made = endpoint(pipeline, there.url())
    publish(pipeline, count=3)
    pipeline.execute(
        "UPDATE publisher.webhook_delivery SET state = 'failed', attempts = 8 WHERE position > 1"
    )
    with transaction(pipeline.engine) as tx:
        assert replays.replay_failed(tx, made).deliveries == 2
    courier.send_due()
    assert states(pipeline) == ["delivered"] * 3


def test_a_replay_leaves_an_attempt_in_flight_alone(pipeline: Pipeline, there: Receiver) -> None:
    made = endpoint(pipeline, there.url())
    publish(pipeline)
    [held] = claim(pipeline.engine, 10)
    with transaction(pipeline.engine) as tx:
        assert replays.replay_one(tx, made, held.id)
        replays.replay_since(tx, made, 1)
    assert claim(pipeline.engine, 10) == []


# Failures of our own engines are not the receiver's.


def test_a_read_only_database_costs_no_attempt_and_no_second_request(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    name = pipeline.value("SELECT current_database()")
    read_only = f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'
    end_sessions = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    admin: Any = psycopg.connect(
        pipeline.engine.url.set(drivername="postgresql").render_as_string(False)
    )
    admin.autocommit = True
    endpoint(pipeline, there.url())
    publish(pipeline)
    tried = Attempt(started_at=datetime.now(UTC), duration_ms=1, status=200, error=None, answer="")
    [held] = claim(pipeline.engine, 1)
    admin.execute(read_only)
    admin.execute(end_sessions)
    with pytest.raises(DATABASE_ERRORS):
        courier.send_due()
    writing = threading.Thread(
        target=results.try_write_results, args=(pipeline.engine, [to_result(held, tried, 0.0)])
    )
    writing.start()
    admin.execute("SET default_transaction_read_only = off")
    admin.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    writing.join()
    publish(pipeline)
    courier.send_due()
    admin.close()
    assert pipeline.rows("SELECT state, attempts FROM publisher.webhook_delivery") == [
        ("delivered", 1),
        ("delivered", 1),
    ]
    assert sequences(there.received) == [2]


def test_a_lost_connection_costs_no_attempt(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    async def end_sessions(request: Received, writer: asyncio.StreamWriter) -> None:
        pipeline.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await says(204)(request, writer)

    there.answers["/"] = end_sessions
    endpoint(pipeline, there.url())
    publish(pipeline)
    courier.send_due()
    wait_until(lambda: states(pipeline) == ["delivered"], "the result to be written")
    assert pipeline.value("SELECT attempts FROM publisher.webhook_delivery") == 1
    assert len(there.received) == 1


# The run lock.


def test_a_redis_that_refuses_writes_does_not_stop_deliveries(redis: Redis) -> None:
    redis.replicaof("127.0.0.1", str(free_port()))
    try:
        with acquire_run_lock(redis, "a") as acquired:
            assert acquired, "READONLY"
    finally:
        redis.replicaof("NO", "ONE")
    redis.config_set("maxmemory", "1")
    try:
        with acquire_run_lock(redis, "a") as acquired:
            assert acquired, "OOM"
    finally:
        redis.config_set("maxmemory", "0")


def test_one_run_at_a_time_on_each_worker(redis: Redis) -> None:
    a, b = "worker@a", "worker@b"
    with acquire_run_lock(redis, a) as first, acquire_run_lock(redis, a) as second:
        with acquire_run_lock(redis, b) as elsewhere:
            assert (first, second, elsewhere) == (True, False, True)
        assert redis.keys() == [b"publish-worker:run-lock:webhooks:worker@a"]
    assert redis.keys() == []


def test_without_redis_every_process_has_the_run_lock() -> None:
    unreachable = open_hint_redis(f"redis://127.0.0.1:{free_port()}/0")
    with (
        unreachable as dead,
        acquire_run_lock(dead, "a") as one,
        acquire_run_lock(dead, "a") as two,
    ):
        assert (one, two) == (True, True)


# Pruning.


def test_the_outbox_keeps_undelivered_events(
    pipeline: Pipeline, there: Receiver, courier: Courier
) -> None:
    endpoint(pipeline, there.url())
    publish(pipeline, count=3)
    courier.send_due()
    publish(pipeline)
    pipeline.publish(pipeline.video())  # not even fanned out
    pipeline.events()
    settings = Settings(stream_keep_days=1e-9, outbox_keep_days=1e-9)
    pruned = retention.prune(pipeline.engine, pipeline.redis, settings)
    assert (pruned.outbox, pruned.deliveries) == (3, 3)
    assert pipeline.value("SELECT count(*) FROM publisher.webhook_attempt") == 0
    fan_out(pipeline.engine)
    courier.send_due()
    assert sorted(sequences(there.received)) == [1, 2, 3, 4, 5]


def test_the_outbox_keeps_nothing_for_disabled_endpoints(
    pipeline: Pipeline, there: Receiver
) -> None:
    endpoint(pipeline, there.url())
    publish(pipeline)
    pipeline.execute("UPDATE publisher.webhook_endpoint SET state = 'disabled'")
    with transaction(pipeline.engine) as tx:
        assert fan_out_rows.read_needed_position(tx) is None


# Cost.


def test_the_number_of_statements_does_not_grow_with_deliveries(
    pipeline: Pipeline, there: Receiver
) -> None:
    for path in ("/a", "/b", "/c"):
        endpoint(pipeline, there.url(path))
    pipeline.publish(*(pipeline.video() for _ in range(40)))
    with counted() as statements:
        assert fan_out(pipeline.engine) == 120
    assert sent(statements) == 2
    with counted() as statements:
        claimed = claim(pipeline.engine, 100)
    assert len(claimed) == 3 * PER_ENDPOINT
    assert sent(statements) == 1
    tried = Attempt(started_at=datetime.now(UTC), duration_ms=1, status=200, error=None, answer="")
    with counted() as statements:
        write_results(pipeline.engine, [to_result(delivery, tried, 0.0) for delivery in claimed])
    assert sent(statements) == 2
    assert states(pipeline).count(DeliveryState.DELIVERED) == len(claimed)


def test_without_endpoints_fan_out_needs_one_statement(pipeline: Pipeline) -> None:
    pipeline.publish(pipeline.video())
    with counted() as statements:
        assert fan_out(pipeline.engine) == 0
    assert sent(statements) == 1
