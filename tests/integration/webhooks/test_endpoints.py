"""Webhook endpoints over HTTP: register, change, test, list deliveries, replay."""

import asyncio
import base64
import json
import logging
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from threading import Barrier, Event, Thread
from typing import Any
from unittest.mock import patch as patched_object
from uuid import uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from db.session import transaction
from db.webhooks.fan_out import fan_out as fan_out_events
from tests.support.api import Api
from tests.support.receiver import Received, Receiver, record_many, says
from tests.support.receiver import receiver as receiving
from tests.support.waiting import PATIENCE, wait_until
from worker.api.webhook_quotas import (
    REPLAYS_PER_MINUTE,
    TESTS_AT_ONCE_PER_WORKSPACE,
    TESTS_PER_MINUTE,
)
from worker.webhooks import attempt as attempts
from worker.webhooks.look_ups import PER_WORKSPACE, LookUps, check_url

URL = "https://1.1.1.1/hooks"
"""An address that needs no name looked up, and is never called here."""
FIELDS = {
    "id",
    "workspace_id",
    "url",
    "description",
    "event_types",
    "state",
    "disabled_reason",
    "failing_since",
    "previous_secret_until",
    "created_at",
}


@pytest.fixture
def receiver(api: Api) -> Generator[Receiver]:
    """A receiver, where the operator allows private addresses."""
    assert api.client is not None
    application: Any = api.client.app
    state = application.state
    allowing = state.runtime.settings.model_copy(update={"webhooks_allow_private": True})
    state.runtime = replace(state.runtime, settings=allowing)
    with receiving() as started:
        yield started


def register(api: Api, key: str = "admin", **body: Any) -> dict[str, Any]:
    """An endpoint, with its secret."""
    answer = api.post("/webhook-endpoints", key, json={"url": URL, **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


def path_of(endpoint: dict[str, Any], more: str = "") -> str:
    return f"/webhook-endpoints/{endpoint['id']}{more}"


def patch(api: Api, endpoint: dict[str, Any], key: str = "admin", **body: Any) -> Any:
    return api.call("PATCH", f"/api/v1{path_of(endpoint)}", key, json=body)


def fan_out(api: Api) -> None:
    """Make the deliveries of every event so far."""
    with transaction(api.engine) as tx:
        fan_out_events(tx, 1000)


def deliveries(api: Api, endpoint: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    return api.get(path_of(endpoint, f"/deliveries{query}"), "read").json()["deliveries"]


def delivered(api: Api, count: int, state: str = "delivered", **body: Any) -> dict[str, Any]:
    """Register an endpoint, with `count` deliveries that have ended."""
    endpoint = register(api, **body)
    api.publish(*(api.video() for _ in range(count)))
    fan_out(api)
    api.execute(
        "UPDATE publisher.webhook_delivery SET state = %s, attempts = 8, finished_at = now()", state
    )
    return endpoint


def attempt(api: Api, delivery: dict[str, Any], **columns: Any) -> None:
    """Log one attempt at a delivery."""
    values = {"status": None, "error": None, "answer": None, **columns}
    api.execute(
        "INSERT INTO publisher.webhook_attempt"
        " (id, delivery_id, started_at, duration_ms, status, error, answer)"
        " VALUES (gen_random_uuid(), %s, clock_timestamp(), 12, %s, %s, %s)",
        delivery["id"],
        *(values[name] for name in ("status", "error", "answer")),
    )


# --- registering ---------------------------------------------------------------------------------


def test_an_endpoint_is_registered_with_a_secret_of_its_own(api: Api) -> None:
    answer = api.post("/webhook-endpoints", "admin", json={"url": URL, "description": "Search"})
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"].endswith(f"/api/v1/webhook-endpoints/{made['id']}")
    assert answer.headers["Cache-Control"] == "no-store"
    assert made.keys() == FIELDS | {"secret"}
    assert (made["workspace_id"], made["url"], made["event_types"]) == (1, URL, None)
    assert (made["state"], made["description"]) == ("enabled", "Search")
    assert made["secret"].startswith("whsec_")
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
    assert register(api)["secret"] != made["secret"]


def test_event_types_are_kept_once_each(api: Api) -> None:
    types = ["video.unpublished", "video.published", "video.unpublished"]
    assert register(api, event_types=types)["event_types"] == types[:2]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": URL, "event_types": []}, "/event_types"),
        ({"url": URL, "event_types": ["video.viewed"]}, "/event_types/0"),
        ({"url": "http://1.1.1.1/hooks"}, "/url"),
        ({"url": "https://127.0.0.1/hooks"}, "/url"),
        ({"url": "nonsense"}, "/url"),
        ({"url": "https://[v1.x]/"}, "/url"),
        ({"url": "https://[::1/"}, "/url"),
        ({"url": f"{URL}?{'x' * 2000}"}, "/url"),
        ({"url": URL, "description": "x" * 256}, "/description"),
        ({}, "/url"),
        ({"url": URL, "secret": "whsec_mine"}, "/secret"),
    ],
)
def test_an_endpoint_that_is_not_valid_is_refused_with_422(
    api: Api, body: dict[str, Any], pointer: str
) -> None:
    answer = api.post("/webhook-endpoints", "admin", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert api.value("SELECT count(*) FROM publisher.webhook_endpoint") == 0


def test_a_private_address_is_refused_with_the_setting_that_allows_it(api: Api) -> None:
    for url in ("http://127.0.0.1:8080/hooks", "https://10.0.0.1/hooks"):
        [error] = api.post("/webhook-endpoints", "admin", json={"url": url}).json()["errors"]
        assert error["code"] == "address_refused"
        assert "WEBHOOKS_ALLOW_PRIVATE" in error["detail"]


@pytest.mark.parametrize(
    ("key", "workspace", "status"),
    [
        ("admin", 1, 201),
        ("admin", 2, 422),
        ("everywhere", 2, 201),
        ("everywhere", 77, 422),
        ("everywhere", None, 422),
    ],
)
def test_an_endpoint_belongs_to_a_workspace_that_the_key_sees(
    api: Api, key: str, workspace: int | None, status: int
) -> None:
    body = {"url": URL} | ({} if workspace is None else {"workspace_id": workspace})
    answer = api.post("/webhook-endpoints", key, json=body)
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["errors"][0]["pointer"] == "/workspace_id"


def test_a_workspace_has_fifty_endpoints_at_most_even_if_asked_for_two_at_once(api: Api) -> None:
    for _ in range(49):
        register(api)
    start, answers = Barrier(2), list[Any]()

    def ask() -> None:
        start.wait()
        answers.append(api.post("/webhook-endpoints", "admin", json={"url": URL}))

    threads = [Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused, _ = sorted(answers, key=lambda answer: -answer.status_code)
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    assert refused.json()["type"] == "/problems/endpoint-limit"
    assert register(api, "elsewhere")["workspace_id"] == 2


def test_an_endpoint_receives_only_later_events(api: Api) -> None:
    api.publish(api.video())
    endpoint = register(api)
    api.publish(api.video())
    fan_out(api)
    assert [each["position"] for each in deliveries(api, endpoint)] == [2]


def test_names_that_never_resolve_block_no_other_registration(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Event()

    def resolve(host: str, _port: int) -> list[str]:
        if host.startswith("never"):
            release.wait(60)
        return ["93.184.216.34"]

    monkeypatch.setattr(
        "worker.webhooks.endpoints.check_url", partial(check_url, look_ups=LookUps(resolve))
    )
    monkeypatch.setattr("worker.webhooks.look_ups.REGISTRATION_SECONDS", 0.1)
    for nth in range(PER_WORKSPACE):
        register(api, url=f"https://never-{nth}.example/")
    refused = api.post("/webhook-endpoints", "admin", json={"url": "https://never.example/"})
    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-look-ups")
    assert refused.headers["Retry-After"] == "5"
    assert register(api, "elsewhere", url="https://known.example/")
    assert register(api, url=URL), "an address needs no look-up"
    release.set()


# --- seeing and changing -------------------------------------------------------------------------


def test_endpoints_are_listed_newest_first_page_by_page(api: Api) -> None:
    ids = [register(api)["id"] for _ in range(5)][::-1]
    seen: list[str] = []
    path = "/webhook-endpoints?limit=2"
    while path:
        page = api.get(path, "read").json()
        seen += [endpoint["id"] for endpoint in page["endpoints"]]
        path = (page["next"] or "").removeprefix("https://videos.example/api/v1")
    assert seen == ids


def test_a_change_keeps_the_fields_that_are_left_out(api: Api) -> None:
    endpoint = register(api, event_types=["video.published"], description="Search")
    del endpoint["secret"]
    changed = patch(api, endpoint, description="Index").json()
    assert changed == endpoint | {"description": "Index"}
    assert patch(api, endpoint, event_types=None).json()["event_types"] is None
    assert api.get(path_of(endpoint), "read").json()["description"] == "Index"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": None},
        {"state": None},
        {"description": None},
        {"url": "https://10.0.0.1/"},
        {"url": "https://[v1.x]/"},
        {"event_types": []},
        {"workspace_id": 2},
    ],
)
def test_a_change_that_is_not_valid_is_refused_with_422(api: Api, body: dict[str, Any]) -> None:
    endpoint = register(api)
    assert patch(api, endpoint, **body).status_code == 422
    assert api.get(path_of(endpoint), "read").json()["url"] == URL


def test_disabling_an_endpoint_cancels_its_pending_deliveries(api: Api) -> None:
    endpoint = register(api)
    api.publish(api.video())
    fan_out(api)
    changed = patch(api, endpoint, state="disabled").json()
    assert (changed["state"], changed["disabled_reason"]) == ("disabled", "requested")
    [delivery] = deliveries(api, endpoint)
    assert delivery["state"] == "cancelled"
    assert delivery["finished_at"] is not None


def test_enabling_an_endpoint_clears_its_failures_and_starts_with_the_next_event(api: Api) -> None:
    endpoint = register(api)
    api.execute(
        "UPDATE publisher.webhook_endpoint SET state = 'disabled', disabled_reason = 'failing',"
        " failing_since = now() - interval '5 days'"
    )
    api.publish(api.video())
    changed = patch(api, endpoint, state="enabled").json()
    assert (changed["disabled_reason"], changed["failing_since"]) == (None, None)
    api.publish(api.video())
    fan_out(api)
    assert [each["position"] for each in deliveries(api, endpoint)] == [2]


def test_a_new_url_clears_failing_since(api: Api) -> None:
    endpoint = register(api)
    api.execute("UPDATE publisher.webhook_endpoint SET failing_since = now()")
    assert patch(api, endpoint, description="x").json()["failing_since"] is not None
    assert patch(api, endpoint, url=f"{URL}/v2").json()["failing_since"] is None


def test_deleting_an_endpoint_deletes_its_log(api: Api) -> None:
    endpoint = delivered(api, 2)
    attempt(api, deliveries(api, endpoint)[0])
    answer = api.call("DELETE", f"/api/v1{path_of(endpoint)}", "admin")
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get(path_of(endpoint), "admin").status_code == 404
    assert api.value("SELECT count(*) FROM publisher.webhook_attempt") == 0


# --- secrets -------------------------------------------------------------------------------------


def signed_by(request: Received, secret: str) -> bool:
    try:
        Webhook(secret).verify(request.body, request.headers)
    except WebhookVerificationError:
        return False
    return True


def test_both_secrets_sign_for_a_day_after_a_rotation(api: Api, receiver: Receiver) -> None:
    endpoint = register(api, url=receiver.url())
    answer = api.post(path_of(endpoint, "/rotate-secret"), "admin")
    rotated = answer.json()
    assert answer.headers["Cache-Control"] == "no-store"
    assert rotated["previous_secret_until"] is not None
    api.post(path_of(endpoint, "/test"), "admin")
    api.execute(
        "UPDATE publisher.webhook_endpoint"
        " SET previous_secret_until = previous_secret_until - interval '24 hours'"
    )
    api.post(path_of(endpoint, "/test"), "admin")
    secrets = [endpoint["secret"], rotated["secret"]]
    during, after = receiver.received
    assert [signed_by(during, secret) for secret in secrets] == [True, True]
    assert [signed_by(after, secret) for secret in secrets] == [False, True]
    assert api.get(path_of(endpoint), "read").json()["previous_secret_until"] is None


def test_the_overlap_lasts_a_day(api: Api) -> None:
    api.post(path_of(register(api), "/rotate-secret"), "admin")
    query = "SELECT previous_secret_until - now() FROM publisher.webhook_endpoint"
    assert 24 * 3600 - 60 < api.value(query).total_seconds() <= 24 * 3600


def test_a_secret_is_in_two_answers_and_nowhere_else(
    api: Api, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint = register(api, url=receiver.url())
    rotated = api.post(path_of(endpoint, "/rotate-secret"), "admin").json()
    api.publish(api.video())
    fan_out(api)
    [delivery] = deliveries(api, endpoint)
    attempt(api, delivery, status=500, error="HTTP 500", answer="no")
    answers = [
        patch(api, endpoint, description="x"),
        api.get("/webhook-endpoints", "admin"),
        api.get(path_of(endpoint), "admin"),
        api.get(path_of(endpoint, "/deliveries"), "admin"),
        api.get(path_of(endpoint, f"/deliveries/{delivery['id']}"), "admin"),
        api.post(path_of(endpoint, f"/deliveries/{delivery['id']}/replay"), "admin"),
        api.post(path_of(endpoint, "/replay"), "admin", json={"failed": True}),
        api.post(path_of(endpoint, "/test"), "admin"),
        api.call("DELETE", f"/api/v1{path_of(endpoint)}", "admin"),
    ]
    assert all(answer.status_code < 300 for answer in answers), [a.text for a in answers]
    logged = "\n".join(str(vars(record)) for record in caplog.records)
    said = logged + "".join(answer.text for answer in answers) + json.dumps(api.events())
    assert endpoint["id"] in logged
    for secret in (endpoint["secret"], rotated["secret"]):
        assert secret.removeprefix("whsec_") not in said


# --- test events ---------------------------------------------------------------------------------


def test_a_test_event_is_sent_and_signed_at_once(api: Api, receiver: Receiver) -> None:
    receiver.answers["/"] = says(200, b"thanks")
    endpoint = register(api, url=receiver.url())
    tried = api.post(path_of(endpoint, "/test"), "admin").json()
    assert (tried["delivered"], tried["status"], tried["answer"]) == (True, 200, "thanks")
    assert tried["error"] is None
    assert tried["duration_ms"] >= 0
    [request] = receiver.received
    assert signed_by(request, endpoint["secret"])
    assert request.event["type"] == "webhook.test"
    assert request.event["id"] == request.id
    assert deliveries(api, endpoint) == []
    assert api.events() == []


def test_a_failed_test_event_shows_the_answer(api: Api, receiver: Receiver) -> None:
    receiver.answers["/"] = says(500, b"x" * 5000)
    endpoint = register(api, url=receiver.url())
    answer = api.post(path_of(endpoint, "/test"), "admin")
    tried = answer.json()
    assert (answer.status_code, tried["delivered"], tried["status"]) == (200, False, 500)
    assert tried["answer"] == "x" * 1024


def test_a_test_event_survives_any_answer(api: Api, receiver: Receiver) -> None:
    receiver.answers["/"] = says(429, retry_after="Mon, 20 Nov 9999999999 12:00:00 GMT")
    receiver.answers["/length"] = says(200, content_length="9" * 5000)
    for path, status in (("/", 429), ("/length", None)):
        endpoint = register(api, url=receiver.url(path))
        answer = api.post(path_of(endpoint, "/test"), "admin")
        tried = answer.json()
        assert (answer.status_code, tried["delivered"], tried["status"]) == (200, False, status)


def test_a_disabled_endpoint_receives_test_events(api: Api, receiver: Receiver) -> None:
    endpoint = register(api, url=receiver.url())
    patch(api, endpoint, state="disabled")
    assert api.post(path_of(endpoint, "/test"), "admin").json()["delivered"] is True


def test_an_address_is_checked_again_at_each_attempt(api: Api) -> None:
    endpoint = register(api)
    api.execute("UPDATE publisher.webhook_endpoint SET url = 'https://127.0.0.1:1/hooks'")
    tried = api.post(path_of(endpoint, "/test"), "admin").json()
    assert (tried["delivered"], tried["status"]) == (False, None)
    assert tried["error"]


@pytest.mark.slow
def test_a_workspace_runs_two_tests_at_once(api: Api, receiver: Receiver) -> None:
    release = Event()

    async def wait(request: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(release.wait, PATIENCE)
        await says(204)(request, writer)

    receiver.answers["/"] = wait
    slow, quick = register(api, url=receiver.url()), register(api, url=receiver.url("/quick"))
    elsewhere = register(api, "elsewhere", url=receiver.url("/quick"))
    threads = [
        Thread(target=api.post, args=(path_of(slow, "/test"), "admin"))
        for _ in range(TESTS_AT_ONCE_PER_WORKSPACE)
    ]
    with patched_object.object(attempts, "TIMEOUT_SECONDS", PATIENCE):
        for thread in threads:
            thread.start()
        wait_until(lambda: len(receiver.received) == len(threads), "both tests to run")
        refused = api.post(path_of(quick, "/test"), "admin")
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-tests")
        assert refused.headers["Retry-After"] == "5"
        assert api.post(path_of(elsewhere, "/test"), "elsewhere").json()["delivered"] is True
        release.set()
        for thread in threads:
            thread.join()
    assert api.post(path_of(quick, "/test"), "admin").json()["delivered"] is True


def test_too_many_tests_within_a_minute_are_refused_with_429(api: Api, receiver: Receiver) -> None:
    endpoint = register(api, url=receiver.url())
    for _ in range(TESTS_PER_MINUTE):
        assert api.post(path_of(endpoint, "/test"), "admin").status_code == 200
    for key in ("admin", "everywhere"):
        refused = api.post(path_of(endpoint, "/test"), key)
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-tests")
        assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert len(receiver.received) == TESTS_PER_MINUTE
    elsewhere = register(api, "elsewhere", url=receiver.url())
    assert api.post(path_of(elsewhere, "/test"), "elsewhere").status_code == 200


# --- deliveries ----------------------------------------------------------------------------------


def test_deliveries_are_listed_by_position_page_by_page(api: Api) -> None:
    endpoint = delivered(api, 5)
    seen: list[int] = []
    path = path_of(endpoint, "/deliveries?limit=2")
    while path:
        page = api.get(path, "read").json()
        seen += [delivery["position"] for delivery in page["deliveries"]]
        path = (page["next"] or "").removeprefix("https://videos.example/api/v1")
    assert seen == [5, 4, 3, 2, 1]


def test_deliveries_are_found_by_state(api: Api) -> None:
    endpoint = delivered(api, 3)
    api.execute("UPDATE publisher.webhook_delivery SET state = 'failed' WHERE position = 2")
    assert [each["position"] for each in deliveries(api, endpoint, "?state=failed")] == [2]


def test_a_delivery_is_shown_with_its_attempts(api: Api) -> None:
    endpoint = delivered(api, 1)
    [delivery] = deliveries(api, endpoint)
    attempt(api, delivery, error="timeout")
    attempt(api, delivery, status=200, answer="ok")
    shown = api.get(path_of(endpoint, f"/deliveries/{delivery['id']}"), "read").json()
    log = shown.pop("log")
    assert shown == delivery
    assert [(each["status"], each["error"], each["answer"]) for each in log] == [
        (200, None, "ok"),
        (None, "timeout", None),
    ]
    assert log[0]["duration_ms"] == 12


def test_a_delivery_belongs_to_its_endpoint(api: Api) -> None:
    [delivery] = deliveries(api, delivered(api, 1))
    path = path_of(register(api), f"/deliveries/{delivery['id']}")
    for answer in (api.get(path, "admin"), api.post(f"{path}/replay", "admin")):
        assert answer.status_code == 404
        assert answer.json()["type"] == "/problems/no-such-delivery"


# --- replays -------------------------------------------------------------------------------------


def test_a_delivery_is_replayed_with_new_attempts(api: Api) -> None:
    endpoint = delivered(api, 2)
    chosen = deliveries(api, endpoint)[1]
    answer = api.post(path_of(endpoint, f"/deliveries/{chosen['id']}/replay"), "admin")
    again = answer.json()
    assert (answer.status_code, again["state"], again["attempts"]) == (202, "pending", 0)
    assert again["event_id"] == chosen["event_id"]
    assert [each["state"] for each in deliveries(api, endpoint)] == ["delivered", "pending"]


def test_failed_deliveries_are_replayed(api: Api) -> None:
    endpoint = delivered(api, 3)
    api.execute("UPDATE publisher.webhook_delivery SET state = 'failed' WHERE position < 3")
    answer = api.post(path_of(endpoint, "/replay"), "admin", json={"failed": True})
    assert answer.status_code == 202
    assert answer.json() == {"deliveries": 2, "next_position": None}
    states = [each["state"] for each in deliveries(api, endpoint)]
    assert states == ["delivered", "pending", "pending"]


def test_a_replay_since_a_position_includes_missed_events(api: Api) -> None:
    endpoint = delivered(api, 2, event_types=["video.published"])
    patch(api, endpoint, state="disabled")
    api.publish(api.video(), api.video(status="failed"))
    fan_out(api)
    patch(api, endpoint, state="enabled")
    answer = api.post(path_of(endpoint, "/replay"), "admin", json={"since_position": 2})
    assert answer.json() == {"deliveries": 2, "next_position": None}
    found = {each["position"]: each["state"] for each in deliveries(api, endpoint)}
    assert found == {3: "pending", 2: "pending", 1: "delivered"}


def test_a_long_replay_returns_the_next_position(api: Api) -> None:
    endpoint = register(api)
    record_many(api, 10_001)
    path, seen = path_of(endpoint, "/replay"), list[Any]()
    since: int | None = 1
    while since is not None:
        seen.append(api.post(path, "admin", json={"since_position": since}).json())
        since = seen[-1]["next_position"]
    assert [(each["deliveries"], each["next_position"]) for each in seen] == [
        (10_000, 10_001),
        (1, None),
    ]
    assert deliveries(api, endpoint, "?limit=1")[0]["position"] == 10_001


@pytest.mark.parametrize("body", [{}, {"failed": False}, {"failed": True, "since_position": 1}])
def test_a_replay_has_exactly_one_kind(api: Api, body: dict[str, Any]) -> None:
    answer = api.post(path_of(register(api), "/replay"), "admin", json=body)
    assert answer.status_code == 422


def test_a_replay_is_refused_while_too_many_deliveries_wait(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.api.routes.webhooks.MAX_WAITING", 3)
    endpoint, other = register(api), register(api)
    api.publish(*(api.video() for _ in range(3)))
    for expected in (202, 429):
        answer = api.post(path_of(endpoint, "/replay"), "admin", json={"since_position": 1})
        assert answer.status_code == expected
    assert answer.json()["type"] == "/problems/too-many-replays"
    assert answer.headers["Retry-After"] == "60"
    assert answer.json()["detail"].startswith("3 deliveries of the endpoint wait")
    answer = api.post(path_of(other, "/replay"), "admin", json={"since_position": 1})
    assert answer.status_code == 202


def test_too_many_replays_within_a_minute_are_refused_with_429(api: Api) -> None:
    endpoint = delivered(api, 1)
    [delivery] = deliveries(api, endpoint)
    for _ in range(REPLAYS_PER_MINUTE):
        api.post(path_of(endpoint, "/replay"), "admin", json={"failed": True})
    for path, body in (
        ("/replay", {"failed": True}),
        (f"/deliveries/{delivery['id']}/replay", None),
    ):
        refused = api.post(path_of(endpoint, path), "admin", json=body)
        assert (refused.status_code, refused.json()["type"]) == (429, "/problems/too-many-replays")
    assert [each["state"] for each in deliveries(api, endpoint)] == ["delivered"]


def test_a_replay_to_a_disabled_endpoint_is_refused_with_409(api: Api) -> None:
    endpoint = delivered(api, 1)
    [delivery] = deliveries(api, endpoint)
    patch(api, endpoint, state="disabled")
    for answer in (
        api.post(path_of(endpoint, f"/deliveries/{delivery['id']}/replay"), "admin"),
        api.post(path_of(endpoint, "/replay"), "admin", json={"failed": True}),
    ):
        assert answer.status_code == 409
        assert answer.json()["type"] == "/problems/endpoint-disabled"


def test_a_replay_of_a_pruned_event_is_refused_with_409(api: Api) -> None:
    endpoint = delivered(api, 1)
    [delivery] = deliveries(api, endpoint)
    api.execute("DELETE FROM publisher.outbox_event")
    answer = api.post(path_of(endpoint, f"/deliveries/{delivery['id']}/replay"), "admin")
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/event-not-kept"


# --- authorization -------------------------------------------------------------------------------

OF_ONE: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "", None),
    ("PATCH", "", {"description": "mine"}),
    ("PATCH", "", {"url": "https://1.1.1.1/mine"}),
    ("DELETE", "", None),
    ("POST", "/rotate-secret", None),
    ("POST", "/test", None),
    ("POST", "/replay", {"failed": True}),
    ("GET", "/deliveries", None),
    ("GET", "/deliveries/{delivery}", None),
    ("POST", "/deliveries/{delivery}/replay", None),
]
"""Every route of one endpoint."""
WRITES = [("POST", None, {"url": URL}), *(each for each in OF_ONE if each[0] != "GET")]


def snapshot(api: Api) -> list[tuple[Any, ...]]:
    """Every endpoint and every delivery as they are in the database."""
    return [
        *api.rows("SELECT * FROM publisher.webhook_endpoint"),
        *api.rows("SELECT * FROM publisher.webhook_delivery"),
    ]


@pytest.mark.parametrize(("method", "suffix", "body"), OF_ONE)
def test_an_endpoint_of_another_workspace_does_not_exist(
    api: Api, method: str, suffix: str, body: dict[str, Any] | None
) -> None:
    endpoint = delivered(api, 1, "failed")
    path = path_of(endpoint, suffix.format(delivery=deliveries(api, endpoint)[0]["id"]))
    before = snapshot(api)
    answer = api.call(method, f"/api/v1{path}", "elsewhere", json=body)
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/no-such-endpoint"
    assert snapshot(api) == before


def test_a_list_of_endpoints_shows_only_the_callers_workspace(api: Api) -> None:
    register(api)
    register(api, "elsewhere")

    def seen(key: str, query: str = "") -> list[int]:
        page = api.get(f"/webhook-endpoints{query}", key).json()
        return [endpoint["workspace_id"] for endpoint in page["endpoints"]]

    assert [seen(key) for key in ("read", "elsewhere", "everywhere")] == [[1], [2], [2, 1]]
    assert seen("everywhere", "?workspace_id=1") == [1]
    assert seen("read", "?workspace_id=2") == []


@pytest.mark.parametrize("key", ["read", "publish"])
@pytest.mark.parametrize(("method", "suffix", "body"), WRITES)
def test_only_an_admin_changes_anything(
    api: Api, key: str, method: str, suffix: str | None, body: dict[str, Any] | None
) -> None:
    endpoint = delivered(api, 1, "failed")
    [delivery] = deliveries(api, endpoint)
    path = "" if suffix is None else f"/{endpoint['id']}{suffix.format(delivery=delivery['id'])}"
    before = snapshot(api)
    answer = api.call(method, f"/api/v1/webhook-endpoints{path}", key, json=body)
    assert answer.status_code == 403
    assert answer.json()["type"] == "/problems/scope-too-low"
    assert snapshot(api) == before


@pytest.mark.parametrize(("method", "suffix", "body"), [*OF_ONE, ("GET", None, None), WRITES[0]])
def test_without_a_key_every_route_answers_401(
    api: Api, method: str, suffix: str | None, body: dict[str, Any] | None
) -> None:
    path = "" if suffix is None else f"/{uuid4()}{suffix.format(delivery=uuid4())}"
    assert api.call(method, f"/api/v1/webhook-endpoints{path}", None, json=body).status_code == 401
