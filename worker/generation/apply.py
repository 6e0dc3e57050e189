"""Apply generation reports, one or many, in one transaction."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import structlog
from psycopg import errors
from sqlalchemy import Engine

from db.errors import DATABASE_ERRORS, is_passing
from db.session import Connection, transaction
from db.videos import generation
from publish_worker_client.servers.database_errors import describe_error
from schemas.generation import GenerationReport, GenerationState
from schemas.values.generation_facts import GenerationFacts
from worker.rules.generation_merge import apply_report, find_ignored_reason, from_row, to_row

VideoReport = tuple[int, GenerationReport]
"""A video's id, and a report on it."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class ReportRefused(Exception):
    """A check or a trigger of the platform's table refuses what a report would write."""


def apply_reports(
    engine: Engine, reports: Sequence[VideoReport], workspace_id: int | None
) -> list[GenerationState | None]:
    """Apply reports in one transaction; several on one video in the order given.

    Returns the state of each report's video after it; None: the video does not exist in the
    workspace (None: in any). Raises ReportRefused if the platform's table refuses (then none was
    applied) and LockNotAvailable if another transaction holds a row for more than two seconds.
    """
    with _refusals(), transaction(engine) as tx:
        rows = generation.lock(tx, {video_id for video_id, _ in reports}, workspace_id)
        return _apply_all(tx, rows, reports)


def apply_available(
    engine: Engine, reports: Sequence[VideoReport]
) -> tuple[list[GenerationState | None], set[int]]:
    """Apply reports as `apply_reports` does, but without waiting for a row, in every workspace.

    Returns also the ids of the videos that other transactions hold: their reports were not applied.
    """
    with _refusals(), transaction(engine) as tx:
        rows, busy = generation.lock_available(tx, {video_id for video_id, _ in reports})
        return _apply_all(tx, rows, reports), busy


def _apply_all(
    tx: Connection, rows: dict[int, GenerationFacts], reports: Sequence[VideoReport]
) -> list[GenerationState | None]:
    now = datetime.now(UTC)
    first = {video_id: from_row(row) for video_id, row in rows.items()}
    last = dict(first)
    states: list[GenerationState | None] = []
    for video_id, report in reports:
        before = last.get(video_id)
        if before is None:
            states.append(None)
            continue
        timed = report if report.time else report.model_copy(update={"time": now})
        last[video_id] = apply_report(before, timed)
        states.append(_to_state(before, last[video_id], timed))
    changed = [facts for video_id, facts in last.items() if facts != first[video_id]]
    generation.write(tx, rows, map(to_row, changed))
    applied = sum(state is not None and state.applied for state in states)
    log.info("reports.applied", reports=len(states), applied=applied)
    return states


def _to_state(
    before: GenerationFacts, after: GenerationFacts, report: GenerationReport
) -> GenerationState:
    return GenerationState(
        video_id=after.video_id,
        applied=before != after,
        reason=find_ignored_reason(before, after, report),
        run=after.run or 0,
        status=after.status,
        internal_status=after.internal_status,
        generation_progress=after.generation_progress,
        is_regenerating=after.is_regenerating,
    )


@contextmanager
def _refusals() -> Generator[None]:
    """Raise ReportRefused for a database error that the same report would meet again."""
    try:
        yield
    except DATABASE_ERRORS as error:
        if _may_pass(error):
            raise
        log.warning("report.refused", exc_info=error)
        raise ReportRefused(describe_error(error)) from error


def _may_pass(error: BaseException) -> bool:
    """Whether the same report may succeed later: the error is not the report's.

    FeatureNotSupported: a column of the platform's view cannot be written (docs/adopting.md).
    """
    passing = (
        errors.DeadlockDetected,
        errors.FeatureNotSupported,
        errors.LockNotAvailable,
        errors.QueryCanceled,
        errors.SerializationFailure,
    )
    return is_passing(error) or isinstance(error, passing)
