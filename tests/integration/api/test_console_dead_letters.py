"""The pages of dead letters over HTTP: wrong addresses and forms, odd names, lost answers."""

import re
from html import unescape
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support.api import Api, serving
from tests.support.console_client import Console
from tests.support.redis_proxy import redis_proxy
from tests.support.subscribing import document

LETTERS = "/console/failures/dead-letters/"
DEAD = "video.events:dead:search"
AGAIN = "video.events:again:search"


def add(api: Api, *positions: int, group: str = "search", size: int = 0) -> None:
    for position in positions:
        event = document(position, "7") + " " * size
        fields: Any = {"position": position, "event": event, "error": "no"}
        api.redis.xadd(f"video.events:dead:{group}", fields, id=f"{position}-1")


@pytest.mark.parametrize(
    "field", [{"until": "soon"}, {"until": "2-01"}, {"after": "0-0"}, {"done": "-1"}]
)
def test_a_form_with_a_wrong_bound_redrives_nothing(api: Api, field: dict[str, str]) -> None:
    add(api, 1, 2)
    answer = Console.sign_in(api, "everywhere").post(f"{LETTERS}redrive", group="search", **field)
    assert answer.status_code == 400
    assert f"{next(iter(field))} is not valid" in answer.text
    assert (api.redis.xlen(DEAD), api.redis.exists(AGAIN)) == (2, 0)


@pytest.mark.parametrize("before", ["0-0", "1-01", "soon"])
def test_an_address_with_an_id_that_no_letter_has_is_explained(api: Api, before: str) -> None:
    add(api, 1)
    console = Console.sign_in(api, "everywhere")
    answer = console.get(LETTERS, group="search", before=before)
    assert answer.status_code == 422
    assert "not the ID of an entry" in answer.text
    assert console.get(f"{LETTERS}{before}", group="search").status_code == 404
    assert console.post(f"{LETTERS}{before}/redrive", group="search").status_code == 404
    assert api.redis.xlen(DEAD) == 1


def test_a_key_of_another_program_is_named_and_redis_is_not_blamed(api: Api) -> None:
    api.redis.set(DEAD, "of another program")
    answer = Console.sign_in(api, "everywhere").get(LETTERS, group="search")
    assert answer.status_code == 409
    assert f"The key {DEAD} is not a stream" in answer.text
    assert "REDIS_URL" not in answer.text


@pytest.mark.parametrize("group", ["a b", "ü/?&#%41", "<b>'\"", "..", "{{x}}", "😀", "x" * 255])
def test_a_group_of_any_name_is_found_and_its_letters_redriven(api: Api, group: str) -> None:
    add(api, 1, 2, group=group)
    console = Console.sign_in(api, "everywhere")
    failures = console.get("/console/failures/").text
    links = [unescape(each) for each in re.findall(r'href="([^"]+dead-letters/\?[^"]+)"', failures)]
    assert [console.get(link).status_code for link in links] == [200]
    assert console.post(f"{LETTERS}1-1/redrive", group=group).status_code == 200
    answer = console.post(f"{LETTERS}redrive", group=group)
    assert "1 event will be delivered to the group again" in answer.text
    assert api.redis.xlen(f"video.events:again:{group}") == 2


def test_a_page_has_the_beginnings_of_large_letters_and_a_link_to_each(api: Api) -> None:
    add(api, 1, 2, size=2**20)
    add(api, 3, size=17 * 2**20)
    console = Console.sign_in(api, "everywhere")
    page = console.get(LETTERS, group="search")
    assert len(page.content) < 50_000
    assert "event 3" in page.text.lower()
    older = unescape(re.findall(r'href="([^"]+)" rel="next"', page.text)[0])
    assert "event 1" in console.get(older).text.lower()
    assert len(console.get(f"{LETTERS}1-1", group="search").content) > 2**20
    too_large = console.get(f"{LETTERS}3-1", group="search")
    assert too_large.status_code == 409
    assert "redis-cli XRANGE" in too_large.text


def test_what_an_entry_of_another_program_does_not_say_is_not_shown(api: Api) -> None:
    api.redis.xadd(DEAD, {"entry": "7-7", "event": "foreign", "error": "not ours"}, id="7-7")
    page = Console.sign_in(api, "everywhere").get(LETTERS, group="search").text
    assert "Entry 7-7" in page
    assert "1970" not in page
    assert "0 tries" not in page


def test_without_an_answer_the_page_and_the_audit_log_say_that_the_outcome_is_not_known(
    platform: Engine, redis: Redis, redis_url: str
) -> None:
    with (
        redis_proxy(redis_url, marker=b":redrive:", loses=2) as proxy,
        serving(platform, redis, proxy.url) as api,
    ):
        add(api, 1)
        answer = Console.sign_in(api, "everywhere").post(f"{LETTERS}1-1/redrive", group="search")
        assert answer.status_code == 503
        assert "Whether this was done is not known" in answer.text
        assert api.rows(
            "SELECT outcome, problem FROM publisher.audit_entry WHERE action = 'dead_letter.retry'"
        ) == [("failed", "redis-no-answer")]
