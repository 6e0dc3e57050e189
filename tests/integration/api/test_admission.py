"""Admission: what one key or workspace may use, and that the others do not notice."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from db.session import transaction
from tests.support.api import Api
from tests.support.served import served
from tests.support.waiting import PATIENCE, wait_until
from worker.api import admission
from worker.api.admission import MIB, Admission, Limits, UsageAccount
from worker.api.problems import ApiProblem
from worker.operations.api_keys import identify

WAIT = {"Prefer": "wait=20"}
LOCK = """
SET LOCAL idle_in_transaction_session_timeout = 0;
LOCK TABLE publisher.publish_command IN ACCESS EXCLUSIVE MODE
"""
COUNT = "SELECT count(*) FROM publisher.publish_command"
LIST = "/publish-commands"
PLENTY: dict[str, Any] = {
    "requests": 1_000,
    "body_bytes": 100 * MIB,
    "per_second": 1_000,
    "burst": 1_000,
}


def limits(owner: str, **less: int) -> Limits:
    return Limits(owner=owner, **{**PLENTY, **less})


def admit(api: Api, *, key: dict[str, int], workspace: dict[str, int] | None = None) -> None:
    """Give the API these limits, without time that passes."""
    assert api.client is not None
    app: Any = api.client.app
    app.state.admission = Admission(
        key=limits("This API key", **key),
        workspace=limits("This workspace", **(workspace or {})),
        clock=lambda: 0.0,
    )


def assert_refused(answer: Any, reason: str) -> None:
    assert answer.status_code == 429
    assert answer.json()["type"] == "/problems/too-many-requests"
    assert reason in answer.json()["detail"]
    assert answer.headers["Retry-After"] == "1"


def test_a_key_that_sends_too_many_requests_is_refused_and_others_are_not(api: Api) -> None:
    admit(api, key={"burst": 3})
    assert [api.get(LIST, "read").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert_refused(api.get(LIST, "read"), "This API key sends more than")
    assert api.get(LIST, "publish").status_code == 200


def test_the_keys_of_a_workspace_together_have_a_limit(api: Api) -> None:
    admit(api, key={}, workspace={"burst": 3})
    for key in ("read", "publish", "admin"):
        assert api.get(LIST, key).status_code == 200
    assert_refused(api.get(LIST, "read"), "This workspace sends more than")
    for key in ("elsewhere", "everywhere"):
        assert api.get(LIST, key).status_code == 200


def test_health_and_addresses_need_no_key_and_have_no_rate(api: Api) -> None:
    admit(api, key={"burst": 1}, workspace={"burst": 1})
    for _ in range(5):
        assert api.call("GET", "/healthz", None).status_code == 200
        assert api.call("GET", "/v/nothing", None).status_code == 404


def test_a_rate_is_regained_with_time() -> None:
    now = 0.0
    account = UsageAccount(limits("This API key", per_second=10, burst=2), lambda: now)
    account.begin()
    account.begin()
    with pytest.raises(ApiProblem, match="more than 10 requests a second"):
        account.begin()
    now = 0.1
    account.begin()
    with pytest.raises(ApiProblem):
        account.begin()
    now = 100.0
    for _ in range(2):
        account.begin()
    with pytest.raises(ApiProblem):
        account.begin()


def test_a_key_may_have_a_limited_number_of_requests_in_hand(api: Api) -> None:
    admit(api, key={"requests": 2})
    path = f"/videos/{api.video()}/publish/"
    assert api.get(LIST).status_code == 200
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(api.post, path, headers=WAIT) for _ in range(2)]
        wait_until(lambda: api.value(COUNT) == 2, "both to be accepted")
        assert_refused(api.get(LIST), "has 2 requests in hand")
        assert api.get(LIST, "admin").status_code == 200
        with api.working():
            assert [each.result().status_code for each in waiting] == [200, 200]
    assert api.get(LIST).status_code == 200


def test_a_request_that_waits_for_its_command_leaves_its_turn_to_others(api: Api) -> None:
    count = 2 * admission.AT_ONCE
    paths = [f"/videos/{api.video()}/publish/" for _ in range(count)]
    assert api.get(LIST).status_code == 200
    with ThreadPoolExecutor(count) as pool:
        waiting = [pool.submit(api.post, path, headers=WAIT) for path in paths]
        wait_until(lambda: api.value(COUNT) == count, "all to be accepted")
        assert api.get(LIST).status_code == 200
        with api.working():
            assert [each.result().status_code for each in waiting] == [200] * count


def test_sixty_slow_requests_of_one_workspace_do_not_delay_another(api: Api) -> None:
    assert api.get(LIST, "read").status_code == 200
    with ThreadPoolExecutor(60) as pool, transaction(api.engine) as tx:
        tx.execute(LOCK)
        slow = [pool.submit(api.get, LIST, "read") for _ in range(60)]
        wait_until(lambda: blocked(api) == admission.AT_ONCE, "its slots to be taken")
        for _ in range(5):
            assert api.get("/webhook-endpoints", "elsewhere").status_code == 200
        assert blocked(api) == admission.AT_ONCE
        tx.execute("ROLLBACK")
        assert {each.result().status_code for each in slow} <= {200, 503}


def test_streams_that_one_workspace_opens_do_not_delay_those_of_another(
    api: Api, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "TURN_SECONDS", 0.1)

    def open_stream(key: str) -> int:
        headers = {"Authorization": f"Bearer {api.secret(key)}"}
        with httpx.stream("GET", server.stream, headers=headers, timeout=PATIENCE) as answer:
            return answer.status_code

    with served(api.engine, redis_url) as server:
        assert open_stream("read") == 200
        caller = identify(api.engine, api.secret("read"))
        server.admission.accounts(caller, "")[-1].slots = asyncio.Semaphore(0)
        assert open_stream("read") == 503
        assert open_stream("elsewhere") == 200


def test_a_request_whose_turn_does_not_come_is_refused(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "TURN_SECONDS", 0.1)
    with ThreadPoolExecutor(admission.AT_ONCE) as pool, transaction(api.engine) as tx:
        tx.execute(LOCK)
        slow = [pool.submit(api.get, LIST, "read") for _ in range(admission.AT_ONCE)]
        wait_until(lambda: blocked(api) == admission.AT_ONCE, "its slots to be taken")
        assert_refused(api.get("/webhook-endpoints", "read"), "worked on for")
        tx.execute("ROLLBACK")
        assert {each.result().status_code for each in slow} <= {200, 503}


def test_bodies_of_one_key_together_are_limited(api: Api) -> None:
    admit(api, key={"body_bytes": MIB // 2})
    body = b" " * (MIB // 2) + b"{}"
    headers = {"Content-Type": "application/json"}
    assert_refused(api.post(LIST, content=body, headers=headers), "sends more than 0 MiB")
    assert api.post(LIST, json={}).status_code == 422


def test_a_refused_request_is_not_counted_for_ever(api: Api) -> None:
    admit(api, key={"requests": 1})
    for _ in range(3):
        assert api.post(LIST, json={"commands": 7}).status_code == 422
        assert api.post(LIST, content=b" " * (MIB + 1)).status_code == 413
        assert api.get("/nonsense").status_code == 404


def blocked(api: Api) -> int:
    """The number of statements that wait for a lock."""
    return api.value(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )


def test_more_requests_than_are_worked_on_at_once_are_refused_and_health_is_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "TURN_SECONDS", 0.1)
    assert api.client is not None
    app: Any = api.client.app
    assert api.get(LIST).status_code == 200
    app.state.admission.process.slots = asyncio.Semaphore(0)
    answer = api.get(LIST)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["type"] == "/problems/overloaded"
    assert api.call("GET", "/healthz", None).status_code == 200
    app.state.admission.process.slots = asyncio.Semaphore(1)
    assert [api.get(LIST).status_code for _ in range(3)] == [200, 200, 200]
