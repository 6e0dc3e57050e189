"""Readiness: whether a video may be published now, gate by gate."""

from schemas.plan import Gate, Readiness, Verdict
from schemas.values.video_facts import VideoFacts
from schemas.video import CreationStatus, InternalStatus

READY = "The video is ready: generation has completed, and the rendered file is there."
_SEVERITY = {Verdict.READY: 0, Verdict.NOT_YET: 1, Verdict.NEVER: 2}


def assess(video: VideoFacts | None) -> Readiness:
    """Check every gate. The verdict is the worst gate's, the reason that of the first such gate.

    `video` None: there is no such video.
    """
    gates = _check_gates(video)
    worst = max(gates, key=lambda gate: _SEVERITY[gate.verdict])
    detail = READY if worst.verdict is Verdict.READY else worst.detail
    return Readiness(gates=gates, verdict=worst.verdict, reason=worst.reason, detail=detail)


def get_verdict(video: VideoFacts) -> Verdict:
    """Return only the verdict, without building the gates of a ready video.

    A new gate belongs here too: tests/unit/test_readiness.py compares both.
    """
    is_ready = (
        video.status == CreationStatus.COMPLETED
        and video.internal_status == InternalStatus.COMPLETED
        and not video.is_regenerating
        and video.is_active
        and video.deleted_at is None
        and video.video
    )
    return Verdict.READY if is_ready else assess(video).verdict


def _check_gates(video: VideoFacts | None) -> tuple[Gate, ...]:
    if video is None:
        return (_never("exists", "no_such_video", "There is no such video."),)
    return (
        _check_deleted(video),
        _check_active(video),
        _check_status(video),
        _check_stage(video),
        _check_regeneration(video),
        _check_rendered_file(video),
    )


def _check_deleted(video: VideoFacts) -> Gate:
    if video.deleted_at is not None:
        return _never("deleted", "video_deleted", "The video has been deleted.")
    return _open("deleted", "The video has not been deleted.")


def _check_active(video: VideoFacts) -> Gate:
    if not video.is_active:
        return _never("active", "video_inactive", "The video is not active.")
    return _open("active", "The video is active.")


def _check_status(video: VideoFacts) -> Gate:
    match video.status:
        case CreationStatus.COMPLETED:
            return _open("status", "Generation has completed.")
        case CreationStatus.FAILED:
            return _never(
                "status", "generation_failed", _to_failure_text("Generation has failed", video)
            )
        case CreationStatus.NOT_STARTED:
            return _not_yet("status", "generation_not_started", "Generation has not started.")
        case _:
            return _not_yet("status", "generation_in_progress", "Generation is in progress.")


def _check_stage(video: VideoFacts) -> Gate:
    match video.internal_status:
        case InternalStatus.COMPLETED:
            return _open("internal_status", "Every stage of generation has completed.")
        case InternalStatus.FAILED:
            detail = _to_failure_text("A stage of generation failed", video)
            return _never("internal_status", "generation_failed", detail)
        case stage:
            detail = f"Generation is at the stage '{stage}'."
            return _not_yet("internal_status", "generation_in_progress", detail)


def _check_regeneration(video: VideoFacts) -> Gate:
    if video.is_regenerating:
        return _not_yet("regeneration", "regenerating", "The video is being generated again.")
    return _open("regeneration", "The video is not being generated again.")


def _check_rendered_file(video: VideoFacts) -> Gate:
    if not video.video:
        return _not_yet("rendered_file", "file_missing", "The rendered file is not there yet.")
    return _open("rendered_file", "The rendered file is there.")


def _to_failure_text(what: str, video: VideoFacts) -> str:
    return f"{what}: {video.failure}" if video.failure else f"{what}."


def _open(name: str, detail: str) -> Gate:
    return Gate(name=name, verdict=Verdict.READY, detail=detail)


def _not_yet(name: str, reason: str, detail: str) -> Gate:
    return Gate(name=name, verdict=Verdict.NOT_YET, reason=reason, detail=detail)


def _never(name: str, reason: str, detail: str) -> Gate:
    return Gate(name=name, verdict=Verdict.NEVER, reason=reason, detail=detail)
