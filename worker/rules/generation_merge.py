"""Generation: what a report changes of a video. The result does not depend on the order of reports.

Reports come late, twice and out of order, so the rule is a join:

- The report with the greatest key decides the status: `(run, is it final, time, completed)`. Within
  a run `completed` and `failed` outrank any `progressed`.
- Progress and stage are the furthest that were reported for the run.
- The rendered file and its duration are those of the latest report (run, then time) that names
  a file, whatever else has been reported since.

The platform may write the row itself: the row then counts as a report without a time, which any
real report of the same rank outranks.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from schemas.generation import GenerationReport, ReportKind
from schemas.values.generation_facts import GenerationFacts
from schemas.video import CreationStatus, InternalStatus

NEVER = datetime(1, 1, 1, tzinfo=UTC)
"""Before every report."""
BEHIND, REPEATED = "behind", "repeated"

_FINAL = (CreationStatus.COMPLETED, CreationStatus.FAILED)
_STAGES = [str(stage) for stage in InternalStatus]
_STATUS = {
    ReportKind.PROGRESSED: CreationStatus.IN_PROGRESS,
    ReportKind.COMPLETED: CreationStatus.COMPLETED,
    ReportKind.FAILED: CreationStatus.FAILED,
}

Key = tuple[int, bool, datetime, bool]


def from_row(row: GenerationFacts) -> GenerationFacts:
    """Return a stored row with what the platform has written itself counted as a report.

    Reports are applied to the result, not to the row.
    """
    key = run, is_final, _, completed = _to_stored_key(row)
    is_stale = _is_stale(row, key)
    is_same_run = row.run == run
    progress = max(row.generation_progress, (row.progress or 0) if is_same_run else 0)
    return _with_key(
        row,
        (run, is_final, NEVER, completed) if is_stale else key,
        generation_progress=max(progress, 100) if completed else progress,
        detail=row.detail if is_same_run else None,
        is_stale=is_stale,
    )


def to_row(facts: GenerationFacts) -> GenerationFacts:
    """Return the row to store, with its progress kept beside what the platform may change."""
    return replace(facts, progress=facts.generation_progress, is_stale=False)


def apply_report(facts: GenerationFacts, report: GenerationReport) -> GenerationFacts:
    """Return the facts after a report; equal to `facts` if it brings nothing new.

    The report's time must be set.
    """
    facts = _apply_file(facts, report)
    if report.run < (facts.run or 0):
        return facts
    if report.run > (facts.run or 0) or facts.is_stale:
        facts = _begin_run(facts, report.run)
    facts = _apply_progress(facts, report)
    return _apply_status(facts, report) if report_key(report) > to_facts_key(facts) else facts


def find_ignored_reason(
    before: GenerationFacts, after: GenerationFacts, report: GenerationReport
) -> str | None:
    """Return why a report changed nothing; None if it changed something."""
    if before != after:
        return None
    return BEHIND if report_key(report) < to_facts_key(before) else REPEATED


def report_key(report: GenerationReport) -> Key:
    """Return what decides between two reports."""
    is_final = report.kind is not ReportKind.PROGRESSED
    return report.run, is_final, report.time or NEVER, report.kind is ReportKind.COMPLETED


def to_facts_key(facts: GenerationFacts) -> Key:
    """Return the key of the report that decided the status."""
    time = facts.reported_at or NEVER
    return facts.run or 0, bool(facts.is_final), time, bool(facts.completed)


def _to_stored_key(row: GenerationFacts) -> Key:
    """Return the greater of the last report's key and the key that the row itself stands for."""
    ended = row.status in _FINAL and not row.is_regenerating
    completed = ended and row.status == CreationStatus.COMPLETED
    shown_run = 2 if row.is_regenerating else 1
    if row.run is None:
        return shown_run, ended, NEVER, completed
    if row.is_final and not ended:  # the platform has begun the next run
        return row.run + 1, False, NEVER, False
    return max(to_facts_key(row), (max(row.run, shown_run), ended, NEVER, completed))


def _is_stale(row: GenerationFacts, key: Key) -> bool:
    """Whether the current run has begun, and the row shows nothing of it but that."""
    run, is_final, reported_at, _ = key
    if is_final:
        return False
    is_begun_by_platform = run > 1 and reported_at == NEVER
    return row.status in _FINAL or (is_begun_by_platform and row.internal_status in _FINAL)


def _apply_file(facts: GenerationFacts, report: GenerationReport) -> GenerationFacts:
    time = report.time or NEVER
    known = facts.file_run or 0, facts.file_reported_at or NEVER
    if report.video is None or (report.run, time) <= known:
        return facts
    return replace(
        facts,
        video=report.video,
        duration=report.duration,
        file_run=report.run,
        file_reported_at=time,
    )


def _begin_run(facts: GenerationFacts, run: int) -> GenerationFacts:
    """Return the row at the start of a run; it keeps the rendered file of the run before."""
    return _with_key(
        facts,
        max(to_facts_key(facts), (run, False, NEVER, False)),
        internal_status=str(InternalStatus.PLANNING),
        generation_progress=0,
        detail=None,
        is_stale=False,
    )


def _apply_progress(facts: GenerationFacts, report: GenerationReport) -> GenerationFacts:
    """Raise progress, and the stage unless the run has ended."""
    reported = 100 if report.kind is ReportKind.COMPLETED else report.generation_progress or 0
    stage = facts.internal_status
    if report.internal_status and not facts.is_final:
        stage = max(stage, str(report.internal_status), key=_rank)
    progress = max(facts.generation_progress, reported)
    return replace(facts, internal_status=stage, generation_progress=progress)


def _rank(stage: str) -> int:
    """Return how far a stage is; an unknown one is before all others."""
    return _STAGES.index(stage) if stage in _STAGES else -1


def _apply_status(facts: GenerationFacts, report: GenerationReport) -> GenerationFacts:
    """Let the report decide the row's status."""
    status = str(_STATUS[report.kind])
    is_final = report.kind is not ReportKind.PROGRESSED
    return _with_key(
        facts,
        report_key(report),
        status=status,
        internal_status=status if is_final else facts.internal_status,
        is_regenerating=not is_final and report.run > 1,
        detail=report.detail,
    )


def _with_key(facts: GenerationFacts, key: Key, **changes: Any) -> GenerationFacts:
    run, is_final, reported_at, completed = key
    return replace(
        facts,
        run=run,
        is_final=is_final,
        reported_at=reported_at,
        completed=completed,
        **changes,
    )
