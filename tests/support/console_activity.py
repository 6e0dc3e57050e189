"""A quiet day at a small publisher, made by the API: what the pictures of the console show."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import psycopg

from tests.support.failing_consumer import failing_consumer
from tests.support.processes import broker_only
from tests.support.receiver import Receiver, says
from tests.support.waiting import wait_until

FAILING = (5, 14, 17)
REFUSE_SOME = """
CREATE FUNCTION refuse_some() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE 'The archive is closed for inventory until Monday.';
END $$;
CREATE TRIGGER refuse_some BEFORE UPDATE OF is_draft ON video FOR EACH ROW
    WHEN (NEW.id IN (5, 14, 17)) EXECUTE FUNCTION refuse_some();
"""
MINUTES = {6: 3, 9: 7, 12: 12}
DAYS = {15: (1, 9), 16: (1, 17), 18: (2, 12), 20: (3, 10), 45: (4, 9), 46: (6, 8), 47: (9, 16)}


def show_activity(api: httpx.Client, database_url: str, redis_url: str, there: Receiver) -> None:
    """Publish, schedule, withdraw, fail and deliver, and wait until it is done."""
    there.answers["/broken"] = says(500, b"out of order")
    for path, workspace in (("/ok", 1), ("/broken", 1), ("/harbour", 2)):
        endpoint = {"url": there.url(path), "workspace_id": workspace, "description": path[1:]}
        _done(api.post("/api/v1/webhook-endpoints", json=endpoint))
    for video in (1, 2, 3, 4, 10, 11, 13, 7, 8):
        _publish(api, video)
    _done(api.post("/api/v1/videos/4/unpublish/", headers={"Prefer": "wait=10"}))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE video SET title = 'What is attention, really?' WHERE id = 7")
        connection.execute(REFUSE_SOME)
    _publish(api, 7)
    now = datetime.now(UTC)
    times = {video: now + timedelta(minutes=minutes) for video, minutes in MINUTES.items()}
    for video, (days, hour) in DAYS.items():
        times[video] = (now + timedelta(days=days)).replace(hour=hour, minute=0)
    timed = [{"video_id": video, "publish_at": _to_text(at)} for video, at in times.items()]
    window = {"publish_at": _to_text(now + timedelta(days=2))}
    window["unpublish_at"] = _to_text(now + timedelta(days=5))
    at_once = [{"video_id": video} for video in (29, 30, 38, 41, *FAILING)]
    commands = [*at_once, *timed, {"video_id": 19, **window}]
    _done(api.post("/api/v1/publish-commands", json={"commands": commands}))
    with failing_consumer(redis_url, "search") as consumer:
        consumer.error = "the index does not answer"
        _wait_for(lambda: len(consumer.tried) > len(DAYS), "dead letters")
    with broker_only(redis_url) as send:
        send("publish.enqueue", kwargs={"video_id": "the third one"})
    _wait_for(lambda: _count(api, "failed") == len(FAILING), "failed commands")
    _wait_for(lambda: "quarantined_messages 1" in api.get("/metrics").text, "the quarantine")
    _wait_for(lambda: len(there.at("/ok")) > len(DAYS), "deliveries")


def _publish(api: httpx.Client, video: int) -> None:
    _done(api.post(f"/api/v1/videos/{video}/publish/", headers={"Prefer": "wait=10"}))


def _done(answer: httpx.Response) -> None:
    assert answer.is_success, answer.text


def _count(api: httpx.Client, state: str) -> int:
    answer = api.get("/api/v1/publish-commands", params={"state": state})
    return len(answer.json()["commands"])


def _to_text(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, what, timeout=180)
