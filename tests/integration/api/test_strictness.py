"""Strictness over HTTP: nothing misspelt is ignored, and without a key nothing is disclosed."""

import pytest

from tests.support.api import Api


def test_a_misspelt_query_parameter_is_refused(api: Api) -> None:
    answer = api.get("/publish-commands?stat=failed")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "query stat"


@pytest.mark.parametrize("path", ["/videos/0/", "/publish-commands?limit=x"])
def test_without_a_key_no_other_error_is_disclosed(api: Api, path: str) -> None:
    assert api.get(path, None).status_code == 401


@pytest.mark.parametrize("value", [b"NaN", b'"\\ud800"', b"[" * 900 + b"]" * 900])
def test_invalid_json_is_refused_even_where_it_would_be_dropped(api: Api, value: bytes) -> None:
    body = b'{"title": "x", "template": {}, "owner": {}, "workspace": 1, "plan": ' + value + b"}"
    headers = {"Content-Type": "application/json"}
    answer = api.post(f"/videos/{api.video()}/publish/", content=body, headers=headers)
    assert answer.status_code == 400


def test_a_waited_answer_has_an_etag_and_a_refusal_links_its_command(api: Api) -> None:
    wait = {"Prefer": "wait=20"}
    with api.working():
        fine = api.post(f"/videos/{api.video()}/publish/", headers=wait)
        never = api.post(f"/videos/{api.video(status='failed')}/publish/", headers=wait)
    assert fine.headers["ETag"]
    assert "/publish-commands/" in never.json()["command"]
