"""`GET /videos`: pages, filters, the next command and the plan of each video."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.commands import canary
from db.session import transaction
from db.videos import listing
from publish_worker_client.events.names import Action
from schemas.command import PublishRequest
from schemas.video_list import VideoFilter
from tests.support.api import Api
from tests.support.platform import make_ready_videos

SOON = datetime.now(UTC) + timedelta(days=1)


def list_ids(api: Api, key: str = "read", **query: Any) -> list[int]:
    answer = api.get("/videos", key, params=query)
    assert answer.status_code == 200, answer.text
    return [video["id"] for video in answer.json()["videos"]]


def read_one(api: Api, video_id: int) -> Any:
    return api.get("/videos", "read", params={"before": video_id + 1, "limit": 1}).json()["videos"][
        0
    ]


def follow(api: Api, **query: Any) -> list[Any]:
    """Read page after page, by their links."""
    answer = api.get("/videos", "read", params=query).json()
    pages = [answer]
    while answer["next"]:
        path = answer["next"].split("/api/v1")[1]
        answer = api.get(path, "read").json()
        pages.append(answer)
    return pages


def search_nothing(*_: object) -> None:
    """A search that takes too long."""


@pytest.fixture
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page looks at three candidates, and has no time for more."""
    monkeypatch.setattr(listing, "CANDIDATES", 3)
    monkeypatch.setattr(listing, "COMMANDS", 3)
    monkeypatch.setattr(listing, "_search", search_nothing)


def test_videos_are_listed_newest_first_page_by_page(api: Api) -> None:
    videos = [api.video() for _ in range(5)]
    pages = follow(api, limit=2)
    assert [[video["id"] for video in page["videos"]] for page in pages] == [
        videos[:2:-1],
        videos[2:0:-1],
        videos[:1],
    ]
    assert list_ids(api) == videos[::-1]
    assert api.get("/videos/", "read").json()["next"] is None


def test_a_key_sees_the_videos_of_its_workspace_only(api: Api) -> None:
    here, elsewhere = api.video(), api.video(workspace_id=2)
    assert list_ids(api) == [here]
    assert list_ids(api, workspace_id=2) == []
    assert list_ids(api, "everywhere") == [elsewhere, here]
    assert list_ids(api, "everywhere", workspace_id=2) == [elsewhere]


def test_a_video_shows_what_a_publish_would_do(api: Api) -> None:
    ready, waits = api.video(), api.video(status="in_progress")
    blocked, published = api.video(status="failed"), api.video()
    api.publish(published)
    plans = {
        video["id"]: (video["plan"]["would_be"], video["plan"]["reason"])
        for video in api.get("/videos", "read").json()["videos"]
    }
    assert plans == {
        ready: ("published", None),
        waits: ("waiting", "generation_in_progress"),
        blocked: ("rejected", "generation_failed"),
        published: ("unchanged", "already_published"),
    }
    for video_id, (would_be, _) in plans.items():
        assert api.get(f"/videos/{video_id}/publish/").json()["would_be"] == would_be


def test_videos_are_found_by_each_of_their_states(api: Api) -> None:
    draft, blocked, published = api.video(), api.video(is_active=False), api.video()
    scheduled, waiting, failed = api.video(), api.video(status="in_progress"), api.video()
    api.publish(published, waiting)
    api.publish(PublishRequest(video_id=scheduled, publish_at=SOON))
    api.accept(failed)
    api.execute("UPDATE video SET status = 'failed' WHERE id = %s", failed)
    api.run()
    api.execute("UPDATE video SET status = 'completed' WHERE id = %s", failed)
    expected = {
        "draft": [failed, waiting, scheduled, blocked, draft],
        "published": [published],
        "scheduled": [scheduled],
        "waiting": [waiting],
        "failed": [failed],
        "blocked": [blocked],
    }
    assert {state: list_ids(api, state=state) for state in expected} == expected
    shown = {
        video["id"]: set(video["states"]) for video in api.get("/videos", "read").json()["videos"]
    }
    assert shown == {
        video_id: {state for state, members in expected.items() if video_id in members}
        for video_id in shown
    }


def test_a_video_is_not_failed_once_a_newer_command_was_accepted(api: Api) -> None:
    video = api.video(status="failed")
    api.publish(video)
    assert read_one(api, video)["last_failure"]["reason"] == "generation_failed"
    api.execute("UPDATE video SET status = 'completed' WHERE id = %s", video)
    api.publish(PublishRequest(video_id=video, action=Action.UNPUBLISH))
    assert list_ids(api, state="failed") == [video]
    api.publish(video)
    assert list_ids(api, state="failed") == []
    assert read_one(api, video)["last_failure"] is None


def test_the_next_command_is_the_open_one_that_is_due_first(api: Api) -> None:
    video = api.video()
    later, sooner = (
        api.accept(PublishRequest(video_id=video, publish_at=SOON + timedelta(hours=hours)))
        for hours in (2, 1)
    )
    shown = read_one(api, video)["next_command"]
    assert shown["id"] == str(sooner.commands[0].id) != str(later.commands[0].id)
    assert shown["action"] == "publish"
    assert shown["state"] == "scheduled"
    assert datetime.fromisoformat(shown["due_at"]) == SOON + timedelta(hours=1)


def test_a_title_is_found_by_a_part_of_it_and_its_letters_mean_themselves(api: Api) -> None:
    light, percent = api.video(title="What is Light?"), api.video(title="100 % of_it\\")
    assert list_ids(api, title="light") == [light]
    assert list_ids(api, title="%") == [percent]
    assert list_ids(api, title="f_i") == [percent]
    assert list_ids(api, title="t_") == []
    assert list_ids(api, title="\\") == [percent]


def test_videos_are_found_by_a_tag(api: Api) -> None:
    tagged, _ = api.video(), api.video()
    api.execute("INSERT INTO video_tag (video_id, tag_id) VALUES (%s, 1), (%s, 2)", tagged, tagged)
    assert list_ids(api, tag="light") == [tagged]
    assert list_ids(api, tag="rome") == []
    assert list_ids(api, tag="unknown") == []
    assert read_one(api, tagged) is not None
    assert api.get("/videos", "read", params={"tag": "waves"}).json()["videos"][0]["tags"] == [
        "light",
        "waves",
    ]


def test_deleted_videos_and_the_canary_are_left_out(api: Api) -> None:
    api.video(deleted_at=SOON)
    with transaction(api.engine) as tx:
        canary.create_video(tx)
    assert list_ids(api, "everywhere") == []


def test_filters_are_combined(api: Api) -> None:
    api.video(title="Light")
    published = api.video(title="Light")
    api.publish(published, api.video(title="Rome"))
    assert list_ids(api, state="published", title="light") == [published]


@pytest.mark.usefixtures("few_candidates")
def test_a_search_that_takes_too_long_is_continued_by_its_link(api: Api) -> None:
    """It answers with what it has, and says so."""
    wanted = api.video(title="Zebra")
    for _ in range(5):
        api.video()
    pages = follow(api, title="zebra")
    assert [page["is_partial"] for page in pages] == [True, True, False]
    assert [video["id"] for page in pages for video in page["videos"]] == [wanted]


@pytest.mark.usefixtures("few_candidates")
def test_a_state_is_searched_among_its_own_videos(api: Api) -> None:
    """However many other videos are newer."""
    published, waiting = api.video(), api.video(status="in_progress")
    api.publish(published, waiting)
    with transaction(api.engine) as tx:
        make_ready_videos(tx, 10)
    for state, video in (("published", published), ("waiting", waiting)):
        answer = api.get("/videos", "read", params={"state": state}).json()
        assert [each["id"] for each in answer["videos"]] == [video]
        assert not answer["is_partial"]


def test_a_search_beyond_the_candidates_is_complete_if_it_is_fast(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "CANDIDATES", 3)
    wanted = [api.video(title="Zebra") for _ in range(2)]
    for _ in range(5):
        api.video()
    answer = api.get("/videos", "read", params={"title": "zebra"}).json()
    assert [each["id"] for each in answer["videos"]] == wanted[::-1]
    assert (answer["is_partial"], answer["next"]) == (False, None)


def test_a_search_is_cancelled_in_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the transaction goes on, with its own limit of time."""
    monkeypatch.setattr(listing, "CANDIDATES", 3)
    monkeypatch.setattr(listing, "SEARCH_MS", 20)
    for _ in range(5):
        api.video()
    api.execute(
        "CREATE FUNCTION slow(text) RETURNS text LANGUAGE sql VOLATILE AS"
        " 'SELECT $1 FROM pg_sleep(0.02)'"
    )
    api.execute("ALTER TABLE video RENAME TO stored_video")
    columns = "id, workspace_id, deleted_at, slow(title) AS title, is_draft, is_active, status"
    api.execute(f"CREATE VIEW video AS SELECT {columns}, internal_status FROM stored_video")
    with transaction(api.engine) as tx:
        found = listing.find_page(tx, VideoFilter(title="zebra"), None)
        row = tx.execute("SHOW statement_timeout").fetchone()
    assert (list(found.ids), found.is_partial) == ([], True)
    assert row != ("20ms",)


@pytest.mark.parametrize(
    "query", [{"state": "gone"}, {"limit": 0}, {"before": 0}, {"title": ""}, {"titel": "a"}]
)
def test_a_filter_that_is_not_valid_is_refused(api: Api, query: dict[str, Any]) -> None:
    answer = api.get("/videos", "read", params=query)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/invalid-request"
