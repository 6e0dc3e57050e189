"""The pull feed: every event once, in order, from Postgres alone."""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from sqlalchemy import Engine

from schemas.command import PublishRequest
from tests.support.api import Api, serving
from tests.support.waiting import wait_until
from worker.events import feed, redis_stream


@pytest.fixture
def told(api: Api) -> Api:
    """Ten events in the outbox: of videos of two workspaces, in turn."""
    for workspace in (1, 2) * 5:
        api.publish(api.video(workspace_id=workspace))
    return api


def positions(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [int(event["sequence"]) for event in answer.json()]


def next_after(answer: Any) -> int:
    return int(answer.headers["events-next-after"])


def test_it_is_a_batch_of_cloudevents_in_order(told: Api) -> None:
    answer = told.get("/events", "everywhere")
    assert answer.headers["content-type"] == "application/cloudevents-batch+json"
    assert positions(answer) == list(range(1, 11))
    assert answer.json() == told.events()


def test_the_official_sdk_parses_what_is_in_it(told: Api) -> None:
    [event] = told.get("/events?limit=1").json()
    headers = {"content-type": "application/cloudevents+json"}
    message = HTTPMessage(headers=headers, body=json.dumps(event).encode())
    assert from_structured(message, JSONFormat()).get_extension("sequence") == "1"


def test_the_link_leads_on_page_by_page_and_waits_at_the_end(told: Api) -> None:
    seen: list[int] = []
    path = "/events?limit=3"
    for _ in range(4):
        answer = told.get(path, "everywhere")
        seen += positions(answer)
        link = re.fullmatch(r'<(.*)>; rel="next"', answer.headers["link"])
        assert link
        path = link[1].partition("/api/v1")[2]
    assert seen == list(range(1, 11))
    assert positions(told.get(path, "everywhere")) == []
    told.publish(told.video())
    assert positions(told.get(path, "everywhere")) == [11]


def test_a_key_sees_only_its_workspace(told: Api) -> None:
    assert positions(told.get("/events", "publish")) == [1, 3, 5, 7, 9]
    assert positions(told.get("/events", "elsewhere")) == [2, 4, 6, 8, 10]


def test_the_cursor_passes_over_what_is_not_for_us(told: Api) -> None:
    assert next_after(told.get("/events?after=9", "publish")) == 10


def test_only_some_types(told: Api) -> None:
    told.publish(told.video(status="failed"))
    told.publish(PublishRequest.model_validate({"video_id": told.video(), "action": "unpublish"}))
    rejected = told.get("/events?type=video.publish_rejected&type=video.unpublished")
    assert {event["type"] for event in rejected.json()} <= {
        "video.publish_rejected",
        "video.unpublished",
    }
    assert positions(rejected)[0] == 11
    assert told.get("/events?type=video.exploded").status_code == 422


def test_only_one_video(told: Api) -> None:
    video = told.video()
    told.publish(video)
    assert positions(told.get(f"/events?video_id={video}")) == [11]


def test_it_works_with_redis_dead(told: Api) -> None:
    with serving(told.engine, told.redis, "redis://127.0.0.1:1") as api:
        headers = {"Prefer": "wait=0"}
        assert positions(api.get("/events", "everywhere", headers=headers)) == list(range(1, 11))


def test_one_call_scans_a_limited_number_of_positions(told: Api) -> None:
    with patch.object(feed, "SCAN", 4):
        answer = told.get("/events?type=video.publish_failed")
        assert (positions(answer), next_after(answer)) == ([], 4)
        assert answer.headers["events-last"] == "10"
        answer = told.get("/events?type=video.publish_failed&after=8", headers={"Prefer": "wait=0"})
        assert (positions(answer), next_after(answer)) == ([], 10)


def test_an_event_that_commits_late_is_not_passed_over(told: Api) -> None:
    """A later transaction waits for the one that holds the counter, so no position is skipped."""
    with told.holding("UPDATE publisher.event_position SET position = position"):
        video = told.video()
        told.accept(video)
        late = threading.Thread(target=told.run)
        late.start()
        answer = told.get("/events?after=10", "everywhere")
        assert (positions(answer), next_after(answer)) == ([], 10)
    late.join()
    assert positions(told.get("/events?after=10", "everywhere")) == [11]


def test_pruned_events_are_answered_with_410(told: Api) -> None:
    told.execute("DELETE FROM publisher.outbox_event WHERE position <= 4")
    gone = told.get("/events?after=2", "everywhere")
    assert (gone.status_code, gone.json()["type"]) == (410, "/problems/position-gone")
    assert "position 5" in gone.json()["detail"]
    assert "after=4" in gone.json()["detail"]
    assert positions(told.get("/events?after=4", "everywhere")) == list(range(5, 11))
    assert positions(told.get("/events", "everywhere")) == list(range(5, 11))


def test_the_next_event_is_found_when_all_earlier_ones_were_pruned(told: Api) -> None:
    told.execute("DELETE FROM publisher.outbox_event")
    assert next_after(told.get("/events")) == 10
    assert told.get("/events?after=9").status_code == 410
    told.publish(told.video())
    assert positions(told.get("/events?after=10")) == [11]


def test_a_position_that_was_never_given_out_is_refused(told: Api) -> None:
    ahead = told.get("/events?after=11")
    assert (ahead.status_code, ahead.json()["type"]) == (409, "/problems/position-ahead")


@pytest.mark.parametrize("query", ["after=-1", "limit=0", "limit=1001", "after=x", "afer=1"])
def test_an_invalid_query_is_refused(told: Api, query: str) -> None:
    assert told.get(f"/events?{query}").status_code == 422


def test_nothing_without_a_key(told: Api) -> None:
    assert told.get("/events", None).status_code == 401


def test_it_waits_for_an_event_if_that_is_preferred(told: Api) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(
            told.get, "/events?after=10", "publish", headers={"Prefer": "wait=20"}
        )
        following(told, 1)
        told.publish(told.video(workspace_id=2))
        told.publish(told.video())
        redis_stream.relay(told.engine, told.redis, "https://videos.example")
        answer = waiting.result()
    assert positions(answer) == [12]
    assert answer.headers["preference-applied"] == "wait=20"
    assert next_after(answer) == 12


def test_it_answers_at_once_if_there_is_something(told: Api) -> None:
    answer = told.get("/events?after=8", headers={"Prefer": "wait=60"})
    assert positions(answer) == [9]


def test_many_waiting_callers_need_one_statement(told: Api) -> None:
    """One statement serves all readers."""
    with ThreadPoolExecutor(8) as pool:
        waiting = [
            pool.submit(told.get, "/events?after=10", "publish", headers={"Prefer": "wait=20"})
            for _ in range(8)
        ]
        following(told, 8)
        with patch.object(feed, "feed", wraps=feed.feed) as looked:
            told.publish(told.video())
            redis_stream.relay(told.engine, told.redis, "https://videos.example")
            assert all(positions(each.result()) == [11] for each in waiting)
            assert looked.scan.call_count <= 2


def test_it_waits_without_redis_too(told: Api, engine: Engine) -> None:
    with serving(engine, told.redis, "redis://127.0.0.1:1") as api, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.get, "/events?after=10", headers={"Prefer": "wait=20"})
        following(api, 1)
        told.publish(told.video())
        assert positions(waiting.result()) == [11]


def following(api: Api, count: int) -> None:
    """Wait until this number of requests wait for events."""
    assert api.client is not None
    app: Any = api.client.app
    wait_until(lambda: app.state.tail.live_readers == count, f"{count} who wait")


def test_a_page_with_large_events_ends_early_and_continues_without_a_gap(told: Api) -> None:
    told.execute("UPDATE publisher.outbox_event SET data = json_build_object('x', %s::text)", LARGE)
    seen: list[int] = []
    after = 0
    while len(seen) < 4:
        answer = told.get(f"/events?limit=1000&after={after}", "everywhere")
        assert len(positions(answer)) == 2
        assert len(answer.content) < 2 * len(LARGE) + 5_000
        seen += positions(answer)
        after = next_after(answer)
    assert seen == [1, 2, 3, 4]


LARGE = "x" * 800_000
