"""A database that accepts what is sent and does not answer: 503 after one limit, not after two."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from db.session import get_family, transaction
from tests.support.api import Api
from tests.support.console_client import Console
from tests.support.frozen import frozen_postgres
from tests.support.waiting import PATIENCE
from worker.api import key_cache

LIMIT = 1.0
"""Seconds."""
LATE = 40.0
"""A retry would connect, and give up after `CONNECT` more than the limit."""
CONNECT = 60

Call = Callable[[Api, int], Any]
CALLS: dict[str, Call] = {
    "publish": lambda api, video: api.post(f"/videos/{video}/publish/"),
    "with_a_key": lambda api, video: api.post(
        f"/videos/{video}/publish/", headers={"Idempotency-Key": "k"}
    ),
    "bulk": lambda api, video: api.post(
        "/publish-commands", json={"commands": [{"video_id": video}] * 60}
    ),
    "list": lambda api, _: api.get("/publish-commands"),
    "redirect": lambda api, _: api.call("GET", "/v/a/b-k3v9x2a7qd5mp", "publish"),
}


def time_call(call: Call, api: Api, video: int) -> tuple[Any, float]:
    """The answer, and how many seconds it took."""
    started = time.monotonic()
    answer = call(api, video)
    return answer, time.monotonic() - started


def be_impatient(api: Api) -> None:
    """Let the API wait for an answer as long as LIMIT, and for a connection much longer."""
    family = get_family(api.engine)
    family.answer_seconds = LIMIT
    family.parameters = {**family.parameters, "connect_timeout": CONNECT}


READS = ("list", "redirect")
CASES = [pytest.param(call, name in READS, id=name) for name, call in CALLS.items()]


@pytest.mark.parametrize("kept_seconds", [0.0, 3600.0], ids=["look_up", "kept_key"])
@pytest.mark.parametrize(("call", "is_read"), CASES)
def test_requests_are_answered_after_one_limit(
    api: Api,
    admin: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
    is_read: bool,
    kept_seconds: float,
) -> None:
    monkeypatch.setattr(key_cache, "KEPT_SECONDS", kept_seconds)
    monkeypatch.setattr(key_cache, "REFRESHED_AFTER", kept_seconds)
    video = api.video()
    for prepare in CALLS.values():
        prepare(api, video)
    with transaction(api.engine), transaction(api.engine), transaction(api.engine):
        pass  # each call has a session that is open
    be_impatient(api)
    with ThreadPoolExecutor(3) as pool, frozen_postgres(admin):
        # Two of the three arrive while the first one waits for the server.
        running = [pool.submit(time_call, call, api, video) for _ in range(3)]
        done = [each.result() for each in running]
    for answer, seconds in done:
        assert LIMIT / 2 < seconds < LATE
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/database-away")
        is_unknown = "Whether the request took effect is not known" in answer.json()["detail"]
        assert is_unknown is not is_read
    get_family(api.engine).answer_seconds = PATIENCE
    assert call(api, video).status_code < 500, "the next request finds the server again"


def test_a_page_of_the_console_says_what_shows_the_cause(
    api: Api, admin: psycopg.Connection
) -> None:
    console = Console.sign_in(api)
    be_impatient(api)
    with frozen_postgres(admin):
        page = console.get("/console/videos/")
    assert page.status_code == 503
    assert "The database does not answer. Try again in a few seconds." in page.text
    assert "publish-worker status" in page.text
