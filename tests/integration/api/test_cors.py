"""CORS_ORIGINS: which web pages of other origins may call the API."""

from typing import Any

import pytest

from tests.support.api import Api

APP = "https://app.example.com"


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two origins, in the environment."""
    monkeypatch.setenv("CORS_ORIGINS", f"{APP},http://localhost:3000")


def ask_before(api: Api, origin: str) -> Any:
    """What a browser asks before it sends a key."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,last-event-id",
    }
    return api.call("OPTIONS", "/api/v1/events/stream", None, headers=headers)


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("origin", [APP, "http://localhost:3000"])
def test_a_page_of_an_allowed_origin_may_read_events(api: Api, origin: str) -> None:
    assert ask_before(api, origin).status_code == 200
    answer = api.get("/events", headers={"Origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in answer.headers
    assert "Events-Next-After" in answer.headers["access-control-expose-headers"]


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("origin", ["https://evil.example", f"{APP}.evil.example", "null"])
def test_a_page_of_another_origin_may_not(api: Api, origin: str) -> None:
    assert ask_before(api, origin).status_code == 400
    answer = api.get("/events", headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.usefixtures("allowed")
def test_a_problem_is_readable_too(api: Api) -> None:
    answer = api.call("GET", "/api/v1/events", None, headers={"Origin": APP})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == APP


def test_by_default_no_page_of_another_origin_may(api: Api) -> None:
    answer = api.get("/events", headers={"Origin": APP})
    assert "access-control-allow-origin" not in answer.headers
