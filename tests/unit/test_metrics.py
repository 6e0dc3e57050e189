"""metrics: computed from the sections, the script and the engagement, never failing on odd data."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.facts import NOW, READY
from worker.rules import metrics


def test_words_are_counted_in_the_generated_script() -> None:
    assert metrics.compute(READY).script_words == 3


def test_without_a_generated_script_the_turns_of_the_sections_count() -> None:
    turns = [[{"speaker": "A", "text": "Hello there"}, {"speaker": "B", "text": "Hi"}], ["one"]]
    video = replace(READY, generated_script=None, contents=turns)
    assert metrics.compute(video).script_words == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("  two   words \n", 2),
        ("注意力机制", 5),
        ("GPT は 何", 3),
        ("שלום עולם", 2),
        ("ภาษา", 4),
    ],
)
def test_words_are_counted_in_every_script(text: str, words: int) -> None:
    assert metrics.count_words(text) == words


def test_the_pace_is_words_per_minute() -> None:
    assert metrics.compute(replace(READY, duration=30)).words_per_minute == 6.0


def test_a_video_without_length_has_no_pace() -> None:
    assert metrics.compute(replace(READY, duration=0)).words_per_minute == 0.0


def test_the_duration_is_the_sum_of_the_sections_when_the_video_has_none() -> None:
    assert metrics.compute(replace(READY, duration=None)).duration_seconds == 58


def test_generation_took_from_the_first_section_to_the_last_change() -> None:
    assert metrics.compute(READY).generation_seconds == 360


def test_without_sections_the_generation_time_is_unknown() -> None:
    video = replace(READY, first_section_at=None, last_section_at=None)
    assert metrics.compute(video).generation_seconds is None


def test_the_completion_rate_is_completed_plays_per_play() -> None:
    assert metrics.compute(replace(READY, plays=8, completed_plays=6)).completion_rate == 0.75


@given(st.integers(-5, 10**9), st.integers(-5, 10**9))
def test_the_completion_rate_is_a_share(plays: int, completed: int) -> None:
    rate = metrics.compute(replace(READY, plays=plays, completed_plays=completed)).completion_rate
    assert 0.0 <= rate <= 1.0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_the_words_of_any_script_can_be_counted(content: Any) -> None:
    video = replace(READY, generated_script=None, contents=[content])
    assert metrics.compute(video).script_words >= 0


def test_metrics_are_as_of_the_databases_clock() -> None:
    assert metrics.compute(READY).computed_at == NOW
