"""No event is longer than 64 KiB, and a publication that was shortened says what it lacks."""

from dataclasses import replace
from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter
from pydantic_core import to_json

from publish_worker_client.events.data import PublishEnded, VideoPublished
from schemas.command import CommandState
from tests.support.facts import COMMAND, NOW, READY
from worker.rules.command_events import build_ended_event
from worker.rules.decision import decide
from worker.rules.event_size import MAX_DATA, OMITTABLE, limit_size

NO_NAMES: Any = None
BASE_URL = "https://videos.example"


def published(**columns: Any) -> VideoPublished:
    event = decide(COMMAND, replace(READY, **columns), NO_NAMES, BASE_URL).event
    assert event is not None
    assert isinstance(event.data, VideoPublished)
    assert len(to_json(event.data)) <= MAX_DATA
    TypeAdapter(VideoPublished).validate_json(to_json(event.data))
    return event.data


@pytest.mark.parametrize("text", ["", "short", "x" * 50_000, "é" * 25_000, "\U0001f600" * 12_000])
def test_a_description_that_fits_is_kept(text: str) -> None:
    data = published(description=text)
    assert (data.description, data.omitted) == (text, [])


@pytest.mark.parametrize(
    "text", ["x" * 5_000_000, "é" * 30_000, "\U0001f600" * 16_000, "\x01" * 10_000, '"' * 30_000]
)
def test_a_description_that_does_not_fit_is_left_out(text: str) -> None:
    data = published(description=text, tags=("ai",), category="Science")
    assert (data.description, data.omitted) == (None, ["description"])
    assert (data.tags, data.category) == (["ai"], "Science")


def test_the_longest_fields_are_left_out_first() -> None:
    tags = tuple(f"{n:0250}" for n in range(1_000))
    data = published(description="x" * 60_000, tags=tags, thumbnail="https://cdn.example/t.jpg")
    assert (data.tags, data.description) == ([], None)
    assert data.omitted == ["tags", "description"]
    assert data.thumbnail == "https://cdn.example/t.jpg"


def test_many_tags_without_a_name_count_too() -> None:
    assert published(tags=("",) * 50_000).omitted == ["tags"]


@pytest.mark.parametrize(
    "column", ["video", "owner_full_name", "owner_username", "workspace_url", "title"]
)
def test_a_required_text_is_cut(column: str) -> None:
    assert published(**{column: "\x02" * 1_000_000})


@pytest.mark.parametrize(
    "name",
    [name for name, hint in get_type_hints(VideoPublished).items() if hint in (str, str | None)],
)
def test_each_text_of_a_publication_is_counted(name: str) -> None:
    shortened = limit_size(replace(published(), **{name: "\x02" * 10_000}))
    assert len(to_json(shortened)) <= MAX_DATA


def test_all_columns_at_once() -> None:
    columns = ("video", "owner_full_name", "description", "thumbnail", "cover_image", "category")
    data = published(**dict.fromkeys(columns, "\x02" * 100_000), tags=("x" * 100_000,))
    assert {"description", "thumbnail", "cover_image", "category", "tags"} <= set(data.omitted)


def test_each_field_that_may_be_left_out_exists_and_is_optional() -> None:
    data = replace(published(), **OMITTABLE)
    TypeAdapter(VideoPublished).validate_json(to_json(data))


def test_the_text_of_another_event_is_cut() -> None:
    detail = "x" * 1_000_000
    event = build_ended_event(COMMAND, CommandState.FAILED, NOW, "error", detail, None)
    assert event is not None
    assert isinstance(event.data, PublishEnded)
    assert event.data.detail == "x" * 255
    assert limit_size(event.data) == event.data
