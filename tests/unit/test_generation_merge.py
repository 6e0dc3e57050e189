"""Generation: the result does not depend on the order in which reports come."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.generation import MAX_RUN, GenerationEvent, GenerationReport, ReportKind
from schemas.values.generation_facts import GenerationFacts
from worker.rules.generation_merge import (
    BEHIND,
    REPEATED,
    apply_report,
    find_ignored_reason,
    from_row,
    to_row,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DRAFT = GenerationFacts(
    video_id=7,
    workspace_id=1,
    status="not_started",
    internal_status="planning",
    generation_progress=0,
    is_regenerating=False,
    video=None,
    duration=None,
)
DONE = replace(
    DRAFT,
    status="completed",
    internal_status="completed",
    generation_progress=100,
    video="https://cdn.example.com/first.mp4",
    duration=60,
)
FILE = "https://cdn.example.com/7.mp4"


def at(minutes: int, kind: str = "progressed", **fields: Any) -> GenerationReport:
    """A report this number of minutes past noon."""
    fields = {key: value for key, value in fields.items() if value is not None}
    return GenerationReport(kind=ReportKind(kind), time=NOON + timedelta(minutes=minutes), **fields)


def after(facts: GenerationFacts, *reports: GenerationReport) -> GenerationFacts:
    """The row after each report, read and written again each time."""
    for report in reports:
        known = from_row(facts)
        changed = apply_report(known, report)
        facts = to_row(changed) if changed != known else facts
    return facts


stages = st.sampled_from(["planning", "scripting", "visuals", "rendering", "merging"])
runs = st.integers(1, 3)
minutes = st.integers(0, 4)
progressed = st.builds(
    at,
    minutes,
    run=runs,
    internal_status=st.none() | stages,
    generation_progress=st.none() | st.integers(0, 100),
)


def completion(run: int, minute: int) -> GenerationReport:
    """A report is known by its kind, run and time: what it says of the file follows from these."""
    video = f"https://cdn.example.com/{run}-{minute}.mp4" if minute % 2 else None
    return at(minute, "completed", run=run, video=video, duration=30 if minute == 3 else None)


def failure(run: int, minute: int) -> GenerationReport:
    return at(minute, "failed", run=run, detail=f"{run}-{minute}")


completed = st.builds(completion, runs, minutes)
failed = st.builds(failure, runs, minutes)
reports = st.lists(progressed | completed | failed, min_size=1, max_size=7)
rows = st.builds(
    replace,
    st.just(DRAFT),
    status=st.sampled_from(["not_started", "in_progress", "completed", "failed", "odd"]),
    internal_status=stages | st.sampled_from(["completed", "failed", "odd"]),
    generation_progress=st.integers(0, 100),
    is_regenerating=st.booleans(),
    video=st.sampled_from([None, "https://cdn.example.com/first.mp4"]),
    duration=st.sampled_from([None, 60]),
)


def moved_on(facts: GenerationFacts, row: GenerationFacts) -> GenerationFacts:
    """What is kept of earlier reports, beside a row that the platform has written since."""
    return replace(
        row,
        run=facts.run,
        is_final=facts.is_final,
        reported_at=facts.reported_at,
        progress=facts.progress,
        completed=facts.completed,
        detail=facts.detail,
        file_run=facts.file_run,
        file_reported_at=facts.file_reported_at,
    )


@given(rows, rows, reports, reports, st.data())
def test_every_order_of_reports_gives_the_same_row(
    row: GenerationFacts,
    later_row: GenerationFacts,
    earlier: list[GenerationReport],
    sent: list[GenerationReport],
    data: st.DataObject,
) -> None:
    known = after(row, *earlier)
    start = data.draw(st.sampled_from([row, known, moved_on(known, later_row)]))
    doubled = sent + data.draw(st.lists(st.sampled_from(sent), max_size=4))
    shuffled = data.draw(st.permutations(doubled))
    assert after(start, *sent) == after(start, *shuffled)


@given(rows, reports)
def test_a_batch_gives_the_same_row_as_its_reports_one_by_one(
    row: GenerationFacts, sent: list[GenerationReport]
) -> None:
    together = from_row(row)
    for report in sent:
        together = apply_report(together, report)
    one_by_one = after(row, *sent)
    assert together == from_row(row) or to_row(together) == one_by_one


@given(rows, reports, st.data())
def test_a_repeated_report_changes_nothing(
    row: GenerationFacts, sent: list[GenerationReport], data: st.DataObject
) -> None:
    facts = from_row(after(row, *sent))
    again = data.draw(st.sampled_from(sent))
    assert apply_report(facts, again) == facts
    assert find_ignored_reason(facts, facts, again) in (BEHIND, REPEATED)


@given(rows, progressed)
def test_progress_never_reopens_a_finished_run(
    row: GenerationFacts, report: GenerationReport
) -> None:
    ended = row.status in ("completed", "failed") and not row.is_regenerating
    changed = after(row, report)
    if ended and report.run == 1:
        assert (changed.status, changed.internal_status) == (row.status, row.internal_status)
        assert not changed.is_regenerating


@given(rows, reports)
def test_within_a_run_progress_never_falls(
    row: GenerationFacts, sent: list[GenerationReport]
) -> None:
    for report in sent:
        before, row = row, after(row, report)
        if before.run == row.run is not None and not from_row(before).is_stale:
            assert row.generation_progress >= before.generation_progress


def test_the_first_generation_from_its_start_to_its_end() -> None:
    started = after(DRAFT, at(1, internal_status="visuals", generation_progress=40))
    assert (started.status, started.internal_status) == ("in_progress", "visuals")
    assert (started.generation_progress, started.is_regenerating) == (40, False)
    done = after(started, at(2, "completed", video=FILE, duration=312))
    assert (done.status, done.internal_status) == ("completed", "completed")
    assert (done.generation_progress, done.video, done.duration) == (100, FILE, 312)


def test_a_failure_keeps_its_detail_and_the_progress() -> None:
    row = after(DRAFT, at(1, generation_progress=40), at(2, "failed", detail="No sound."))
    assert (row.status, row.internal_status, row.detail) == ("failed", "failed", "No sound.")
    assert row.generation_progress == 40


def test_a_second_generation_keeps_the_file_until_it_reports_its_own() -> None:
    begun = after(DONE, at(1, run=2))
    assert (begun.status, begun.internal_status) == ("in_progress", "planning")
    assert (begun.generation_progress, begun.is_regenerating) == (0, True)
    assert begun.video == DONE.video
    done = after(begun, at(9, "completed", run=2, video=FILE))
    assert (done.status, done.is_regenerating) == ("completed", False)
    assert (done.video, done.duration) == (FILE, None)


def test_a_second_generation_that_fails_keeps_the_file() -> None:
    row = after(DONE, at(1, run=2), at(2, "failed", run=2))
    assert (row.status, row.is_regenerating, row.video) == ("failed", False, DONE.video)


def test_a_completed_report_without_a_file_keeps_the_known_file() -> None:
    row = after(replace(DONE, status="in_progress"), at(1, "completed"))
    assert (row.status, row.video, row.duration) == ("completed", DONE.video, 60)


def test_a_named_file_is_kept_also_when_the_report_comes_late() -> None:
    named, bare = at(1, "completed", video=FILE), at(2, "completed")
    again = at(3, "failed", run=2)
    found = {after(DRAFT, *order).video for order in permutations((named, bare, again))}
    assert found == {FILE}


def test_the_later_final_report_of_a_run_decides() -> None:
    end = (at(1, "failed", detail="Out of memory."), at(2, "completed", video=FILE))
    for order in permutations(end):
        row = after(DRAFT, *order)
        assert (row.status, row.detail) == ("completed", None)


def test_completed_decides_over_failed_at_the_same_time() -> None:
    for order in permutations((at(1, "failed"), at(1, "completed"))):
        assert after(DRAFT, *order).status == "completed"


@pytest.mark.parametrize("run", [1, 2])
def test_late_progress_does_not_reopen_a_completed_video(run: int) -> None:
    done = after(DRAFT, at(1, "completed", run=run, video=FILE))
    late = at(5, run=run, internal_status="rendering", generation_progress=60)
    assert after(done, late) == done
    known = from_row(done)
    assert find_ignored_reason(known, apply_report(known, late), late) == BEHIND


def test_a_row_that_the_platform_completed_is_not_reopened() -> None:
    started = after(DRAFT, at(1, generation_progress=40))
    completed = replace(started, status="completed", internal_status="completed")
    assert after(completed, at(2, generation_progress=60)) == completed


def test_a_regeneration_that_the_platform_began_is_the_second_run() -> None:
    begun = replace(DONE, is_regenerating=True)
    assert after(begun, at(1, "failed")) == begun
    row = after(begun, at(2, run=2, internal_status="scripting"))
    assert (row.status, row.internal_status, row.generation_progress) == (
        "in_progress",
        "scripting",
        0,
    )
    assert row.is_regenerating


def test_a_regeneration_that_the_platform_began_follows_the_last_run_that_was_reported() -> None:
    third = after(DONE, at(1, "completed", run=3, video=FILE))
    begun = replace(third, is_regenerating=True)
    assert after(begun, at(2, "completed", run=3)) == begun
    assert after(begun, at(3, "completed", run=4)).is_regenerating is False


def test_an_unknown_stage_is_before_every_other() -> None:
    odd = replace(DRAFT, status="in_progress", internal_status="polishing")
    assert after(odd, at(1)).internal_status == "polishing"
    assert after(odd, at(1, internal_status="planning")).internal_status == "planning"


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "progressed", "video": FILE},
        {"kind": "progressed", "detail": "slow"},
        {"kind": "progressed", "internal_status": "completed"},
        {"kind": "progressed", "internal_status": "failed"},
        {"kind": "progressed", "internal_status": "dreaming"},
        {"kind": "progressed", "generation_progress": 101},
        {"kind": "progressed", "generation_progress": -1},
        {"kind": "progressed", "generation_progress": "60"},
        {"kind": "completed", "generation_progress": 100},
        {"kind": "completed", "duration": 312},
        {"kind": "completed", "video": FILE, "duration": -1},
        {"kind": "completed", "video": FILE, "duration": 2**31},
        {"kind": "completed", "video": "7.mp4"},
        {"kind": "failed", "video": FILE},
        {"kind": "failed", "detail": "x" * 2001},
        {"kind": "failed", "detail": "nul \x00"},
        {"kind": "started"},
        {"kind": "completed", "run": 0},
        {"kind": "completed", "run": MAX_RUN + 1},
        {"kind": "completed", "run": True},
        {"kind": "completed", "time": "2026-11-24T09:00"},
        {"kind": "completed", "time": "1764000000"},
        {"kind": "completed", "time": 1764000000},
        {"kind": "completed", "status": "completed"},
        {},
    ],
)
def test_an_invalid_report_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GenerationReport.model_validate_json(json.dumps(said))


def test_the_error_names_the_fields_of_another_kind() -> None:
    with pytest.raises(ValidationError, match="a 'failed' report does not accept video, duration"):
        GenerationReport(kind=ReportKind.FAILED, video=FILE, duration=1)


def test_a_null_is_the_same_as_an_absent_field() -> None:
    report = GenerationReport.model_validate(
        {"kind": "failed", "video": None, "internal_status": None, "time": None}
    )
    assert report.detail is None


DOCUMENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "a-1",
    "source": "/pipelines/3",
    "type": "video.generation.completed",
    "subject": "7",
    "time": "2026-11-24T12:00:00Z",
    "data": {"video": FILE, "duration": 312},
}


def test_a_cloud_event_is_a_report_and_may_have_extensions() -> None:
    document = {**DOCUMENT, "traceparent": "00-1", "datacontenttype": "application/json"}
    event = GenerationEvent.model_validate_json(json.dumps(document))
    assert event.video_id == 7
    assert event.to_report(None) == at(0, "completed", video=FILE, duration=312)


@pytest.mark.parametrize(
    "change",
    [
        {"specversion": "0.3"},
        {"specversion": None},
        {"id": ""},
        {"source": ""},
        {"type": "video.published"},
        {"subject": "seven"},
        {"subject": 7},
        {"subject": "07"},
        {"subject": str(2**63)},
        {"time": "yesterday"},
        {"data": None},
        {"data": {"kind": "completed"}},
        {"data": {"time": "2026-11-24T12:00:00Z"}},
        {"data": {"generation_progress": 4}},
        {"data": {"colour": "red"}},
    ],
)
def test_an_invalid_event_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GenerationEvent.model_validate_json(json.dumps({**DOCUMENT, **change}))


@pytest.mark.parametrize("missing", sorted(DOCUMENT.keys() - {"time"}))
def test_an_event_that_lacks_an_attribute_is_refused(missing: str) -> None:
    document = {key: value for key, value in DOCUMENT.items() if key != missing}
    with pytest.raises(ValidationError):
        GenerationEvent.model_validate_json(json.dumps(document))
