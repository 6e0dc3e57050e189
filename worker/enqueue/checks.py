"""Checks of requests against the database: videos, versions, owners and references."""

from collections import Counter
from collections.abc import Mapping, Sequence

from db.commands import limits
from db.session import Connection
from db.videos.facts_and_release import read_facts
from db.videos.identities import VideoIdentity
from db.videos.lookup import References
from schemas.command import PublishRequest
from schemas.problem import FieldError
from schemas.values.video_facts import VideoFacts
from schemas.video import VideoInput
from worker.enqueue.known import Contradictions, Known
from worker.enqueue.refusals import (
    NoSuchVideo,
    RequestInvalid,
    TooManyCommands,
    VideoChanged,
)
from worker.enqueue.submission import Submission
from worker.rules.edits import find_changes
from worker.rules.etag import compute_etag, is_allowed


def check(submission: Submission, known: Known) -> None:
    """Check a submission, and count its commands as open from now on.

    Raises RequestInvalid, NoSuchVideo, VideoChanged or TooManyCommands.
    """
    planned = submission.planned
    refuse_unknown_videos(submission, known.videos)
    if contradictions := known.contradictions.get(submission):
        raise RequestInvalid(contradictions)
    refuse_changed_videos(submission.requests, known.videos)
    refuse_excess([command.request for command in planned], known)


def refuse_unknown_videos(submission: Submission, found: Mapping[int, VideoIdentity]) -> None:
    """Raise NoSuchVideo for videos that do not exist, or lie in another workspace."""
    workspace_id = submission.origin.workspace_id
    unknown = [
        index
        for index, request in enumerate(submission.requests)
        if (video := found.get(request.video_id)) is None
        or (workspace_id is not None and video.workspace_id != workspace_id)
    ]
    if unknown:
        raise NoSuchVideo(unknown, [submission.requests[index].video_id for index in unknown])


def refuse_changed_videos(
    requests: Sequence[PublishRequest], found: Mapping[int, VideoIdentity]
) -> None:
    """Raise VideoChanged where a request expects another version than there is now.

    The expectation is checked again when the command is carried out.
    """
    changed = [
        index
        for index, request in enumerate(requests)
        if not _is_expected(request, found[request.video_id])
    ]
    if changed:
        raise VideoChanged(changed, [requests[index].video_id for index in changed])


def refuse_excess(requests: Sequence[PublishRequest], known: Known) -> None:
    """Raise TooManyCommands if a video or workspace would have more open commands than allowed.

    `requests` has an entry for each command. Transactions at the same moment do not see each other.
    """
    of_video = Counter(request.video_id for request in requests)
    of_workspace = Counter(known.videos[request.video_id].workspace_id for request in requests)
    excess = _find_excess("Video", of_video, known.open_of_video, limits.PER_VIDEO) or _find_excess(
        "Workspace", of_workspace, known.open_of_workspace, limits.PER_WORKSPACE
    )
    if excess:
        raise TooManyCommands(excess)
    known.open_of_video.update(of_video)
    known.open_of_workspace.update(of_workspace)


def _find_excess(
    kind: str, new: Mapping[int, int], before: Mapping[int, int], limit: int
) -> str | None:
    return next(
        (
            f"{kind} {key} may have {limit} open commands and has {before[key]};"
            f" {count} more would be too many. Wait until some have ended, or cancel some."
            for key, count in new.items()
            if before[key] + count > limit
        ),
        None,
    )


def _is_expected(request: PublishRequest, video: VideoIdentity) -> bool:
    if request.expected_revision not in (None, video.revision):
        return False
    if request.expected_etag is None:
        return True
    current = compute_etag(video.id, video.revision, video.updated_at)
    return is_allowed(request.expected_etag, current)


def find_contradictions(
    tx: Connection, submissions: Sequence[Submission], known: Known
) -> Contradictions:
    """Return what does not fit the video, or what no command may carry.

    A value that equals the video's is not an edit: a caller may send back what the API answered.
    """
    found: Contradictions = {}
    for submission in submissions:
        if errors := _find_errors(submission, known):
            found[submission] = errors
    return _omit_equal(tx, found) if found else found


def _find_errors(submission: Submission, known: Known) -> list[tuple[int, FieldError]]:
    return [
        (index, error)
        for index, request in enumerate(submission.requests)
        if request.video and request.video_id in known.videos
        for error in (
            *_check_owner(request.video, known.videos[request.video_id]),
            *_check_references(request.video, known.references),
            *_check_values(request.video),
        )
    ]


def _omit_equal(tx: Connection, found: Contradictions) -> Contradictions:
    """Return the errors without those about editorial fields that equal the video's."""
    facts = read_facts(
        tx, {each.requests[index].video_id for each, errors in found.items() for index, _ in errors}
    )
    return {
        each: [
            (index, error)
            for index, error in errors
            if _is_change(facts[each.requests[index].video_id], each.requests[index].video, error)
        ]
        for each, errors in found.items()
    }


def _is_change(video: VideoFacts, body: VideoInput | None, error: FieldError) -> bool:
    sent = body.list_sent() if body else {}
    field = error.pointer.split("/")[1]
    fields = ("category", "subcategory") if field == "subcategory" else (field,)
    edits = {name: sent[name] for name in fields if name in sent}
    return not edits or bool(find_changes(video, edits))


def _check_values(body: VideoInput) -> list[FieldError]:
    return [
        FieldError(pointer=f"/{field}", code=error["type"], detail=error["msg"])
        for field, error in body.find_errors().items()
    ]


def _check_owner(body: VideoInput, video: VideoIdentity) -> list[FieldError]:
    errors: list[FieldError] = []
    if body.workspace != video.workspace_id:
        detail = "The workspace is not the one that the video is in."
        errors.append(FieldError(pointer="/workspace", code="mismatch", detail=detail))
    owner = {
        "id": video.owner_id,
        "username": video.owner_username,
        "email": video.owner_email,
    }
    for field, expected in owner.items():
        if field in body.owner.model_fields_set and getattr(body.owner, field) != expected:
            detail = f"The owner's {field} is not that of the video's owner."
            errors.append(FieldError(pointer=f"/owner/{field}", code="mismatch", detail=detail))
    return errors


def _check_references(body: VideoInput, known: References) -> list[FieldError]:
    errors: list[FieldError] = []
    sent = body.model_fields_set
    if "category" in sent and body.category and body.category not in known.categories:
        errors.append(_to_unknown("/category", "category", body.category))
    if "subcategory" in sent and body.subcategory:
        parent = known.subcategories.get(body.subcategory)
        if parent is None:
            errors.append(_to_unknown("/subcategory", "subcategory", body.subcategory))
        elif body.category and parent != body.category:
            detail = f"Subcategory {body.subcategory} does not belong to category {body.category}."
            errors.append(FieldError(pointer="/subcategory", code="mismatch", detail=detail))
    errors += [_to_unknown("/tags", "tag", tag) for tag in body.tags or () if tag not in known.tags]
    return errors


def _to_unknown(pointer: str, kind: str, key: int) -> FieldError:
    return FieldError(pointer=pointer, code="unknown", detail=f"There is no {kind} {key}.")
