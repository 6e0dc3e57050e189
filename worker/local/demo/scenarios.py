"""The demo's scenarios: each sends requests and checks the answers and the events.

A scenario's docstring is printed above it.
"""

import json
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from rich.text import Text

from db.session import transaction
from worker.local.demo.setup import Demo

ATTENTION, GIT, LIBRARY, PAPER = 7, 4, 5, 43
MERGING, FAILED = 35, 36
STRANGE = range(9, 29)
TWINS = (26, 27)
URL = re.compile(r"[a-z0-9-]+/[a-z0-9]+(?:-[a-z0-9]+)*-[0-9a-hjkmnp-tv-z]{13}")

# What the platform's pipeline writes at the end of a generation.
COMPLETE = """
UPDATE video SET status = 'completed', internal_status = 'completed', generation_progress = 100,
       is_regenerating = false, updated_at = now(),
       duration = coalesce(duration, (
           SELECT sum(section.duration) FROM section WHERE section.video_id = video.id
       )),
       video = 'https://cdn.example.com/videos/' || uid || '.mp4'
WHERE id = %(id)s
"""

Scenario = Callable[[Demo], None]
SCENARIOS: list[tuple[str, Scenario]] = []
"""Titles and functions, in the order in which they are written below."""


def scenario(title: str) -> Callable[[Scenario], Scenario]:
    """Add a function to the scenarios."""

    def add(run: Scenario) -> Scenario:
        SCENARIOS.append((title, run))
        return run

    return add


@scenario("Published at once")
def publish_at_once(demo: Demo) -> None:
    """One transaction sees that generation has completed, takes the video out of draft, computes
    its URL and metrics, and records the event. The caller waits for the finished Video.
    """
    demo.studio.show_videos(ATTENTION)
    path = f"/api/v1/videos/{ATTENTION}/publish/"
    answer = demo.studio.call("POST", path, headers={"Prefer": "wait=5"}).raise_for_status()
    demo.screen.advance(ATTENTION, "accepted")
    demo.wait_for_events([ATTENTION])
    video = answer.json()
    live = answer.status_code == HTTPStatus.OK and not video["is_draft"]
    demo.check(live, "the answer is the Video, live")
    demo.check(bool(URL.fullmatch(video["custom_url"])), f"custom_url {video['custom_url']}")
    demo.check(bool(video["metrics"]), f"metrics {_metrics_text(json.loads(video['metrics']))}")


@scenario("Generation failed")
def reject_failed_generation(demo: Demo) -> None:
    """Its generation failed, so it is never published: the command is rejected, with a reason."""
    demo.studio.show_videos(FAILED)
    plan = demo.studio.call("GET", f"/api/v1/videos/{FAILED}/publish/").json()
    demo.check(plan["would_be"] == "rejected", "the plan, asked before, says rejected")
    command = demo.studio.publish(FAILED)
    ended = demo.studio.wait_for_outcome(command["id"])
    [event] = demo.wait_for_events([FAILED])
    demo.check(ended["state"] == "rejected", f"rejected: {ended['detail']}")
    same = event.type == "video.publish_rejected" and event.data["reason"] == ended["reason"]
    demo.check(same, f"the event has the same reason: {event.data['reason']}")
    video = demo.studio.video(FAILED)
    demo.check(video["is_draft"] and not video["custom_url"], "it is still a draft, without a URL")


@scenario("Still being generated")
def wait_for_generation(demo: Demo) -> None:
    """The command waits until the pipeline has completed the video; then it is published."""
    demo.studio.show_videos(MERGING)
    command = demo.studio.publish(MERGING)
    waiting = demo.studio.wait_for_state(command["id"], {"waiting"})
    demo.screen.print(Text(f"it waits: {waiting['detail']}", "yellow"))
    with transaction(demo.engine) as tx:
        tx.execute(COMPLETE, {"id": MERGING})
    completed = time.time()
    demo.screen.print(Text("the pipeline: UPDATE video SET status = 'completed' …", "yellow"))
    [event] = demo.wait_for_events([MERGING])
    ended = demo.studio.wait_for_outcome(command["id"])
    ms = 1000 * (event.at - completed)
    demo.check(ended["state"] == "published", f"published {ms:.0f} ms after the pipeline's commit")
    demo.check(ended["attempts"] == 0, "waiting has cost no attempt")


@scenario("For one second, by the clock")
def publish_for_one_second(demo: Demo) -> None:
    """One request asks for a time to publish and a time to unpublish; at each of them the scheduler
    wakes Celery.
    """
    demo.studio.show_videos(LIBRARY)
    begin = datetime.now(UTC) + timedelta(seconds=1.5)
    end = begin + timedelta(seconds=1)
    body = {"publish_at": begin.isoformat(), "unpublish_at": end.isoformat()}
    command = demo.studio.publish(LIBRARY, body=body)
    demo.check(command["state"] == "scheduled", f"scheduled for {begin:%H:%M:%S.%f} UTC")
    out, back = demo.wait_for_types("video.published", "video.unpublished")
    late, late_back = 1000 * out.lateness("published_at"), 1000 * back.lateness("unpublished_at")
    punctual = f"published {late:.0f} ms after its time, unpublished {late_back:.0f} ms after"
    demo.check(late >= 0 and late_back >= 0, punctual)
    video = demo.studio.video(LIBRARY)
    kept = video["is_draft"] and video["custom_url"] == out.data["custom_url"]
    demo.check(kept, f"a draft again, its URL kept: {video['custom_url']}")


@scenario("Strange titles")
def publish_strange_titles(demo: Demo) -> None:
    """Twenty titles in many scripts; some have no letter that a URL can use. Each gets a URL."""
    videos = demo.studio.show_videos(*STRANGE)
    demo.studio.publish_all([video["id"] for video in videos])
    urls = {event.video_id: event.data["custom_url"] for event in demo.wait_for_events(STRANGE)}
    demo.check(all(URL.fullmatch(url) for url in urls.values()), "every URL is plain ASCII")
    demo.check(len(set(urls.values())) == len(STRANGE), "no two are equal …")
    first, second = (urls[twin].rsplit("-", 1)[0] for twin in TWINS)
    demo.check(first == second, f"… even where two titles are: {first}-")


@scenario("Published twice")
def publish_again(demo: Demo) -> None:
    """The video is published already and nothing changes: there is no event."""
    demo.studio.show_videos(ATTENTION)
    command = demo.studio.publish(ATTENTION)
    ended = demo.studio.wait_for_outcome(command["id"])
    demo.check(ended["state"] == "unchanged", f"unchanged: {ended['detail']}")
    demo.check(not demo.subscriber.new, "no event")


@scenario("A new title")
def change_title(demo: Demo) -> None:
    """The client sends the Video back with another title: it gets a new URL, and the old one
    redirects there.
    """
    [video] = demo.studio.show_videos(ATTENTION)
    title = "Attention, explained in six minutes"
    command = demo.studio.publish(ATTENTION, body={**video, "title": title})
    demo.studio.wait_for_outcome(command["id"])
    event = demo.wait_for_events([ATTENTION])[-1]
    old, new = video["custom_url"], event.data["custom_url"]
    demo.check(new != old and "explained" in new, f"the new URL: {new}")
    demo.check(not event.data["first_publication"], f"revision {event.data['revision']}")
    redirect = demo.studio.call("GET", f"/v/{old}")
    location = redirect.headers.get("location", "")
    moved = redirect.status_code == HTTPStatus.PERMANENT_REDIRECT and location.endswith(new)
    demo.check(moved, f"the old URL redirects to {location}")


@scenario("The same request again")
def repeat_request(demo: Demo) -> None:
    """An answer was lost and the client repeats its request, with the same Idempotency-Key."""
    demo.studio.show_videos(GIT)
    key = {"Idempotency-Key": f"demo-{secrets.token_hex(4)}"}
    first = demo.studio.publish(GIT, headers=key)
    path = f"/api/v1/videos/{GIT}/publish/"
    again = demo.studio.call("POST", path, headers=key).json()
    demo.check(again["id"] == first["id"], "the same command, not a second one")
    path = f"/api/v1/videos/{PAPER}/publish/"
    other = demo.studio.call("POST", path, headers=key)
    demo.check(other.is_client_error, f"for another request: {other.json()['detail']}")
    demo.studio.wait_for_outcome(first["id"])
    demo.wait_for_events([GIT])


@scenario("Another workspace")
def ask_for_another_workspace(demo: Demo) -> None:
    """For a key, the videos of other workspaces do not exist."""
    answers = [
        demo.harbour.call("GET", f"/api/v1/videos/{ATTENTION}/"),
        demo.harbour.call("POST", f"/api/v1/videos/{ATTENTION}/publish/"),
    ]
    unknown = all(answer.status_code == HTTPStatus.NOT_FOUND for answer in answers)
    demo.check(unknown, answers[0].json()["detail"])


@scenario("A body that is not valid")
def send_invalid_body(demo: Demo) -> None:
    """The answer names each field that is wrong; nothing else happens."""
    body = {"template": {}, "owner": {"id": "me"}, "workspace": 1, "titel": "?", "status": "done"}
    path = f"/api/v1/videos/{PAPER}/publish/"
    answer = demo.studio.call("POST", path, body=body)
    wrong = {error["pointer"] for error in answer.json()["errors"]}
    named = {"/owner/id", "/status", "/titel", "/title"} <= wrong
    refused = answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY and named
    demo.check(refused, f"fields to correct: {', '.join(sorted(wrong))}")


@scenario("Five hundred in one call")
def publish_many(demo: Demo) -> None:
    """One request, one wake-up, one transaction for the batch."""
    demo.screen.count_events(len(demo.many))
    begun = time.time()
    demo.studio.publish_all(demo.many)
    events = demo.wait_for_events(demo.many)
    seconds = events[-1].at - begun
    demo.check(
        len(events) == len(demo.many),
        f"{len(events)} published in {seconds:.2f} s, from the request to the last event: "
        f"{len(events) / seconds:,.0f} a second",
    )


def _metrics_text(metrics: dict[str, Any]) -> str:
    return (
        f"{metrics['duration_seconds']} s, {metrics['section_count']} sections, "
        f"{metrics['script_words']} words, {metrics['views']} views, "
        f"{metrics['completion_rate']:.0%} of the plays completed …"
    )
