"""What pages of the console compute: charts, formats, addresses, the sentence on top."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.commands.overview import Counts
from db.webhooks.backlog import DeliveryBacklog
from worker.api.console.charts import BOTTOM, HEIGHT, TOP, WIDTH, Series, draw, to_round_number
from worker.api.console.formats import to_duration, to_number, to_time
from worker.api.console.sentence import summarise
from worker.api.console.sign_in import to_local_path
from worker.operations.checks import Check
from worker.operations.overview import Chart, Overview

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
WORKS = Check(name="redis", ok=True, detail="Answers.")


def overview(**counts: object) -> Overview:
    """An overview with these counts; nothing else happens."""
    known: dict[str, object] = {
        "now": NOW,
        "due": 0,
        "due_since": None,
        "by_minute": {},
        "waiting": 0,
        "failed": 0,
    }
    chart = Chart(began_at=NOW, span=timedelta(minutes=1), spans=60, counts={})
    return Overview(
        counts=Counts(**{**known, **counts}),  # pyright: ignore[reportArgumentType]
        published_last_minute=0,
        lateness_p99=None,
        coming=[],
        hour=chart,
        day=chart,
        webhooks=DeliveryBacklog(0, None, 0),
        events=[],
    )


@given(st.integers(0, 10**12))
def test_the_top_of_an_axis_is_round_and_not_far_above_the_largest_number(largest: int) -> None:
    top = to_round_number(largest)
    assert largest <= top <= max(2 * largest, 1)
    assert str(top).rstrip("0") in {"1", "2", "4", "6"}


@given(st.lists(st.lists(st.integers(0, 10_000), min_size=12, max_size=12), min_size=1, max_size=4))
def test_bars_stay_in_their_chart_and_their_heights_are_the_numbers(rows: list[list[int]]) -> None:
    series = [Series(f"kind {i}", "good", row) for i, row in enumerate(rows)]
    chart = draw("Events", NOW, timedelta(minutes=1), series)
    assert len(chart.bars) == sum(number > 0 for row in rows for number in row)
    for bar in chart.bars:
        assert TOP - 0.001 <= bar.y <= bar.y + bar.height <= HEIGHT - BOTTOM + 0.001
        assert bar.x + bar.width <= WIDTH + 0.001


def test_a_chart_says_in_words_what_it_shows() -> None:
    series = [Series("published", "good", [1_000, 2]), Series("failed", "bad", [0, 0])]
    chart = draw("The last hour", NOW, timedelta(minutes=1), series)
    assert chart.summary == "1,002 published"
    assert chart.bars[0].title == "12:00 UTC: 1,000 published"
    assert draw("Nothing", NOW, timedelta(minutes=1), [Series("due", "calm", [])]).bars == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0042, "4 ms"),
        (1.24, "1.2 s"),
        (59.9, "60 s"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (90_000, "1 d 1 h"),
        (-3, "0 ms"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert to_duration(seconds) == text


def test_a_count_that_reached_its_limit_has_a_plus() -> None:
    assert (to_number(9_999, 10_000), to_number(10_000, 10_000)) == ("9,999", "10,000+")


def test_a_time_is_written_in_utc_for_a_script_to_convert() -> None:
    moment = datetime(2026, 7, 1, 9, tzinfo=UTC)
    assert 'datetime="2026-07-01T09:00:00.000000Z"' in to_time(moment)
    assert "2026-07-01 09:00:00 UTC" in to_time(moment)


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/console/",
        "//evil.example/console/",
        "///console/evil",
        "/\\evil.example",
        "/console/\\evil",
        "/console/\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "/v/other",
        "",
    ],
)
def test_after_signing_in_only_a_page_of_the_console_is_opened(path: str) -> None:
    assert to_local_path(path) == "/console/"


def test_after_signing_in_the_page_that_was_asked_for_is_opened() -> None:
    assert to_local_path("/console/videos/?title=a&state=draft") == (
        "/console/videos/?title=a&state=draft"
    )


def test_the_sentence_says_that_all_is_well() -> None:
    sentence = summarise([WORKS], overview(by_minute={3: 2, 4: 1}))
    assert (sentence.style, sentence.text) == (
        "good",
        "All is well. 3 commands fall due in the next 15 minutes.",
    )


def test_the_sentence_names_the_first_failing_check_and_its_remedy() -> None:
    failing = Check(name="beat", ok=False, detail="No beat runs.", remedy="Start one.")
    sentence = summarise([WORKS, failing, failing], overview(failed=3))
    assert sentence.style == "bad"
    assert sentence.text.startswith("beat: No beat runs.")
    assert "1 more check" in sentence.text
    assert sentence.advice == "Start one."


def test_the_sentence_names_a_late_command_before_failed_ones() -> None:
    late = overview(due=1, due_since=NOW - timedelta(seconds=90), failed=1)
    assert "waited for 1 min 30 s" in summarise([WORKS], late).text
    assert "1 command failed" in summarise([WORKS], overview(failed=1)).text
