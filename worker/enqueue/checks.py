"""Checks of requests against the database: videos, versions, owners and references."""

from collections import Counter
from collections.abc import Mapping, Sequence

from db.commands import limits
from db.session import Connection
from db.videos import lookup
from db.videos.facts_and_release import read_facts
from schemas.command import PublishRequest
from schemas.problem import FieldError
from schemas.values.video_facts import VideoFacts
from schemas.video import VideoInput
from worker.enqueue.refusals import (
    NoSuchVideo,
    RequestInvalid,
    TooManyCommands,
    VideoChanged,
)
from worker.rules.edits import find_changes
from worker.rules.etag import compute_etag, is_allowed


def refuse_unknown_videos(
    requests: Sequence[PublishRequest],
    found: dict[int, lookup.VideoIdentity],
    workspace_id: int | None,
) -> None:
    """Raise NoSuchVideo for videos that do not exist, or lie in another workspace.

    `workspace_id` is the caller's (None: all).
    """
    unknown = [
        index
        for index, request in enumerate(requests)
        if (video := found.get(request.video_id)) is None
        or (workspace_id is not None and video.workspace_id != workspace_id)
    ]
    if unknown:
        raise NoSuchVideo(unknown, [requests[index].video_id for index in unknown])


def refuse_changed_videos(
    requests: Sequence[PublishRequest], found: dict[int, lookup.VideoIdentity]
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


def refuse_excess(
    tx: Connection, requests: Sequence[PublishRequest], found: dict[int, lookup.VideoIdentity]
) -> None:
    """Raise TooManyCommands if a video or workspace would have more open commands than allowed.

    `requests` has an entry for each command. Calls at the same moment do not see each other.
    """
    of_video = Counter(request.video_id for request in requests)
    of_workspace = Counter(found[request.video_id].workspace_id for request in requests)
    before = limits.count_open(tx, of_video, of_workspace)
    excess = _find_excess("Video", of_video, before.of_video, limits.PER_VIDEO) or _find_excess(
        "Workspace", of_workspace, before.of_workspace, limits.PER_WORKSPACE
    )
    if excess:
        raise TooManyCommands(excess, of_workspace)


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


def _is_expected(request: PublishRequest, video: lookup.VideoIdentity) -> bool:
    if request.expected_revision not in (None, video.revision):
        return False
    current = compute_etag(video.id, video.revision, video.updated_at)
    return request.expected_etag is None or is_allowed(request.expected_etag, current)


def refuse_contradictions(
    tx: Connection, requests: Sequence[PublishRequest], found: dict[int, lookup.VideoIdentity]
) -> None:
    """Raise RequestInvalid for what does not fit the video, or what no command may carry.

    A value that equals the video's is not an edit: a caller may send back what the API answered.
    """
    bodies = [(index, request.video) for index, request in enumerate(requests) if request.video]
    if not bodies:
        return
    known = lookup.read_references(tx, [body for _, body in bodies])
    errors = [
        (index, error)
        for index, body in bodies
        for error in (
            *_check_owner(body, found[requests[index].video_id]),
            *_check_references(body, known),
            *_check_values(body),
        )
    ]
    if errors := _omit_equal(tx, requests, errors):
        raise RequestInvalid(errors)


def _omit_equal(
    tx: Connection, requests: Sequence[PublishRequest], errors: list[tuple[int, FieldError]]
) -> list[tuple[int, FieldError]]:
    """Return the errors without those about editorial fields that equal the video's."""
    facts = read_facts(tx, {requests[index].video_id for index, _ in errors}) if errors else {}
    return [
        (index, error)
        for index, error in errors
        if _is_change(facts[requests[index].video_id], requests[index].video, error)
    ]


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


def _check_owner(body: VideoInput, video: lookup.VideoIdentity) -> list[FieldError]:
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


def _check_references(body: VideoInput, known: lookup.References) -> list[FieldError]:
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
