"""The publish endpoint: 202 with the command, or the finished Video for those who wait."""

from collections.abc import Generator
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support.api import Api, serving
from tests.support.platform import column
from tests.support.waiting import wait_until

BODY: dict[str, Any] = {
    "template": {"id": 1},
    "owner": {"id": 1},
    "title": "Light, again",
    "workspace": 1,
}
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("slash", ["", "/"])
def test_an_accepted_command_can_be_read(api: Api, slash: str) -> None:
    answer = api.post(f"/videos/{api.video()}/publish{slash}")
    assert answer.status_code == 202
    command = answer.json()
    assert command["state"] == "scheduled"
    assert answer.headers["Location"] == command["url"]
    path = command["url"].removeprefix("https://videos.example/api/v1")
    assert api.get(path).json() == command


def test_a_command_that_was_accepted_wakes_celery(api: Api) -> None:
    api.post(f"/videos/{api.video()}/publish/")
    wait_until(lambda: api.wake_ups == [1], "the wake-up")


@pytest.mark.parametrize("content", [b"", b"null"])
def test_the_body_is_optional(api: Api, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = api.post(f"/videos/{api.video()}/publish/", content=content, headers=headers)
    assert answer.status_code == 202
    assert answer.json()["edits"] is None


def test_the_documented_request_brings_edits(api: Api) -> None:
    video = api.video()
    answer = api.post(f"/videos/{video}/publish/", json={**BODY, "tags": [2, 1, 2]})
    assert answer.json()["edits"] == {"title": "Light, again", "tags": [1, 2]}
    api.run()
    assert column(api.engine, video, "title") == "Light, again"


def test_options_need_no_video_beside_them(api: Api) -> None:
    body = {"publish_before": "2100-01-01T00:00:00+02:00"}
    answer = api.post(f"/videos/{api.video()}/publish/", json=body)
    assert answer.json()["publish_before"] == "2099-12-31T22:00:00Z"


def test_a_caller_that_waits_gets_the_whole_video(api: Api) -> None:
    video = api.video()
    with api.working():
        answer = api.post(f"/videos/{video}/publish/", headers={"Prefer": "wait=20"})
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert answer.json()["is_draft"] is False
    assert answer.json()["custom_url"].startswith("research/what-is-light-")


def test_a_caller_that_does_not_wait_long_enough_gets_the_command(api: Api) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", headers={"Prefer": "wait=0"})
    assert answer.status_code == 202
    assert answer.headers["Location"] == answer.json()["url"]


def test_a_caller_that_waits_for_a_rejected_video_gets_the_reason(api: Api) -> None:
    with api.working():
        answer = api.post(
            f"/videos/{api.video(status='failed')}/publish/", headers={"Prefer": "wait=20"}
        )
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/publish-rejected"
    assert "generation_failed" in answer.json()["detail"]


@pytest.mark.parametrize(
    "prefer", ["respond-async, wait=20", "WAIT=20", 'wait="20"', "foo; a=b, wait = 20"]
)
def test_the_preference_is_read_as_the_rfc_spells_it(api: Api, prefer: str) -> None:
    with api.working():
        answer = api.post(f"/videos/{api.video()}/publish/", headers={"Prefer": prefer})
    assert answer.status_code == 200


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=-1", "wait=soon", "return=minimal", ""])
def test_a_preference_that_is_not_understood_is_ignored(api: Api, prefer: str) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", headers={"Prefer": prefer})
    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


def test_the_same_key_gives_the_same_command(api: Api) -> None:
    path, headers = f"/videos/{api.video()}/publish/", {"Idempotency-Key": "once"}
    first = api.post(path, headers=headers)
    again = api.post(path, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"


def test_the_same_key_with_another_body_is_refused(api: Api) -> None:
    path, headers = f"/videos/{api.video()}/publish/", {"Idempotency-Key": "once"}
    api.post(path, headers=headers)
    answer = api.post(path, headers=headers, json=BODY)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/idempotency-key-reused"


def test_the_correlation_id_leads_from_the_request_to_the_event(api: Api) -> None:
    headers = {"X-Correlation-ID": "from-afar", "traceparent": TRACEPARENT}
    answer = api.post(f"/videos/{api.video()}/publish/", headers=headers)
    assert answer.headers["X-Correlation-ID"] == "from-afar"
    api.run()
    [event] = api.events()
    assert event["correlationid"] == "from-afar"
    assert event["traceparent"] == TRACEPARENT
    assert event["causationid"] == answer.json()["id"]


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "ümlaut".encode("latin-1")])
def test_an_invalid_correlation_id_is_replaced(api: Api, given: Any) -> None:
    answer = api.post(f"/videos/{api.video()}/publish/", headers={"X-Correlation-ID": given})
    assert len(answer.headers["X-Correlation-ID"]) == 36


def test_an_invalid_traceparent_is_not_passed_on(api: Api) -> None:
    api.post(f"/videos/{api.video()}/publish/", headers={"traceparent": "00-zz-zz-01"})
    api.run()
    assert "traceparent" not in api.events()[0]


def test_a_client_may_echo_the_video_that_it_was_shown(api: Api) -> None:
    video = api.video(status="in_progress", internal_status="rendering")
    echo = api.get(f"/videos/{video}/").json()
    echo["status"] = echo["internal_status"] = "completed"
    echo["is_draft"] = False
    answer = api.post(f"/videos/{video}/publish/", json=echo)
    assert answer.status_code == 202, answer.text
    api.run()
    assert column(api.engine, video, "status") == "in_progress"
    assert column(api.engine, video, "is_draft") is True


def test_the_plan_has_the_outcome_of_a_publish(api: Api) -> None:
    plan = api.get(f"/videos/{api.video()}/publish/").json()
    assert plan["would_be"] == "published"
    assert plan["revision"] == 1
    assert [gate["verdict"] for gate in plan["readiness"]["gates"]] == ["ready"] * 6


@pytest.mark.parametrize(
    ("columns", "outcome", "reason"),
    [
        ({"status": "failed"}, "rejected", "generation_failed"),
        ({"status": "not_started"}, "waiting", "generation_not_started"),
        ({"is_draft": False}, "unchanged", None),
    ],
)
def test_the_plan_names_the_gate_that_is_closed(
    api: Api, columns: dict[str, Any], outcome: str, reason: str | None
) -> None:
    plan = api.get(f"/videos/{api.video(**columns)}/publish").json()
    assert (plan["would_be"], plan["readiness"]["reason"]) == (outcome, reason)


@pytest.mark.parametrize("columns", [{}, {"is_draft": False}])
def test_the_plan_of_a_ready_video_says_that_it_is_ready(api: Api, columns: dict[str, Any]) -> None:
    readiness = api.get(f"/videos/{api.video(**columns)}/publish").json()["readiness"]
    assert (readiness["verdict"], readiness["reason"]) == ("ready", None)
    assert readiness["detail"].startswith("The video is ready")


def test_the_plan_says_what_would_be_and_not_what_is(api: Api) -> None:
    plan = api.get(f"/videos/{api.video()}/publish").json()
    assert "outcome" not in plan
    assert plan["is_draft"] is True


def test_a_command_says_whether_it_is_due(api: Api) -> None:
    path = f"/videos/{api.video()}/publish/"
    at_once = api.post(path).json()
    past = api.post(path, json={"publish_at": "2020-01-01T00:00:00Z"}).json()
    later = api.post(path, json={"publish_at": "2100-01-01T00:00:00Z"}).json()
    assert [each["is_due"] for each in (at_once, past, later)] == [True, True, False]
    api.run()
    ended = api.get(f"/publish-commands/{at_once['id']}").json()
    assert (ended["state"], ended["is_due"]) == ("published", False)


@pytest.fixture
def patient(platform: Engine, redis: Redis, redis_url: str) -> Generator[Api]:
    """The API of an operator who gives clients without a preference the documented answer."""
    with serving(platform, redis, redis_url, publish_wait_seconds=20) as started:
        yield started


@pytest.mark.parametrize("headers", [{}, {"Prefer": "return=minimal"}])
def test_with_a_default_wait_a_client_without_a_preference_gets_the_documented_answer(
    patient: Api, headers: dict[str, str]
) -> None:
    video = patient.video()
    with patient.working():
        answer = patient.post(f"/videos/{video}/publish/", headers=headers)
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["is_draft"]) == (video, False)
    assert answer.headers["ETag"]
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("prefer", ["wait=0", "respond-async", "foo, Respond-Async; x=1"])
def test_with_a_default_wait_a_preference_still_decides(patient: Api, prefer: str) -> None:
    answer = patient.post(f"/videos/{patient.video()}/publish/", headers={"Prefer": prefer})
    assert answer.status_code == 202


def test_with_a_default_wait_a_command_of_a_later_time_is_answered_at_once(patient: Api) -> None:
    body = {"publish_at": "2100-01-01T00:00:00Z"}
    answer = patient.post(f"/videos/{patient.video()}/publish/", json=body)
    assert answer.status_code == 202


def test_the_plan_does_nothing(api: Api) -> None:
    video = api.video()
    api.get(f"/videos/{video}/publish/")
    assert column(api.engine, video, "is_draft") is True
    assert api.value("SELECT count(*) FROM publisher.video_release") == 0


def test_the_plan_and_the_outcome_agree(api: Api) -> None:
    video = api.video(generated_script="one two three")
    plan = api.get(f"/videos/{video}/publish/").json()
    api.publish(video)
    shown = api.get(f"/videos/{video}/").json()
    assert shown["custom_url"] == plan["custom_url"]


def test_many_are_accepted_in_one_call(api: Api) -> None:
    videos = [api.video() for _ in range(50)]
    answer = api.post("/publish-commands", json={"commands": [{"video_id": v} for v in videos]})
    assert answer.status_code == 202
    assert [command["video_id"] for command in answer.json()["commands"]] == videos
    api.run()
    assert len(api.events()) == 50


def test_in_one_call_all_or_nothing_is_accepted(api: Api) -> None:
    commands = [
        {"video_id": api.video()},
        {"video_id": 999_999},
        {"video_id": api.video(), "video": {**BODY, "workspace": 2}},
    ]
    answer = api.post("/publish-commands", json={"commands": commands})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/commands/1/video_id"]
    answer = api.post("/publish-commands", json={"commands": commands[::2]})
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert pointers == ["/commands/1/video/workspace"]
    assert api.value("SELECT count(*) FROM publisher.publish_command") == 0


def test_an_old_address_leads_to_the_new_one(api: Api) -> None:
    video = api.video()
    api.publish(video)
    old = api.get(f"/videos/{video}/").json()["custom_url"]
    api.post(f"/videos/{video}/publish/", json=BODY)
    api.run()
    new = api.get(f"/videos/{video}/").json()["custom_url"]
    for path in (old, new, f"{old}/"):
        answer = api.call("GET", f"/v/{path}", None, follow_redirects=False)
        assert answer.status_code == 308
        assert answer.headers["Location"] == f"https://videos.example/{new}"
        assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("visibility", ["private", "team", "org"])
def test_only_a_key_that_may_see_it_finds_a_video_that_is_not_public(
    api: Api, visibility: str
) -> None:
    video = api.video(visibility=visibility)
    api.publish(video)
    path = api.get(f"/videos/{video}/").json()["custom_url"]
    answers = {
        key: api.call("GET", f"/v/{path}", key, follow_redirects=False)
        for key in (None, "pw_unknown", "events", "elsewhere", "read", "everywhere")
    }
    statuses = {key: answer.status_code for key, answer in answers.items()}
    assert [key for key, status in statuses.items() if status == 308] == ["read", "everywhere"]
    assert {status for status in statuses.values() if status != 308} == {404}
    unknown = api.call("GET", "/v/nothing/here", None)
    own = {"instance": None, "correlation_id": None}
    assert answers[None].json() | own == unknown.json() | own


def test_a_video_that_becomes_private_is_not_found_by_its_url(api: Api) -> None:
    video = api.video()
    api.publish(video)
    path = api.get(f"/videos/{video}/").json()["custom_url"]
    assert api.call("GET", f"/v/{path}", None, follow_redirects=False).status_code == 308
    api.execute("UPDATE video SET visibility = 'private'")
    assert api.call("GET", f"/v/{path}", None).status_code == 404


def test_a_draft_is_not_found_by_its_url(api: Api) -> None:
    video = api.video()
    api.publish(video)
    path = api.get(f"/videos/{video}/").json()["custom_url"]
    api.execute("UPDATE video SET is_draft = true")
    assert api.call("GET", f"/v/{path}", None).status_code == 404
    assert api.call("GET", "/v/nothing/here", None).status_code == 404
