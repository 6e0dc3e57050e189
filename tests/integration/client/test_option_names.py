"""A refusal names the options that the caller wrote, whichever way the publication went."""

import asyncio
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from publish_worker_client import (
    AsyncPublisher,
    InvalidPublication,
    Publication,
    Publisher,
    PublishRefused,
)
from publish_worker_client.servers.database_url import read_url
from tests.support.pipeline import Pipeline
from tests.support.served import Served

BEGIN = datetime(2030, 6, 1, 18, tzinfo=UTC)
DAY = timedelta(days=1)
SKIPPED: dict[str, Any] = {"at": datetime(2030, 3, 31, 2, 30), "time_zone": "Europe/Berlin"}  # noqa: DTZ001 - a wall-clock time

Call = Callable[[Any, int], Any]

WRONG: list[tuple[Call, str]] = [
    (lambda to, video: to.publish(video, at="now"), "^at must be a datetime"),
    (lambda to, video: to.publish(video, until=7), "^until must be a datetime"),
    (lambda to, video: to.unpublish(video, at=7), "^at must be a datetime"),
    (lambda to, video: to.publish(video, at=BEGIN, deadline=BEGIN), "deadline must be .* at"),
    (lambda to, video: to.publish(video, until=BEGIN - 9_999 * DAY), "until must .* than at"),
    (lambda to, video: to.publish(video, **SKIPPED), r"\bat\b.*the clocks skip"),
    (lambda to, video: to.unpublish(video, **SKIPPED), r"\bat\b.*the clocks skip"),
    (lambda to, video: to.publish(video, idempotency_key="k" * 256), "idempotency_key"),
    (lambda to, video: to.publish(video, at=BEGIN, time_zone="Asia/Tokyo"), "^time_zone is"),
    (
        lambda to, video: to.enqueue(
            [Publication(video_id=video, until=SKIPPED["at"], time_zone="Europe/Berlin")]
        ),
        r"\buntil\b.*the clocks skip",
    ),
]


@pytest.fixture
def over_http(api: Served, key: str) -> Generator[Publisher]:
    with Publisher(api.url, api_key=key) as publisher:
        yield publisher


@pytest.fixture
def in_sql(pipeline: Pipeline) -> Generator[Publisher]:
    url = pipeline.engine.url.render_as_string(hide_password=False)
    with psycopg.connect(**read_url(url)) as connection:
        yield Publisher(connection)


@pytest.fixture(params=["over_http", "in_sql"])
def publisher(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    ("call", "text"),
    WRONG,
)
def test_a_refusal_names_the_option(
    pipeline: Pipeline, publisher: Publisher, call: Call, text: str
) -> None:
    with pytest.raises(InvalidPublication, match=text) as refused:
        call(publisher, pipeline.video())
    assert "publish_" not in str(refused.value)


def test_the_problem_stays_as_the_server_has_sent_it(
    pipeline: Pipeline, over_http: Publisher
) -> None:
    with pytest.raises(InvalidPublication, match="/commands/0/deadline") as refused:
        over_http.publish(pipeline.video(), at=BEGIN, deadline=BEGIN)
    [error] = refused.value.problem["errors"]
    assert error["pointer"] == "/commands/0/publish_before"
    assert error["detail"] == "publish_before must be later than publish_at"


def test_in_a_change_at_is_the_time_of_the_commands_action(
    pipeline: Pipeline, over_http: Publisher
) -> None:
    first = over_http.publish(pipeline.video(), at=BEGIN, until=BEGIN + DAY)
    end = over_http.read_command(first).counterpart_id
    assert end is not None
    changes: list[tuple[dict[str, Any], str]] = [
        ({"at": None}, "^at must be a datetime"),
        ({"deadline": BEGIN - 9_999 * DAY}, "deadline must not have passed"),
        ({"deadline": BEGIN}, "deadline must be later than at"),
        ({"at": BEGIN + 2 * DAY}, r"/at\. the window ends before"),
        ({"at": BEGIN, "time_zone": "Asia/Tokyo"}, "^time_zone is for"),
    ]
    for change, text in changes:
        with pytest.raises(InvalidPublication, match=text):
            over_http.reschedule(first, **change)
    with pytest.raises(InvalidPublication, match=r"/at\. the window begins later"):
        over_http.reschedule(end, at=BEGIN - DAY)
    with pytest.raises(InvalidPublication, match=r"/deadline\. the command unpublishes"):
        over_http.reschedule(end, deadline=BEGIN)


def test_on_asyncio_it_is_the_same(pipeline: Pipeline, api: Served, key: str) -> None:
    url = pipeline.engine.url.render_as_string(hide_password=False)
    video = pipeline.video()

    async def refuse() -> list[str]:
        connection = await psycopg.AsyncConnection.connect(**read_url(url))
        async with AsyncPublisher(api.url, api_key=key) as over_http, connection:
            texts: list[str] = []
            for publisher in (over_http, AsyncPublisher(connection)):
                try:
                    await publisher.publish(video, at=BEGIN, deadline=BEGIN)
                except PublishRefused as refusal:
                    texts.append(str(refusal))
            await connection.rollback()
        return texts

    texts = asyncio.run(refuse())
    assert len(texts) == 2
    assert all("deadline must be later than at" in text for text in texts)
