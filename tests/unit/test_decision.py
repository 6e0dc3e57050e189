"""Decisions: what becomes of a command, from facts alone."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publish_worker_client.events.data import VideoPublished
from schemas.command import CommandState
from schemas.values.video_facts import Names, VideoFacts
from tests.support.facts import COMMAND, NOW, READY
from worker.rules.decision import (
    LONGEST_PAUSE,
    apply_decision,
    compute_backoff,
    decide,
    decide_after_failure,
)
from worker.rules.edits import find_changes

NAMES = Names(categories={2: "Science"}, subcategories={5: "Physics"}, tags={4: "light", 9: "war"})
BASE = "https://videos.example"

facts = st.builds(
    replace,
    st.just(READY),
    status=st.sampled_from(["not_started", "in_progress", "completed", "failed"]),
    internal_status=st.sampled_from(["planning", "merging", "completed", "failed"]),
    is_regenerating=st.booleans(),
    is_active=st.booleans(),
    deleted_at=st.none() | st.just(NOW),
    video=st.sampled_from([None, "", "https://cdn.example.com/7.mp4"]),
    is_draft=st.booleans(),
    now=st.integers(-48, 48).map(lambda hours: NOW + timedelta(hours=hours)),
)


@given(facts | st.none(), st.booleans())
def test_every_command_gets_one_consistent_decision(video: VideoFacts | None, held: bool) -> None:
    command = replace(COMMAND, video_held=held and video is not None, video_exists=bool(video))
    decision = decide(command, video if command.video_held else None, NAMES, BASE)
    assert (decision.finished_at is not None) == decision.state.is_outcome
    assert (decision.release is not None) == (decision.state is CommandState.PUBLISHED)
    silent = decision.state is CommandState.UNCHANGED or not decision.state.is_outcome
    assert (decision.event is None) == silent
    assert decision.attempts == COMMAND.attempts


@given(facts)
def test_no_video_is_published_after_the_deadline(video: VideoFacts) -> None:
    decision = decide(COMMAND, video, NAMES, BASE)
    if COMMAND.publish_before is not None and video.now > COMMAND.publish_before:
        assert decision.state is CommandState.EXPIRED


@given(st.integers(1, 10_000))
def test_pauses_grow_up_to_a_bound(times: int) -> None:
    assert timedelta(0) < compute_backoff(times) <= compute_backoff(times + 1) <= LONGEST_PAUSE


def test_a_command_whose_video_is_locked_is_postponed() -> None:
    decision = decide(replace(COMMAND, video_held=False), None, NAMES, BASE)
    assert decision.state is CommandState.SCHEDULED
    assert decision.due_at > NOW
    assert decision.checks == 0


@pytest.mark.parametrize(
    ("edits", "changes"),
    [
        (None, {}),
        ({}, {}),
        ({"title": READY.title}, {}),
        ({"title": "New"}, {"title": "New"}),
        ({"category": 2}, {"category_id": 2}),
        ({"tags": []}, {}),
        ({"tags": [4]}, {"tags": [4]}),
        ({"description": None, "visibility": "team"}, {"visibility": "team"}),
    ],
)
def test_only_what_differs_is_a_change(
    edits: dict[str, Any] | None, changes: dict[str, Any]
) -> None:
    assert find_changes(READY, edits) == changes


def test_the_event_has_the_names_of_edited_categories_and_tags() -> None:
    edits = {"category": 2, "subcategory": 5, "tags": [4, 9], "title": "New"}
    decision = decide(replace(COMMAND, edits=edits), READY, NAMES, BASE)
    assert decision.event is not None
    data = decision.event.data
    assert isinstance(data, VideoPublished)
    assert (data.category, data.subcategory, data.tags) == ("Science", "Physics", ["light", "war"])
    assert data.custom_url.startswith("research/new-")


def test_the_next_command_sees_what_the_one_before_did() -> None:
    decision = decide(replace(COMMAND, edits={"title": "New"}), READY, NAMES, BASE)
    seen = apply_decision(decision, READY, NAMES)
    assert (seen.title, seen.is_draft, seen.revision) == ("New", False, 1)
    assert seen.first_published_at == NOW


def test_a_failure_keeps_the_state_until_the_last_attempt() -> None:
    waiting = replace(COMMAND, state="waiting", attempts=1)
    decision = decide_after_failure(waiting, "ValueError: odd")
    assert (decision.state, decision.attempts) == (CommandState.WAITING, 2)
    assert decision.detail == "ValueError: odd"


def test_the_last_failure_is_an_outcome_with_an_event() -> None:
    decision = decide_after_failure(replace(COMMAND, attempts=4), "ValueError: odd")
    assert decision.state is CommandState.FAILED
    assert decision.event is not None
    assert decision.detail == "ValueError: odd"
