"""Generation: what a report makes of a video. A pure rule; every order of arrival ends the same.

Reports come late, twice and out of order, so the rule is a join:

- The report with the greatest key decides the status: `(run, is it final, time, completed)`. Within
  a run `completed` and `failed` beat any `progressed`.
- Progress and stage are the furthest that its run was seen at.
- The rendered file and its duration are what the latest report (run, then time) says that names
  one, whatever else has been reported since.

The platform may write the row itself: what the row shows counts as a report without a time, which
any real one of the same rank outdoes.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from schemas.generation import GenerationFacts, GenerationReport, ReportKind
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
FileKey = tuple[int, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a video's generation stands: its row, and the keys of the reports that made it so."""

    status: str
    internal_status: str
    generation_progress: int
    is_regenerating: bool
    video: str | None
    duration: int | None

    key: Key
    detail: str | None
    file_key: FileKey
    is_old: bool = False
    """Whether status, stage and progress still are those of the run before."""

    @property
    def run(self) -> int:
        """The run that the row shows, or that the platform has begun."""
        return self.key[0]


def key_of(report: GenerationReport) -> Key:
    """What decides between two reports. Its time must be known."""
    return (
        report.run,
        report.kind is not ReportKind.PROGRESSED,
        report.time or NEVER,
        report.kind is ReportKind.COMPLETED,
    )


def stand(facts: GenerationFacts) -> Standing:
    """Where the video stands by its row and by the reports that counted."""
    key = _key(facts)
    is_old = _shows_the_run_before(facts, key)
    run, is_final, _, completed = key
    of_this_run = facts.run == run
    progress = max(facts.generation_progress, (facts.progress or 0) if of_this_run else 0)
    return Standing(
        status=facts.status,
        internal_status=facts.internal_status,
        generation_progress=max(progress, 100) if completed else progress,
        is_regenerating=facts.is_regenerating,
        video=facts.video,
        duration=facts.duration,
        key=(run, is_final, NEVER, completed) if is_old else key,
        detail=facts.detail if of_this_run else None,
        file_key=(facts.file_run or 0, facts.file_reported_at or NEVER),
        is_old=is_old,
    )


def hear(standing: Standing, report: GenerationReport) -> Standing:
    """Where the video stands once this report has been heard; the same if it says nothing new."""
    heard = _hear_of_the_file(standing, report)
    if report.run < heard.run:
        return heard
    if report.run > heard.run or heard.is_old:
        heard = _begin(heard, report.run)
    heard = _hear_of_progress(heard, report)
    return _decide(heard, report) if key_of(report) > heard.key else heard


def settle(facts: GenerationFacts, standing: Standing) -> GenerationFacts:
    """The row and what is kept beside it, as they are to be written."""
    run, is_final, reported_at, completed = standing.key
    file_run, file_reported_at = standing.file_key
    return replace(
        facts,
        status=standing.status,
        internal_status=standing.internal_status,
        generation_progress=standing.generation_progress,
        is_regenerating=standing.is_regenerating,
        video=standing.video,
        duration=standing.duration,
        run=run,
        is_final=is_final,
        reported_at=reported_at,
        progress=standing.generation_progress,
        completed=completed,
        detail=standing.detail,
        file_run=file_run or None,
        file_reported_at=file_reported_at if file_run else None,
    )


def reason(before: Standing, after: Standing, report: GenerationReport) -> str | None:
    """Why a report changed nothing; None if it did."""
    if before != after:
        return None
    return BEHIND if key_of(report) < before.key else REPEATED


def _key(facts: GenerationFacts) -> Key:
    """The greater of the last report's key and what the row itself shows."""
    ended = facts.status in _FINAL and not facts.is_regenerating
    completed = ended and facts.status == CreationStatus.COMPLETED
    again = 2 if facts.is_regenerating else 1
    if facts.run is None:
        return again, ended, NEVER, completed
    if facts.is_final and not ended:  # the platform has begun the next run
        return facts.run + 1, False, NEVER, False
    kept = facts.run, bool(facts.is_final), facts.reported_at or NEVER, bool(facts.completed)
    return max(kept, (max(facts.run, again), ended, NEVER, completed))


def _shows_the_run_before(facts: GenerationFacts, key: Key) -> bool:
    """Whether a run is in the works of which the row shows no more than that it was begun."""
    run, is_final, reported_at, _ = key
    if is_final:
        return False
    begun_by_the_platform = run > 1 and reported_at == NEVER
    return facts.status in _FINAL or (begun_by_the_platform and facts.internal_status in _FINAL)


def _hear_of_the_file(standing: Standing, report: GenerationReport) -> Standing:
    key = report.run, report.time or NEVER
    if report.video is None or key <= standing.file_key:
        return standing
    return replace(standing, video=report.video, duration=report.duration, file_key=key)


def _begin(standing: Standing, run: int) -> Standing:
    """The row at the start of a run; the file of the one before stays."""
    return replace(
        standing,
        internal_status=str(InternalStatus.PLANNING),
        generation_progress=0,
        key=max(standing.key, (run, False, NEVER, False)),
        detail=None,
        is_old=False,
    )


def _hear_of_progress(standing: Standing, report: GenerationReport) -> Standing:
    """Raise progress, and the stage while the run is in the works."""
    said = 100 if report.kind is ReportKind.COMPLETED else report.generation_progress or 0
    stage, is_final = standing.internal_status, standing.key[1]
    if report.internal_status and not is_final:
        stage = max(stage, str(report.internal_status), key=_rank)
    progress = max(standing.generation_progress, said)
    return replace(standing, internal_status=stage, generation_progress=progress)


def _rank(stage: str) -> int:
    """How far a stage is; one that we do not know is before all others."""
    return _STAGES.index(stage) if stage in _STAGES else -1


def _decide(standing: Standing, report: GenerationReport) -> Standing:
    """The report counts: the row's status is what it says."""
    is_final = report.kind is not ReportKind.PROGRESSED
    status = str(_STATUS[report.kind])
    return replace(
        standing,
        status=status,
        internal_status=status if is_final else standing.internal_status,
        is_regenerating=not is_final and report.run > 1,
        key=key_of(report),
        detail=report.detail,
    )
