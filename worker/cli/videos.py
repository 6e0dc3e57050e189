"""`publish-worker videos`: list videos, show one, and its story."""

from typing import Annotated

import typer

from schemas.story import StoryEntry, VideoStory
from schemas.video_list import VideoFilter, VideoSummary
from worker.cli.late_imports import late_imports
from worker.cli.options import AsJson, check_id, command_group, options_of_model
from worker.cli.output import Columns, print_fields, print_json, print_more, print_rows, to_text
from worker.runtime.printing import print_line, print_note

with late_imports():
    from worker.api import video_resource
    from worker.cli import connect
    from worker.enqueue import refusals
    from worker.operations import story as stories
    from worker.operations import video_list
    from worker.runtime import settings

app = command_group("List videos, show one, and its story.")

VideoId = Annotated[
    int,
    typer.Argument(metavar="VIDEO_ID", help="An id that `videos list` shows.", callback=check_id),
]


LONGEST = 160
"""Characters of a value that `videos show` prints."""


def _to_next(video: VideoSummary) -> str | None:
    following = video.next_command
    return following and f"{following.action} ({following.state})"


def _to_took(entry: StoryEntry) -> str | None:
    seconds = entry.duration_seconds
    return None if seconds is None else f"{seconds:,.3f} s"


VIDEOS: Columns = {
    "id": "id",
    "workspace": "workspace_id",
    "title": "title",
    "states": lambda video: ", ".join(video.states),
    "next": _to_next,
    "due": lambda video: video.next_command and video.next_command.due_at,
    "published": "published_at",
    "would be": lambda video: video.plan.would_be,
}
ENTRIES: Columns = {
    "at": "at",
    "step": "text",
    "detail": "detail",
    "took": _to_took,
}


@app.command(
    "list",
    epilog="Examples: `publish-worker videos list --state waiting --workspace 1`, "
    "`publish-worker videos list --title lecture --json | jq .plan`",
)
@options_of_model
def list_(*, wanted: VideoFilter, as_json: AsJson = False) -> None:
    """List and search videos, the highest id first, with their next commands and plans."""
    with connect.open_database() as engine:
        page = video_list.list_videos(engine, wanted, None, connect.find_base_url())
    print_rows(page.videos, VIDEOS, as_json=as_json)
    if page.is_partial:
        print_note("The search stopped before the page was full, to answer in time.")
    print_more(page.next_before)


@app.command()
def show(video_id: VideoId, *, as_json: AsJson = False) -> None:
    """Show a video. Long texts, sections and plans are cut; --json has them as a whole."""
    with connect.open_database() as engine:
        found = video_resource.read_video(
            engine, video_id, None, settings.Settings().media_base_url
        )
    if found is None:
        raise refusals.NoSuchVideo([0], [video_id])
    if as_json:
        print_json(found.video)
        return
    fields = {**dict(found.video), "etag": found.etag}
    print_fields({name: _cut(to_text(value)) for name, value in fields.items()}, as_json=False)


@app.command()
def story(video_id: VideoId, *, as_json: AsJson = False) -> None:
    """Show what happened to a video, the newest step first: commands, events, deliveries."""
    with connect.open_database() as engine:
        found = stories.read_story(engine, video_id, None, connect.find_base_url())
    if found is None:
        raise refusals.NoSuchVideo([0], [video_id])
    if as_json:
        print_json(found)
        return
    _print_story(found)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _print_story(found: VideoStory) -> None:
    left_out = {"entries", "metrics", "plan", "generation", "former_urls", "omitted"}
    fields = found.model_dump(exclude=left_out)
    print_fields({**fields, "plan": found.plan.detail}, as_json=False)
    print_line()
    print_rows(found.entries, ENTRIES, as_json=False)
    if found.omitted:
        print_note(f"Left out: {', '.join(found.omitted)}.")
