"""The demo's scenes: each asks for something over HTTP and looks at what comes of it.

A scene's docstring is shown above it.
"""

import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from rich.text import Text

from worker.local.demo import pipeline
from worker.local.demo.stage import Stage

ATTENTION, GIT, LIBRARY, PAPER = 7, 4, 5, 43
MERGING, FAILED = 35, 36
STRANGE = range(9, 29)
TWINS = (26, 27)
URL = re.compile(r"[a-z0-9-]+/[a-z0-9]+(?:-[a-z0-9]+)*-[0-9a-hjkmnp-tv-z]{13}")

Play = Callable[[Stage], None]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is shown, and how it is played."""

    title: str
    play: Play

    @property
    def about(self) -> str:
        """The play's docstring, on one line."""
        return " ".join((self.play.__doc__ or "").split())


SCENES: list[Scene] = []
"""In the order in which they are written below."""


def scene(title: str) -> Callable[[Play], Play]:
    """Make a scene of a function."""

    def add(play: Play) -> Play:
        SCENES.append(Scene(title=title, play=play))
        return play

    return add


@scene("Published at once")
def at_once(stage: Stage) -> None:
    """One transaction sees that generation has completed, takes the video out of draft, computes
    its URL and metrics, and records the event. The caller waits for the finished Video.
    """
    stage.studio.enter(ATTENTION)
    path = f"/api/v1/videos/{ATTENTION}/publish/"
    answer = stage.studio.call("POST", path, headers={"Prefer": "wait=5"}).raise_for_status()
    stage.screen.step(ATTENTION, "accepted")
    stage.await_events([ATTENTION])
    video = answer.json()
    live = answer.status_code == HTTPStatus.OK and not video["is_draft"]
    stage.check(live, "the answer is the Video, live")
    stage.check(bool(URL.fullmatch(video["custom_url"])), f"custom_url {video['custom_url']}")
    stage.check(bool(video["metrics"]), f"metrics {_in_words(json.loads(video['metrics']))}")


@scene("Generation failed")
def never(stage: Stage) -> None:
    """Such a video can never go: the command is rejected, and the event says why."""
    stage.studio.enter(FAILED)
    plan = stage.studio.call("GET", f"/api/v1/videos/{FAILED}/publish/").json()
    stage.check(plan["outcome"] == "rejected", "the plan says so before: rejected")
    command = stage.studio.publish(FAILED)
    ended = stage.studio.outcome(command["id"])
    [seen] = stage.await_events([FAILED])
    stage.check(ended["state"] == "rejected", f"rejected: {ended['detail']}")
    told = seen.type == "video.publish_rejected" and seen.data["reason"] == ended["reason"]
    stage.check(told, f"the event says so too: {seen.data['reason']}")
    video = stage.studio.video(FAILED)
    stage.check(video["is_draft"] and not video["custom_url"], "a draft it stays, without a URL")


@scene("Still being generated")
def not_yet(stage: Stage) -> None:
    """The command waits and asks again; once the pipeline has completed the video, it goes out."""
    stage.studio.enter(MERGING)
    command = stage.studio.publish(MERGING)
    waiting = stage.studio.until(command["id"], {"waiting"})
    stage.screen.say(Text(f"it waits: {waiting['detail']}", "yellow"))
    pipeline.complete(stage.engine, MERGING)
    completed = time.time()
    stage.screen.say(Text("the pipeline: UPDATE video SET status = 'completed' …", "yellow"))
    [seen] = stage.await_events([MERGING])
    ended = stage.studio.outcome(command["id"])
    ms = 1000 * (seen.at - completed)
    stage.check(ended["state"] == "published", f"it went out by itself, {ms:.0f} ms after that")
    stage.check(ended["attempts"] == 0, "and the waiting cost it no attempt")


@scene("For one second, by the clock")
def window(stage: Stage) -> None:
    """Published at one moment and withdrawn at another, both asked for in one call: the scheduler
    sleeps until each, and wakes Celery then.
    """
    stage.studio.enter(LIBRARY)
    begin = datetime.now(UTC) + timedelta(seconds=1.5)
    end = begin + timedelta(seconds=1)
    body = {"publish_at": begin.isoformat(), "unpublish_at": end.isoformat()}
    command = stage.studio.publish(LIBRARY, body=body)
    stage.check(command["state"] == "scheduled", f"scheduled for {begin:%H:%M:%S.%f} UTC")
    out, back = stage.await_types("video.published", "video.unpublished")
    late, late_back = 1000 * out.lateness("published_at"), 1000 * back.lateness("unpublished_at")
    punctual = f"out {late:.0f} ms after its moment, withdrawn {late_back:.0f} ms after its own"
    stage.check(late >= 0 and late_back >= 0, punctual)
    video = stage.studio.video(LIBRARY)
    kept = video["is_draft"] and video["custom_url"] == out.data["custom_url"]
    stage.check(kept, f"a draft again, its URL kept: {video['custom_url']}")


@scene("Strange titles")
def strange(stage: Stage) -> None:
    """Twenty at once, in many scripts, some with nothing left for a URL: every title gets one."""
    videos = stage.studio.enter(*STRANGE)
    stage.studio.publish_all([video["id"] for video in videos])
    urls = {seen.video_id: seen.data["custom_url"] for seen in stage.await_events(STRANGE)}
    stage.check(all(URL.fullmatch(url) for url in urls.values()), "every URL is plain ASCII")
    stage.check(len(set(urls.values())) == len(STRANGE), "no two are the same …")
    first, second = (urls[twin].rsplit("-", 1)[0] for twin in TWINS)
    stage.check(first == second, f"… not even where two titles are: {first}-")


@scene("Published twice")
def twice(stage: Stage) -> None:
    """What is out already and brings no change is left as it is, and nobody is told anything."""
    stage.studio.enter(ATTENTION)
    command = stage.studio.publish(ATTENTION)
    ended = stage.studio.outcome(command["id"])
    stage.check(ended["state"] == "unchanged", f"unchanged: {ended['detail']}")
    stage.check(not stage.subscriber.news, "no event")


@scene("A new title")
def edited(stage: Stage) -> None:
    """The client sends the Video back with another title: its URL follows, the old one leads on."""
    [video] = stage.studio.enter(ATTENTION)
    title = "Attention, explained in six minutes"
    command = stage.studio.publish(ATTENTION, body={**video, "title": title})
    stage.studio.outcome(command["id"])
    seen = stage.await_events([ATTENTION])[-1]
    old, new = video["custom_url"], seen.data["custom_url"]
    stage.check(new != old and "explained" in new, f"the URL follows: {new}")
    stage.check(not seen.data["first_publication"], f"revision {seen.data['revision']}")
    redirect = stage.studio.call("GET", f"/v/{old}")
    leads = redirect.headers.get("location", "")
    moved = redirect.status_code == HTTPStatus.PERMANENT_REDIRECT and leads.endswith(new)
    stage.check(moved, f"the old URL leads to {leads}")


@scene("The same request again")
def replayed(stage: Stage) -> None:
    """An answer got lost and the client asks again: with an Idempotency-Key that is harmless."""
    stage.studio.enter(GIT)
    key = {"Idempotency-Key": f"demo-{secrets.token_hex(4)}"}
    first = stage.studio.publish(GIT, headers=key)
    path = f"/api/v1/videos/{GIT}/publish/"
    again = stage.studio.call("POST", path, headers=key).json()
    stage.check(again["id"] == first["id"], "the same command, not a second one")
    path = f"/api/v1/videos/{PAPER}/publish/"
    other = stage.studio.call("POST", path, headers=key)
    stage.check(other.is_client_error, f"for another request: {other.json()['detail']}")
    stage.studio.outcome(first["id"])
    stage.await_events([GIT])


@scene("Another workspace")
def elsewhere(stage: Stage) -> None:
    """What lies in another workspace than the key's does not exist for it."""
    answers = [
        stage.harbour.call("GET", f"/api/v1/videos/{ATTENTION}/"),
        stage.harbour.call("POST", f"/api/v1/videos/{ATTENTION}/publish/"),
    ]
    unknown = all(answer.status_code == HTTPStatus.NOT_FOUND for answer in answers)
    stage.check(unknown, answers[0].json()["detail"])


@scene("A body that makes no sense")
def nonsense(stage: Stage) -> None:
    """The answer names each field that is wrong, and nothing is done."""
    body = {"template": {}, "owner": {"id": "me"}, "workspace": 1, "titel": "?", "status": "done"}
    path = f"/api/v1/videos/{PAPER}/publish/"
    answer = stage.studio.call("POST", path, body=body)
    wrong = {error["pointer"] for error in answer.json()["errors"]}
    named = {"/owner/id", "/status", "/titel", "/title"} <= wrong
    stage.check(answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY and named, _listed(wrong))


@scene("Five hundred in one call")
def many(stage: Stage) -> None:
    """One request, one wake-up, one transaction for the batch."""
    stage.screen.bulk(len(stage.crowd))
    begun = time.time()
    stage.studio.publish_all(stage.crowd)
    events = stage.await_events(stage.crowd)
    seconds = events[-1].at - begun
    stage.check(
        len(events) == len(stage.crowd),
        f"{len(events)} published in {seconds:.2f} s, from the request to the last event: "
        f"{len(events) / seconds:,.0f} a second",
    )


def _listed(pointers: set[str]) -> str:
    return f"to be corrected: {', '.join(sorted(pointers))}"


def _in_words(metrics: dict[str, Any]) -> str:
    return (
        f"{metrics['duration_seconds']} s, {metrics['section_count']} sections, "
        f"{metrics['script_words']} words, {metrics['views']} views, "
        f"{metrics['completion_rate']:.0%} of the plays completed …"
    )
