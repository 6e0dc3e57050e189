"""Generation over HTTP: a pipeline without the database reports, and videos are published."""

from typing import Any

import pytest

from tests.support.api import Api
from tests.support.platform import column

DRAFT: dict[str, Any] = {
    "status": "in_progress",
    "internal_status": "rendering",
    "generation_progress": 40,
    "video": None,
}
COMPLETED: dict[str, Any] = {
    "kind": "completed",
    "time": "2026-11-24T12:00:00Z",
    "video": "https://cdn.example.com/7.mp4",
    "duration": 312,
}


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_report_is_answered_with_the_state_of_generation(api: Api, slash: str) -> None:
    video = api.video(**DRAFT)
    answer = api.post(f"/videos/{video}/generation{slash}", json=COMPLETED)
    assert answer.status_code == 200
    assert answer.json() == {
        "video_id": video,
        "applied": True,
        "reason": None,
        "run": 1,
        "status": "completed",
        "internal_status": "completed",
        "generation_progress": 100,
        "is_regenerating": False,
    }
    shown = api.get(f"/videos/{video}/").json()
    assert (shown["status"], shown["video"]) == ("completed", COMPLETED["video"])
    assert shown["duration"] == 312


def test_progress_may_be_reported_with_its_kind_alone(api: Api) -> None:
    answer = api.post(f"/videos/{api.video(**DRAFT)}/generation", json={"kind": "progressed"})
    assert answer.status_code == 200
    assert answer.json()["generation_progress"] == 40


def test_a_late_report_is_not_an_error(api: Api) -> None:
    video = api.video(**DRAFT)
    api.post(f"/videos/{video}/generation", json=COMPLETED)
    late = {"kind": "progressed", "generation_progress": 60}
    answer = api.post(f"/videos/{video}/generation", json=late)
    assert answer.status_code == 200
    assert (answer.json()["applied"], answer.json()["reason"]) == (False, "behind")
    assert answer.json()["status"] == "completed"


def test_the_same_report_again_is_known(api: Api) -> None:
    video = api.video(**DRAFT)
    answers = [api.post(f"/videos/{video}/generation", json=COMPLETED).json() for _ in range(2)]
    assert [answer["reason"] for answer in answers] == [None, "repeated"]


def test_a_waiting_command_is_carried_out(api: Api) -> None:
    video = api.video(**DRAFT)
    [command] = api.publish(video)
    api.redis.flushall()
    api.wake_ups.clear()
    api.post(f"/videos/{video}/generation", json=COMPLETED)
    assert api.wake_ups == [1]
    api.run()
    assert api.command(command.id).state == "published"


def test_a_video_of_another_workspace_does_not_exist(api: Api) -> None:
    video = api.video(**DRAFT)
    for path, key in ((video, "elsewhere"), (999_999, "publish"), (2**63, "publish")):
        answer = api.post(f"/videos/{path}/generation", key, json=COMPLETED)
        assert answer.status_code == 404
        assert answer.json()["type"] == "/problems/no-such-video"
    assert column(api.engine, video, "status") == "in_progress"


def test_a_key_that_may_only_read_may_not_report(api: Api) -> None:
    video = api.video(**DRAFT)
    assert api.post(f"/videos/{video}/generation", "read", json=COMPLETED).status_code == 403
    assert api.post(f"/videos/{video}/generation", None, json=COMPLETED).status_code == 401
    assert column(api.engine, video, "status") == "in_progress"


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({}, "/kind", "required"),
        ({"kind": "done"}, "/kind", "progressed"),
        ({"kind": "failed", "video": COMPLETED["video"]}, "", "does not accept video"),
        ({"kind": "progressed", "internal_status": "completed"}, "", "must be a stage"),
        ({"kind": "completed", "duration": 5}, "", "requires video"),
        ({"kind": "completed", "time": "2026-11-24 12:00"}, "/time", "RFC 3339"),
        ({"kind": "completed", "colour": "red"}, "/colour", "Extra"),
    ],
)
def test_an_invalid_report_is_refused(
    api: Api, body: dict[str, Any], pointer: str, words: str
) -> None:
    video = api.video(**DRAFT)
    answer = api.post(f"/videos/{video}/generation", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert words in error["detail"]
    assert column(api.engine, video, "status") == "in_progress"


def test_a_report_is_json(api: Api) -> None:
    path = f"/videos/{api.video()}/generation"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert api.post(path, content=b"kind=completed", headers=form).status_code == 415
    json = {"Content-Type": "application/json"}
    assert api.post(path, content=b'{"kind": NaN}', headers=json).status_code == 400
    assert api.post(path, content=b"", headers=json).status_code == 422


def test_a_report_that_the_platforms_table_refuses_is_answered_with_409(api: Api) -> None:
    api.execute("ALTER TABLE video ADD CHECK (length(video) <= 30)")
    video = api.video(**DRAFT)
    long = {**COMPLETED, "video": f"https://cdn.example.com/{'x' * 30}.mp4"}
    answer = api.post(f"/videos/{video}/generation", json=long)
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/report-refused"
    assert "check constraint" in answer.json()["detail"]
    assert "Failing row contains" not in answer.text


def test_the_last_run_and_the_widest_values_are_stored(api: Api) -> None:
    video = api.video(**DRAFT)
    widest = {
        **COMPLETED,
        "run": 1_000_000,
        "duration": 2**31 - 1,
        "time": "9000-12-31T23:59:59.999999-12:00",
    }
    answer = api.post(f"/videos/{video}/generation", json=widest)
    assert (answer.status_code, answer.json()["run"]) == (200, 1_000_000)
    earliest = {**COMPLETED, "time": "1900-01-01T00:00:00+14:00"}
    answer = api.post(f"/videos/{api.video(**DRAFT)}/generation", json=earliest)
    assert answer.json()["applied"] is True
