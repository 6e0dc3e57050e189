"""Publisher(url): commands over HTTP, sent again until they are answered, and accepted once."""

import asyncio
import json
import threading
from asyncio import StreamWriter
from collections.abc import Awaitable, Generator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from publish_worker_client import (
    AccessRefused,
    Action,
    AsyncPublisher,
    ChangedVideo,
    InvalidPublication,
    Publication,
    Publisher,
    PublishRefused,
    ReusedKey,
    Unanswered,
    UnknownVideo,
    WrongState,
)
from publish_worker_client.publish import answers, http
from tests.support.free_port import free_port
from tests.support.pipeline import Pipeline
from tests.support.receiver import Answer, Received, receiver, says
from tests.support.served import Served, served
from tests.support.waiting import PATIENCE

COUNT = "SELECT count(*) FROM publisher.publish_command"


PATH = "/api/v1/publish-commands"


def reach(api: Served, received: Received) -> httpx2.AsyncClient:
    """A client that passes a request on."""
    return httpx2.AsyncClient(base_url=api.url, headers=received.headers, timeout=PATIENCE)


def in_turn(*answers: Answer) -> Answer:
    """Give each request the next answer."""
    left = iter(answers)

    def answer(received: Received, writer: StreamWriter) -> Awaitable[None]:
        return next(left)(received, writer)

    return answer


@pytest.fixture
def publisher(api: Served, key: str) -> Generator[Publisher]:
    with Publisher(api.url, api_key=key) as publisher:
        yield publisher


def test_a_video_is_published_and_its_outcome_awaited(
    pipeline: Pipeline, publisher: Publisher
) -> None:
    video = pipeline.video()
    command_id = publisher.publish(video, correlation_id="job-4711")
    assert publisher.read_command(command_id).state == "scheduled"
    assert not publisher.await_outcome(command_id, 0.05).has_ended
    pipeline.run()
    command = publisher.await_outcome(command_id)
    assert (command.state, command.video_id) == ("published", video)
    assert command.correlation_id == "job-4711"


def test_fields_of_the_video_are_applied(pipeline: Pipeline, publisher: Publisher) -> None:
    video = pipeline.video()
    request: dict[str, Any] = {"template": {}, "owner": {}, "title": "Attention", "workspace": 1}
    publisher.publish(video, video=request)
    pipeline.run()
    assert pipeline.events()[0]["data"]["title"] == "Attention"


def test_each_publication_has_the_id_of_its_command(
    pipeline: Pipeline, publisher: Publisher
) -> None:
    first, second, third = (pipeline.video() for _ in range(3))
    begin = datetime(2030, 6, 1, 18, tzinfo=UTC)
    ids = publisher.enqueue(
        [
            Publication(video_id=second, at=begin, until=begin + timedelta(days=1)),
            Publication(video_id=third, until=begin, action=Action.UNPUBLISH),
            Publication(video_id=first, at=datetime(2030, 6, 1), time_zone="Europe/Berlin"),  # noqa: DTZ001 - a wall-clock time
        ]
    )
    commands = [publisher.read_command(each) for each in ids]
    assert [(each.video_id, each.action) for each in commands] == [
        (second, "publish"),
        (third, "unpublish"),
        (first, "publish"),
    ]
    assert pipeline.command(publisher.unpublish(first)).action == "unpublish"


def test_a_refusal_has_its_own_class(pipeline: Pipeline, publisher: Publisher) -> None:
    video = pipeline.video()
    with pytest.raises(UnknownVideo, match="999999") as refused:
        publisher.publish(999_999)
    assert refused.value.problem["errors"][0]["code"] == "no_such_video"
    with pytest.raises(ChangedVideo):
        publisher.publish(video, expected_revision=7)
    with pytest.raises(InvalidPublication):
        publisher.publish(video, video={"title": "incomplete"})
    publisher.publish(video, idempotency_key="k")
    with pytest.raises(ReusedKey):
        publisher.publish(video, expected_revision=0, idempotency_key="k")
    with pytest.raises(UnknownVideo):
        publisher.read_command(uuid4())
    assert pipeline.value(COUNT) == 1


def test_a_wrong_key_is_refused(api: Served) -> None:
    with Publisher(api.url, api_key="pw_wrong") as publisher, pytest.raises(AccessRefused):
        publisher.publish(7)
    with pytest.raises(AccessRefused, match="keys create"):
        Publisher(api.url)


def test_after_a_lost_answer_the_command_is_sent_again_and_accepted_once(
    pipeline: Pipeline, api: Served, key: str
) -> None:
    async def forward(received: Received, writer: StreamWriter, *, answers: bool) -> None:
        async with httpx2.AsyncClient(base_url=api.url, timeout=PATIENCE) as client:
            answer = await client.post(PATH, content=received.body, headers=received.headers)
        if answers:
            await says(answer.status_code, answer.content)(received, writer)
        else:
            writer.close()

    losing, answering = partial(forward, answers=False), partial(forward, answers=True)
    with receiver() as proxy, Publisher(proxy.url(""), api_key=key) as publisher:
        proxy.answers[PATH] = in_turn(losing, losing, answering)
        command_id = publisher.publish(pipeline.video())
    assert len(proxy.at(PATH)) == 3
    assert pipeline.rows("SELECT id FROM publisher.publish_command") == [(command_id,)]


def test_an_api_that_starts_later_is_waited_for(
    pipeline: Pipeline, redis_url: str, key: str
) -> None:
    port, accepted = free_port(), list[UUID]()
    with Publisher(f"http://127.0.0.1:{port}", api_key=key) as publisher:
        video = pipeline.video()
        call = threading.Thread(target=lambda: accepted.append(publisher.publish(video)))
        call.start()
        with served(pipeline.engine, redis_url, port):
            call.join(PATIENCE)
    assert len(accepted) == 1


def test_a_busy_api_is_asked_again_after_the_time_that_it_names() -> None:
    id_ = uuid4()
    body = json.dumps({"commands": [{"id": str(id_)}], "next": None}).encode()
    busy = says(429, b"{}", **{"Retry-After": "1"})
    with receiver() as api, Publisher(api.url(""), api_key="pw_k") as publisher:
        api.answers[PATH] = in_turn(busy, says(503), says(202, body))
        assert publisher.publish(7) == id_
        keys = {each.headers["idempotency-key"] for each in api.at(PATH)}
    assert len(keys) == 1


def test_without_an_answer_the_error_has_the_key_to_go_on_with() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Publisher(url, api_key="pw_k", retry_seconds=0) as publisher:
        with pytest.raises(Unanswered, match="ConnectError") as unanswered:
            publisher.publish(7)
        assert unanswered.value.idempotency_key is not None
        with pytest.raises(Unanswered, match="may have arrived"):
            publisher.cancel(uuid4())


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (says(301, Location="https://new.example/"), PublishRefused, "new.example"),
        (says(404, b"<html>"), PublishRefused, "answered 404"),
        (says(200, b"<html>"), Unanswered, "is it its URL"),
        (says(200, b'{"x": 1}'), Unanswered, "is it its URL"),
        (says(200, b'{"commands": [{"id": 7}]}'), Unanswered, "is it its URL"),
        (says(200, b'{"commands": []}'), Unanswered, "0 commands.*idempotency_key="),
        (says(401, b"<html>"), AccessRefused, "answered 401"),
        (says(403, b"<html>"), AccessRefused, "answered 403"),
        (says(408), Unanswered, "answered 408"),
        (says(503, b"", **{"Retry-After": "\xb2"}), Unanswered, "answered 503"),
        (says(503, b"", **{"Retry-After": "1000000000"}), Unanswered, "answered 503"),
        (
            says(503, b"", **{"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}),
            Unanswered,
            "answered 503",
        ),
        (
            says(200, b"not gzip at all", **{"Content-Encoding": "gzip"}),
            Unanswered,
            "DecodingError",
        ),
        (says(422, b'{"errors": 5}'), InvalidPublication, "answered 422"),
    ],
)
def test_an_answer_of_another_program_is_named(
    answer: Answer, error: type[Exception], text: str
) -> None:
    with (
        receiver() as other,
        Publisher(other.url(""), api_key="pw_k", retry_seconds=0) as publisher,
    ):
        other.answers[PATH] = answer
        with pytest.raises(error, match=text):
            publisher.publish(7)


def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.1)

    async def drip(_: Received, writer: StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    with (
        receiver() as other,
        Publisher(other.url(""), api_key="pw_k", retry_seconds=0) as publisher,
    ):
        other.answers[PATH] = drip
        with pytest.raises(Unanswered, match="not complete after"):
            publisher.publish(7)


@pytest.mark.parametrize("value", [object(), float("nan"), "\ud800"])
def test_a_video_with_values_that_json_lacks_is_refused(publisher: Publisher, value: Any) -> None:
    with pytest.raises(InvalidPublication, match="JSON"):
        publisher.publish(7, video={"title": value})


@pytest.mark.parametrize("given", ["", " k"])
def test_a_key_that_no_header_keeps_is_refused(publisher: Publisher, given: str) -> None:
    with pytest.raises(InvalidPublication, match="idempotency_key must be"):
        publisher.publish(7, idempotency_key=given)


def test_the_url_may_end_as_up_prints_it(pipeline: Pipeline, api: Served, key: str) -> None:
    with Publisher(f"{api.url}/api/v1/", api_key=key) as publisher:
        publisher.publish(pipeline.video())
    with pytest.raises(ValueError, match="https://"):
        Publisher("localhost:8000", api_key=key)


@pytest.mark.parametrize("option", ["idempotency_key", "correlation_id", "traceparent"])
@pytest.mark.parametrize("value", ["Übertragung\n", 4711, UUID(int=7)])
def test_what_no_header_can_carry_is_refused(publisher: Publisher, option: str, value: Any) -> None:
    publish: Any = publisher.publish  # each option by its name
    with pytest.raises(InvalidPublication, match="printable ASCII"):
        publish(7, **{option: value})


@pytest.mark.parametrize("count", [0, 1_001])
def test_one_call_accepts_up_to_a_thousand(publisher: Publisher, count: int) -> None:
    with pytest.raises(InvalidPublication, match="1 to 1000"):
        publisher.enqueue([Publication(video_id=1)] * count)


BEGIN = datetime(2030, 6, 1, 18, tzinfo=UTC)


def test_a_command_gets_another_time_and_deadline(pipeline: Pipeline, publisher: Publisher) -> None:
    id_ = publisher.publish(pipeline.video(), at=BEGIN, until=BEGIN + timedelta(days=9))
    changed = publisher.reschedule(id_, at=datetime(2030, 6, 2, 18), time_zone="Africa/Cairo")  # noqa: DTZ001 - a wall-clock time
    assert changed.publish_at == datetime(2030, 6, 2, 15, tzinfo=UTC)
    assert changed.publish_before is None
    changed = publisher.reschedule(id_, deadline=BEGIN + timedelta(days=8))
    assert changed.publish_before == BEGIN + timedelta(days=8)
    assert changed.publish_at == datetime(2030, 6, 2, 15, tzinfo=UTC)
    assert publisher.reschedule(id_, deadline=None).publish_before is None

    assert changed.counterpart_id is not None
    end = publisher.reschedule(changed.counterpart_id, at=BEGIN + timedelta(days=3))
    assert (end.unpublish_at, end.counterpart_id) == (BEGIN + timedelta(days=3), id_)


def test_a_change_that_is_not_valid_is_refused(pipeline: Pipeline, publisher: Publisher) -> None:
    id_ = publisher.publish(pipeline.video(), at=BEGIN)
    misspelt: dict[str, Any] = {"until": BEGIN}
    with pytest.raises(TypeError, match="no option until"):
        publisher.reschedule(id_, **misspelt)
    with pytest.raises(InvalidPublication, match="time_zone"):
        publisher.reschedule(id_, at=BEGIN.replace(tzinfo=None))
    with pytest.raises(InvalidPublication, match="offset"):
        publisher.reschedule(id_, deadline=BEGIN.replace(tzinfo=None))
    with pytest.raises(InvalidPublication, match="Give at or deadline"):
        publisher.reschedule(id_)
    with pytest.raises(UnknownVideo, match="no command"):
        publisher.reschedule(uuid4(), deadline=None)
    assert publisher.read_command(id_).publish_at == BEGIN


def test_a_command_is_cancelled_once_and_then_not_changed(
    pipeline: Pipeline, publisher: Publisher
) -> None:
    id_ = publisher.publish(pipeline.video(), at=BEGIN)
    assert [publisher.cancel(id_).state for _ in range(2)] == ["cancelled"] * 2
    with pytest.raises(WrongState, match="cancelled"):
        publisher.reschedule(id_, at=BEGIN)


def test_a_failed_command_is_retried_also_after_a_lost_answer(
    pipeline: Pipeline, publisher: Publisher
) -> None:
    id_ = publisher.publish(pipeline.video())
    pipeline.execute("UPDATE publisher.publish_command SET state = 'failed', finished_at = now()")
    assert publisher.read_command(id_).state == "failed"
    assert [publisher.retry(id_).state for _ in range(2)] == ["scheduled"] * 2
    pipeline.run()
    assert publisher.await_outcome(id_).state == "published"
    with pytest.raises(WrongState, match="published"):
        publisher.retry(id_)


def test_a_retry_whose_answer_was_lost_is_not_refused_once_the_command_is_carried_out(
    pipeline: Pipeline, api: Served, key: str, publisher: Publisher
) -> None:
    id_ = publisher.publish(pipeline.video())
    pipeline.execute("UPDATE publisher.publish_command SET state = 'failed', finished_at = now()")
    path = f"{PATH}/{id_}"

    async def forward(received: Received, writer: StreamWriter, *, method: str) -> None:
        async with reach(api, received) as client:
            answer = await client.request(method, received.path)
        await says(answer.status_code, answer.content)(received, writer)

    async def lose(received: Received, writer: StreamWriter) -> None:
        async with reach(api, received) as client:
            await client.post(received.path)
        await asyncio.to_thread(pipeline.run)
        writer.close()

    with receiver() as proxy, Publisher(proxy.url(""), api_key=key) as losing:
        proxy.answers[path] = partial(forward, method="GET")
        proxy.answers[f"{path}/retry"] = in_turn(lose, partial(forward, method="POST"))
        assert losing.retry(id_).state == "published"


def test_a_reschedule_whose_answer_was_lost_is_not_refused_once_the_command_is_carried_out(
    pipeline: Pipeline, api: Served, key: str, publisher: Publisher
) -> None:
    id_, now = publisher.publish(pipeline.video(), at=BEGIN), datetime.now(UTC)

    async def forward(received: Received, writer: StreamWriter, *, loses: bool = False) -> None:
        method = "PATCH" if received.body else "GET"
        async with reach(api, received) as client:
            answer = await client.request(method, received.path, content=received.body)
        if not loses:
            await says(answer.status_code, answer.content)(received, writer)
            return
        await asyncio.to_thread(pipeline.run)
        writer.close()

    with receiver() as proxy, Publisher(proxy.url(""), api_key=key) as losing:
        reads = partial(forward, loses=False)
        proxy.answers[f"{PATH}/{id_}"] = in_turn(reads, partial(forward, loses=True), reads, reads)
        changed = losing.reschedule(id_, at=now)
    assert (changed.state, changed.publish_at) == ("published", now)
    with pytest.raises(WrongState):
        publisher.reschedule(id_, at=now)


def test_a_reschedule_of_a_command_that_ends_with_other_times_is_refused(
    pipeline: Pipeline, api: Served, key: str, publisher: Publisher
) -> None:
    id_ = publisher.publish(pipeline.video(), at=BEGIN)

    async def cancel_after(received: Received, writer: StreamWriter) -> None:
        method = "PATCH" if received.body else "GET"
        async with reach(api, received) as client:
            answer = await client.request(method, received.path, content=received.body)
        await asyncio.to_thread(publisher.cancel, id_)
        await says(answer.status_code, answer.content)(received, writer)

    with receiver() as proxy, Publisher(proxy.url(""), api_key=key) as late:
        proxy.answers[f"{PATH}/{id_}"] = cancel_after
        with pytest.raises(WrongState):
            late.reschedule(id_, at=datetime.now(UTC))


@pytest.mark.parametrize("wrong", ["", ".", "..", "7", f"{UUID(int=7)}/retry", f"{UUID(int=7)}?x"])
def test_an_id_that_would_be_another_path_is_refused_before_it_is_sent(wrong: Any) -> None:
    """Of the path of another request, httpx2 would make that request."""
    with Publisher("http://127.0.0.1:1", api_key="pw_k") as publisher:
        for ask in (publisher.read_command, publisher.await_outcome, publisher.cancel):
            with pytest.raises(InvalidPublication, match="command_id must be a UUID"):
                ask(wrong)
        with pytest.raises(InvalidPublication, match="command_id must be a UUID"):
            publisher.retry(wrong)
        with pytest.raises(InvalidPublication, match="command_id must be a UUID"):
            publisher.reschedule(wrong, deadline=None)
        with pytest.raises(InvalidPublication, match="video_id must be an int"):
            publisher.report(wrong, kind="completed")


def test_commands_are_listed_over_all_pages(pipeline: Pipeline, publisher: Publisher) -> None:
    videos = [pipeline.video() for _ in range(60)]
    publications = [
        Publication(video_id=video, at=BEGIN + timedelta(days=nth))
        for nth, video in enumerate(videos)
    ]
    ids = publisher.enqueue(publications)
    cancelled = publisher.cancel(ids[0]).id
    assert [each.id for each in publisher.list_commands(state="scheduled", order="due")] == ids[1:]
    assert [each.id for each in publisher.list_commands(state="cancelled")] == [cancelled]
    within = publisher.list_commands(due_from=BEGIN, due_until=BEGIN + timedelta(days=2))
    assert [each.id for each in within] == [ids[1], cancelled]
    assert [each.id for each in publisher.list_commands(video_id=videos[9])] == [ids[9]]
    with pytest.raises(InvalidPublication):
        next(publisher.list_commands(state="exploded"))
    with pytest.raises(InvalidPublication, match="state must be text"):
        next(publisher.list_commands(state="\ud800"))


def test_a_report_of_generation_publishes_what_waits(
    pipeline: Pipeline, publisher: Publisher
) -> None:
    video = pipeline.video(status="in_progress")
    id_ = publisher.publish(video)
    file = "https://cdn.example.com/new.mp4"
    done = publisher.report(video, kind="completed", video=file, time=datetime.now(UTC))
    assert (done.applied, done.status) == (True, "completed")
    pipeline.run()
    assert publisher.await_outcome(id_).state == "published"
    late = publisher.report(video, kind="progressed", generation_progress=50)
    assert (late.applied, late.reason) == (False, "behind")
    with pytest.raises(InvalidPublication):
        publisher.report(video, kind="failed", video=file)


def test_a_command_of_a_newer_api_is_read(pipeline: Pipeline, publisher: Publisher) -> None:
    id_ = publisher.publish(pipeline.video())
    later = publisher.read_command(id_).model_dump(mode="json") | {
        "action": "archive",
        "state": "archived",
        "trigger": "calendar",
        "shard": 3,
    }
    body = json.dumps({"commands": [later], "next": None}).encode()
    with receiver() as api, Publisher(api.url(""), api_key="pw_k") as newer:
        api.answers[f"{PATH}/{id_}"] = says(200, json.dumps(later).encode())
        api.answers[PATH] = says(200, body)
        for command in (newer.read_command(id_), *newer.list_commands()):
            assert (command.action, command.state) == ("archive", "archived")
            assert (command.model_extra or {})["shard"] == 3


def test_a_refusal_that_a_newer_api_adds_is_a_refusal() -> None:
    problem = b'{"type": "/problems/video-locked", "status": 409, "detail": "It is locked."}'
    with receiver() as api, Publisher(api.url(""), api_key="pw_k") as publisher:
        api.answers[PATH] = says(409, problem)
        with pytest.raises(PublishRefused, match="It is locked") as refused:
            publisher.publish(7)
    assert type(refused.value) is PublishRefused


def test_on_asyncio_commands_are_changed_and_listed(
    pipeline: Pipeline, api: Served, key: str
) -> None:
    video = pipeline.video()

    async def change() -> None:
        async with AsyncPublisher(api.url, api_key=key) as publisher:
            id_ = await publisher.publish(video, at=BEGIN)
            assert (await publisher.read_command(id_)).publish_at == BEGIN
            later = BEGIN + timedelta(days=1)
            assert (await publisher.reschedule(id_, at=later)).publish_at == later
            assert (await publisher.retry(id_)).state == "scheduled"
            assert (await publisher.cancel(id_)).state == "cancelled"
            assert [each.id async for each in publisher.list_commands()] == [id_]
            assert not (await publisher.report(video, kind="progressed")).applied

    asyncio.run(change())


def test_on_asyncio_it_is_the_same(pipeline: Pipeline, api: Served, key: str) -> None:
    videos = [pipeline.video() for _ in range(3)]

    async def publish() -> Sequence[UUID]:
        async with AsyncPublisher(api.url, api_key=key) as publisher:
            ids = await asyncio.gather(*(publisher.publish(video) for video in videos))
            pipeline.run()
            commands = await asyncio.gather(*map(publisher.await_outcome, ids))
            assert {each.state for each in commands} == {"published"}
            return ids

    assert len(set(asyncio.run(publish()))) == 3
