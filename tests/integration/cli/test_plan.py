"""`publish-worker plan` and `videos`: what would happen, and what happened."""

import json
from pathlib import Path

import pytest

from tests.support.command_line import Run
from tests.support.pipeline import Pipeline


@pytest.mark.parametrize(
    ("columns", "code", "shown"),
    [
        ({}, 0, "would be published"),
        ({"status": "in_progress"}, 0, "would wait for the end of generation"),
        ({"status": "failed"}, 1, "would be rejected"),
    ],
)
def test_a_plan_shows_each_check(
    run: Run, here: Pipeline, columns: dict[str, str], code: int, shown: str
) -> None:
    done = run("plan", str(here.video(**columns)))
    assert (done.code, done.err) == (code, "")
    assert shown in done.out
    assert "rendered_file" in done.out


def test_a_plan_has_the_options_of_enqueue_and_writes_nothing(
    run: Run, here: Pipeline, tmp_path: Path
) -> None:
    video = here.video(title="Old")
    edits = tmp_path / "edits.json"
    edits.write_text(json.dumps({"template": {}, "owner": {}, "workspace": 1, "title": "New"}))
    times = ("--publish-at", "2100-01-01T00:00:00Z", "--unpublish-at", "2100-02-01T00:00:00Z")
    done = run("plan", str(video), "--edits-file", str(edits), *times, "--json")
    plan = json.loads(done.out)
    assert "/new-" in plan["url"]
    assert (plan["publish_at"], plan["unpublish_at"]) == (times[1], times[3])
    assert here.value("SELECT count(*) FROM publisher.publish_command") == 0


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        (("--expected-revision", "7"), "was changed since the version"),
        (
            ("--publish-at", "2100-02-01T00:00:00Z", "--unpublish-at", "2100-01-01T00:00:00Z"),
            "unpublish_at must lie in the future",
        ),
    ],
)
def test_a_plan_is_refused_as_enqueue_would_be(
    run: Run, here: Pipeline, options: tuple[str, ...], refusal: str
) -> None:
    video = str(here.video())
    planned, enqueued = run("plan", video, *options), run("enqueue", video, *options)
    assert (planned.code, planned.err) == (enqueued.code, enqueued.err) == (1, planned.err)
    assert refusal in planned.complaint


def test_a_plan_after_the_deadline_expires(run: Run, here: Pipeline) -> None:
    done = run("plan", str(here.video()), "--publish-before", "2000-01-01T00:00:00Z", "--json")
    assert (done.code, json.loads(done.out)["would_be"]) == (1, "expired")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["plan", "videos show", "videos story"])
def test_an_unknown_video_is_refused(run: Run, command: str) -> None:
    done = run(*command.split(), "404404")
    assert done.code == 1
    assert "There is no video 404404." in done.complaint


def test_videos_are_listed_in_pages(run: Run, here: Pipeline) -> None:
    first, second = here.video(title="One"), here.video(title="Two")
    page = run("videos", "list", "--limit", "1", "--json")
    assert json.loads(page.out)["id"] == second
    rest = run("videos", "list", *page.err.partition("There are more: ")[2].split(), "--json")
    assert json.loads(rest.out)["id"] == first
    assert "Two" in run("videos", "list", "--title", "two", "--state", "draft").out


def test_a_story_has_the_steps_of_a_video(run: Run, here: Pipeline) -> None:
    here.publish(video := here.video())
    out = run("videos", "story", str(video)).out
    assert "The publish command ended as published." in out
    assert "The video was created." in out
